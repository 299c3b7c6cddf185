"""What a service gives back: really, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GIVE_BACK = """
import re
from pathlib import Path
import numpy, pyarrow, numba, duckdb
from siptrail.memory import forget_pages, give_back, share_heaps

def resident(kind):
    return int(re.search(kind + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

share_heaps()
before = resident("RssFile")
freed = forget_pages()
after = resident("RssFile")
assert freed > 20 << 20, freed
assert before - after > freed // 2, (before, after, freed)
# All of it still works: pages come back, and nothing that was written is lost.
assert numba.njit(lambda a: a + 1)(41) == 42
assert duckdb.sql("SELECT sum(range) FROM range(1000)").fetchone() == (499500,)
assert pyarrow.array([1, 2, 3]).sum().as_py() == 6
assert float(numpy.linalg.det(numpy.eye(3))) == 1.0

pieces = [bytes(1000) for _ in range(200_000)]
full = resident("RssAnon")
# Every other piece stays at the end, so that the heap cannot simply get shorter.
del pieces[:190_000]
give_back()
assert full - resident("RssAnon") > 100 << 20
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems keep it for later")
def test_what_is_not_needed_leaves_memory_and_comes_back_when_it_is() -> None:
    done = subprocess.run([sys.executable, "-c", GIVE_BACK], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
