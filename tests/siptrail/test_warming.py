"""What a service's kernels cost the machine on which they run for the first time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
REHEARSED = """
import gc
import siptrail.service
from capture import jit
from siptrail.warming import rehearse

rehearse()
print(*(k.__qualname__ for k in gc.get_objects() if isinstance(k, jit._Kernel) and k._compiled is None))
"""


def test_whoever_compiles_for_a_service_leaves_out_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", REHEARSED], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.stdout == "\n", done.stdout + done.stderr
    assert not list(tmp_path.iterdir())
