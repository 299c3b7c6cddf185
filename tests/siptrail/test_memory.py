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


ENGINE = """
import ctypes, gc, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from siptrail.memory import share_heaps

class Info(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info
share_heaps()

from index.lake import Lake
lake = Lake(Path(sys.argv[1]), "100MB")
used = lambda: libc.mallinfo2().uordblks
joined = "SELECT count(*) FROM range(300) a, range(300) b WHERE a.range = b.range"
with lake.reading() as cur:
    for _ in range(100):
        cur.execute(joined).fetchall()
    gc.collect()
    lake.give_back()
    before = used()
    for _ in range(800):
        assert cur.execute(joined).fetchall() == [(300,)]
    gc.collect()
    grown = used() - before
    assert grown > 2 << 20, grown
    lake.give_back()
    left = used() - before
    assert left < grown / 4, (grown, left)
    assert cur.execute("SELECT current_setting('memory_limit')").fetchall() == [("95.3 MiB",)]
    assert cur.execute(joined).fetchall() == [(300,)]
    assert cur.execute("SELECT count(*) FROM lake.messages").fetchall() == [(0,)]

# Nobody who asks meanwhile notices.
large = "SELECT count(DISTINCT range || repeat('x', 50)) FROM range(50_000)"

def asked(times):
    with ThreadPoolExecutor(1) as beside:
        done = beside.submit(lambda: [lake.cursor().execute(large).fetchall() for _ in range(times)])
        rounds = 0
        while not done.done():
            lake.give_back()
            rounds += 1
        return rounds > times, set(map(str, done.result()))

assert asked(20) == (True, {"[(50000,)]"})
# Where the engine holds nothing, so little memory would be the limit for a moment: nothing is changed then.
lake.con.execute("DETACH lake")
lake.con.execute("SET GLOBAL memory_limit = '90MB'")
lake.give_back()
assert lake.con.execute("SELECT current_setting('memory_limit')").fetchall() == [("85.8 MiB",)]
lake.close()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have no such figures")
def test_the_database_engine_forgets_what_queries_took(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENGINE, str(tmp_path / "store")], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


HASTE = """
import ctypes
from siptrail.memory import Haste, share_heaps

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]

class Info(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

libc.mallinfo2.restype = Info

def of_the_kernel():
    \"\"\"Whether the kernel hands over the pages of a large piece, and takes them back.\"\"\"
    before = libc.mallinfo2().hblks
    piece = libc.malloc(1 << 20)
    more = libc.mallinfo2().hblks - before
    libc.free(piece)
    return bool(more)

share_heaps()
haste = Haste()
assert of_the_kernel()
haste.begin()
with haste.during():
    assert not of_the_kernel()
assert not of_the_kernel(), "somebody else still has much to do"
haste.end()
assert of_the_kernel()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems decide that for themselves")
def test_heaps_keep_large_pieces_while_anybody_has_much_to_do() -> None:
    done = subprocess.run([sys.executable, "-c", HASTE], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
