"""Machine code of kernels, called without the compiler: the same results, and nothing but what was stored."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from capture.jit import kernel
from capture.machine import MAGIC, Stored

TOP = Path(__file__).resolve().parents[2]
KERNELS = """
import numpy as np
from capture.jit import kernel

@kernel
def total(data):
    out = 0
    for i in range(data.shape[0]):
        for j in range(data.shape[1]):
            for k in range(data.shape[2]):
                out += (100 * i + 10 * j + k) * int(data[i, j, k])
    return out

@kernel
def fill(out, value, doubled):
    for i in range(len(out)):
        out[i] = 2 * value if doubled else value

@kernel
def largest(value):
    return np.uint64(value) | np.uint64(1 << 63)

@kernel
def above(data, value):
    return data[0] > value

@kernel
def ends(data):
    return int(data[0]), int(data[len(data) - 1]), len(data)

@kernel
def half(value):
    return value / 2

@kernel
def share(value, of):
    return value // of

@kernel
def more(value, by=3):
    return share(value, 1) + by

TABLE = np.arange(200_000)

@kernel
def far(i):
    return TABLE[i]

@kernel
def squares(n):
    return int((np.arange(n) ** 2).sum())
"""
ASKED = """
import sys
import numpy as np
from several import above, ends, fill, half, largest, more, share, squares, total

cube = np.arange(24).reshape(2, 3, 4)
out = np.zeros(3, np.int32)
fill(out, -7, True)
frozen = cube.ravel().copy()
frozen.flags.writeable = False
print(total(cube), total(cube.astype(np.uint8)), out.tolist(), fill(out, 1, False), out.tolist())
print(largest(5), largest(np.uint64(6)), above(frozen, 3), above(frozen, -1), above(frozen, np.int64(-1)), ends(frozen))
print(type(above(frozen, 3)).__name__, type(ends(frozen)[0]).__name__, more(4, 3))
print("numba" in sys.modules)
if len(sys.argv) > 1:
    # What code without the compiler is not for.
    print(total(cube[:, ::2]), above(cube.ravel().astype(float), 3), largest(1 << 63), half(3), squares(5), more(4))
    print(above(np.frombuffer(b"\\0" + frozen.tobytes(), np.uint8)[1:].view(np.int64), -1))
"""
SAID = """\
24844 24844 [-14, -14, -14] None [1, 1, 1]
9223372036854775813 9223372036854775814 False True True (0, 23, 24)
bool int 7
"""


def run(folder: Path, code: str, *arguments: str, **environment: str) -> str:
    (folder / "several.py").write_text(KERNELS)
    paths = {"NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": f"{folder}:{TOP}"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        env={**os.environ, **paths, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose cache has what ASKED needs."""
    folder = tmp_path_factory.mktemp("compiled")
    assert run(folder, ASKED) == f"{SAID}True\n"
    return folder


def test_the_same_comes_out_with_the_compiler_without_it_and_interpreted(compiled: Path) -> None:
    assert run(compiled, ASKED) == f"{SAID}False\n"
    interpreted = run(compiled, "import warnings; warnings.simplefilter('ignore')\n" + ASKED, NUMBA_DISABLE_JIT="1")
    assert interpreted.splitlines()[:2] == SAID.splitlines()[:2]


def test_the_compiler_does_what_stored_code_cannot(compiled: Path) -> None:
    cube = np.arange(24).reshape(2, 3, 4)[:, ::2]
    weights = np.add.outer(np.add.outer([0, 100], [0, 10]), np.arange(4))
    said = f"{SAID}False\n{(cube * weights).sum()} False {1 << 63} 1.5 30 7\nTrue\n"
    assert run(compiled, ASKED, "more") == said
    # It is known by now which of them are not for storing; that changes nothing.
    assert run(compiled, ASKED, "more") == said


def test_what_was_stored_is_whole_or_made_again(compiled: Path, tmp_path: Path) -> None:
    files = sorted((compiled / "cache").rglob("several.*.kernel"))
    assert len(files) > 8
    for at, file in enumerate(files):
        whole = file.read_bytes()
        assert whole.startswith(MAGIC)
        file.write_bytes(
            (b"", whole[:40], whole[:-1], whole[:200] + b"\0" + whole[201:], MAGIC, b"\0" * len(whole))[at % 6]
        )
    assert run(compiled, ASKED) == f"{SAID}True\n"
    assert run(compiled, ASKED) == f"{SAID}False\n"
    assert not list((compiled / "cache").rglob("*.new"))


def test_without_a_place_to_store_anything_all_is_as_before(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no folder")
    assert run(tmp_path, ASKED) == f"{SAID}True\n"


def test_nobody_else_puts_code_there(compiled: Path) -> None:
    files = list((compiled / "cache").rglob("several.*.kernel"))
    assert all(file.stat().st_mode & 0o777 == 0o644 for file in files)
    files[0].chmod(0o664)  # somebody of the group may have changed it
    assert run(compiled, ASKED) == f"{SAID}True\n"
    if os.geteuid() == 0:
        os.chown(files[1], 12345, 12345)
        assert run(compiled, ASKED) == f"{SAID}True\n"
    assert run(compiled, ASKED) == f"{SAID}False\n"


def test_nobody_needs_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(number: int) -> None:
        raise KeyError(number)

    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    stored = Stored(tmp_path / "module.py", "module.name", "0" * 64, (int,))
    stored.write(b"code")
    assert stored.read() == b"code"
    assert [path.parent.name for path in tmp_path.rglob("*.kernel")] == ["__pycache__"]


def test_addresses_of_a_process_stay_in_it(tmp_path: Path) -> None:
    code = "import warnings\nwarnings.simplefilter('ignore')\nfrom several import far\nprint(far(1234))"
    assert [run(tmp_path, code) for _ in range(3)] == ["1234\n"] * 3


def test_an_error_inside_is_one_and_no_result(tmp_path: Path) -> None:
    code = """
from several import share

print(share(7, 2))
try:
    print(share(7, 0))
except (RuntimeError, ZeroDivisionError) as error:
    print(error)
"""
    for _ in range(2):
        said = run(tmp_path, code).splitlines()
        assert said[0] == "3" and said[1] and said[1] != "0"


def test_who_asks_numba_for_something_gets_it_from_numba(compiled: Path) -> None:
    assert run(compiled, ASKED, NUMBA_BOUNDSCHECK="1") == f"{SAID}True\n"
    code = "import numpy as np\nfrom several import ends\nends(np.zeros(0, np.int64))"
    with pytest.raises(AssertionError, match="IndexError"):
        run(compiled, code, NUMBA_BOUNDSCHECK="1")


def test_what_a_file_tells_numba_is_not_stored(compiled: Path, tmp_path: Path) -> None:
    shutil.rmtree(compiled / "cache")
    (tmp_path / ".numba_config.yaml").write_text("boundscheck: 1\n")
    assert run(compiled, f"import os\nos.chdir({str(tmp_path)!r})\n{ASKED}") == f"{SAID}True\n"
    assert not list((compiled / "cache").rglob("*.kernel"))
    assert run(compiled, ASKED) == f"{SAID}True\n"


MADE = """
import sys
from capture.jit import kernel
import numpy as np

TABLE = np.arange(16).reshape(2 * int(sys.argv[1]), -1)
STEP = int(sys.argv[1])

def adding(number):
    @kernel
    def add(value):
        return value + number
    return add

@kernel
def listed(value):
    return sum([value + STEP for _ in range(2)])

@kernel
def at(i, j):
    return TABLE[i, j]

print(adding(3)(1), adding(5)(1), listed(1), at(1, 0))
"""


def test_all_that_becomes_code_is_part_of_what_it_is_known_by(tmp_path: Path) -> None:
    (tmp_path / "making.py").write_text(MADE)
    assert [run(tmp_path, "import making", number) for number in "121"] == ["4 6 4 8\n", "4 6 6 4\n", "4 6 4 8\n"]


def test_a_kernel_names_no_module_that_may_change(tmp_path: Path) -> None:
    (tmp_path / "naming.py").write_text(
        "import os\nfrom capture.jit import kernel\n\n@kernel\ndef name(value):\n    return value + os.O_RDWR\n"
    )
    with pytest.raises(AssertionError, match="TypeError: a kernel must name what it needs of os"):
        run(tmp_path, "from naming import name\nname(1)")


def test_other_threads_run_while_a_kernel_does(compiled: Path) -> None:
    code = """
import threading, time
import numpy as np
from several import total

cube = np.zeros((500, 500, 500), np.int64)  # zeros that nobody wrote take no memory
total(cube[:1, :1, :1].copy())

def ran_meanwhile():
    # Whether this thread ran in the middle of the other one's call, not only before or after it.
    done, ticks, during = threading.Event(), [], []

    def work():
        during.append(time.monotonic())
        total(cube)
        during.append(time.monotonic())
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not done.is_set():
        ticks.append(time.monotonic())
        time.sleep(0.001)
    thread.join()
    quarter = (during[1] - during[0]) / 4
    return any(during[0] + quarter < tick < during[1] - quarter for tick in ticks)

print(any(ran_meanwhile() for _ in range(100)))  # a busy machine may give it no turn in the first of them
"""
    assert run(compiled, code) == "True\n"


def test_arrays_of_one_kind_share_their_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))

    def first_of(data: np.ndarray) -> int:
        return int(data[0])

    asked = kernel(first_of)
    matrix = np.arange(6).reshape(2, 3)
    # An array of its own, a part of one, and one whose order can be read in both ways.
    assert [asked(np.arange(3)), asked(np.arange(9)[2:5]), asked(matrix[1]), asked(matrix[:1, :1].ravel())] == [
        0,
        2,
        3,
        0,
    ]
    assert len(list(tmp_path.rglob("*.kernel"))) == 1
