"""What a service's kernels cost the machine on which they run for the first time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REHEARSED = """
import gc, sys
import siptrail.service
from capture import jit
from siptrail.warming import rehearse

rehearse()
print("numba" in sys.modules)
kernels = [k for k in gc.get_objects() if isinstance(k, jit._Kernel)]
used = [k for k in kernels if k._known]
for k in used:
    used += [v for n in k._names() if isinstance(v := k._function.__globals__[n], jit._Kernel) and v not in used]
print(*(k.__qualname__ for k in kernels if k not in used))
"""


def test_whoever_compiles_for_a_service_leaves_out_nothing(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kernels = tmp_path_factory.mktemp("kernels")
    paths = {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(kernels)}
    environment = {**os.environ, **paths}

    def run(*what: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", *what]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)

    assert run("-m", "siptrail.warming").returncode == 0
    # What it has compiled needs no compiler, and is all that there is.
    done = run("-c", REHEARSED)
    assert done.stdout == "False\n\n", done.stdout + done.stderr
    assert not list(tmp_path.iterdir())


def test_who_waits_for_the_compiler_is_told_once(tmp_path: Path) -> None:
    capture = next((ROOT / "fixtures" / "pcaps").rglob("*.pcap"))
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "kernels")}
    said = []
    for name in ("first", "second"):
        command = [sys.executable, "-m", "siptrail.cli", "import", "--store", str(tmp_path / name), str(capture)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, cwd=ROOT)
        assert done.returncode == 0 and capture.name in done.stdout, done.stdout + done.stderr
        said.append(done.stderr)
    assert said[0].startswith("siptrail: compiling") and said[0].count("\n") == 1
    assert said[1] == ""
