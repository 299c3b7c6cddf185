"""When kernels are compiled, and what is kept of that on disk, where several processes may put it at the same time."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.patience import until

TOP = Path(__file__).resolve().parents[2]
KERNEL = """
from capture.jit import kernel

@kernel
def twice(value):
    return 2 * value
"""
NEEDS_MEMORY = "import numpy as np\n" + KERNEL.replace("2 * value", "np.arange(value)[1] * 2 * value")
"""It needs the compiler's runtime each time, so numba's own cache has it."""


def calling(folder: Path) -> subprocess.Popen[str]:
    """A process that needs the kernel."""
    code = f"import sys; sys.path[:0] = [{str(folder)!r}, {str(TOP)!r}]; from doubling import twice; print(twice(21))"
    # Python would not notice a change of a file within the same second that leaves its size as it was.
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="nobody else tells who waits for a lock")
def test_nobody_saves_or_loads_while_another_one_saves(tmp_path: Path) -> None:
    (tmp_path / "doubling.py").write_text(NEEDS_MEMORY)
    # What numba leaves to one writer: the list of what is there, and the files that it names.
    assert calling(tmp_path).communicate(timeout=120)[0] == "42\n"
    (cache,) = {path.parent for path in (tmp_path / "cache").rglob("*.nbi")}
    saving = os.open(cache, os.O_RDONLY)
    fcntl.flock(saving, fcntl.LOCK_EX)
    try:
        with calling(tmp_path) as loading:
            until(lambda: waits(loading) or loading.poll() is not None, "it neither waits nor ends", 120)
            assert loading.poll() is None, "it has read what may be half of a change"
            # Whoever loads does not keep the others out, but it does keep out who saves.
            fcntl.flock(saving, fcntl.LOCK_SH)
            assert loading.communicate(timeout=120)[0] == "42\n"
        for path in cache.glob("*.nb?"):
            path.unlink()
        with calling(tmp_path) as compiling:
            until(lambda: waits(compiling) or compiling.poll() is not None, "it neither waits nor ends", 120)
            assert compiling.poll() is None and not list(cache.glob("*.nb?")), "it has saved beside another one"
            fcntl.flock(saving, fcntl.LOCK_UN)
            assert compiling.communicate(timeout=120)[0] == "42\n"
    finally:
        os.close(saving)
    assert list(cache.glob("*.nbc"))


def waits(process: subprocess.Popen[str]) -> bool:
    """Whether it waits for a lock that another one has."""
    return any(
        line.split()[1] == "->" and line.split()[5] == str(process.pid)
        for line in Path("/proc/locks").read_text().splitlines()
    )


BOTH_WAYS = """
import sys
import numpy as np
from capture.jit import plainly
from index.call_hours import any_in, hashes_of

texts = [b"", b"a", b"1234567", b"12345678", bytes(range(256)), b"f81d4fae-7dec-11d0-a765-00a0c91e6bf6@192.0.2.4" * 3]
data, ends = np.frombuffer(b"".join(texts), np.uint8), np.cumsum([0, *map(len, texts)]).astype(np.int32)
known = np.sort(np.random.default_rng(1).integers(0, 1 << 32, 5000, np.uint32))
wanted = [known[[7]], known[[4999]], known[[0]], known[[9]] + np.uint32(1), known[:0]]

def asked(hashing, finding):
    out = np.zeros(len(texts), np.uint32)
    hashing(data, ends, out)
    return out.tolist(), [bool(finding(w, known)) for w in wanted]

plain = asked(plainly(hashes_of), plainly(any_in))
assert "llvmlite" not in sys.modules, "more was loaded than that takes"
assert asked(hashes_of, any_in) == plain == asked(plainly(hashes_of), plainly(any_in)), plain
assert "llvmlite" in sys.modules and plain[1] == [True, True, True, False, False] and len(set(plain[0])) == len(texts)
"""


def test_very_little_work_is_done_without_the_compiler_and_comes_to_the_same() -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", BOTH_WAYS], cwd=TOP, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


WITHOUT = """
import sys
from doubling import twice
from thrice import thrice

known = twice(21)
print(known, "numba" in sys.modules, thrice(7), "numba" in sys.modules)
"""


def test_what_was_compiled_is_called_without_the_compiler(tmp_path: Path) -> None:
    (tmp_path / "doubling.py").write_text(KERNEL)
    (tmp_path / "thrice.py").write_text(KERNEL.replace("twice", "thrice").replace("2 * value", "3 * value"))
    assert calling(tmp_path).communicate(timeout=120)[0] == "42\n"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": f"{tmp_path}:{TOP}"}
    for said in ("42 False 21 True\n", "42 False 21 False\n"):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", WITHOUT],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.stdout == said, done.stderr


def test_what_a_kernel_calls_and_the_constants_it_names_are_part_of_it(tmp_path: Path) -> None:
    factor, thrice = tmp_path / "factor.py", tmp_path / "thrice.py"
    (tmp_path / "doubling.py").write_text(
        "from capture.jit import kernel\nfrom factor import FACTOR\nfrom thrice import thrice\n\n"
        "@kernel\ndef twice(value):\n    return FACTOR * thrice(value)\n"
    )
    said = []
    for number, call in ((2, "3 * value"), (5, "3 * value"), (5, "30 * value"), (5, "30 * value")):
        factor.write_text(f"FACTOR = {number}\n")
        thrice.write_text(f"from capture.jit import kernel\n\n@kernel\ndef thrice(value):\n    return {call}\n")
        said.append(calling(tmp_path).communicate(timeout=120)[0])
    assert said == ["126\n", "315\n", "3150\n", "3150\n"]
    # The last one had nothing to compile, and what belonged to earlier states is gone.
    (stored,) = (tmp_path / "cache").rglob("doubling.twice-*")
    before = stored.stat().st_mtime_ns
    assert calling(tmp_path).communicate(timeout=120)[0] == "3150\n" and stored.stat().st_mtime_ns == before


ELSEWHERE = """
import sys
from capture.jit import compile_in, tell_compiling
from doubling import twice

compile_in([sys.executable, *sys.argv[1:]])
tell_compiling(lambda: print("compiling", end=" "))
print(twice(21), "numba" in sys.modules)
"""


def test_what_was_never_compiled_is_compiled_by_another_process(tmp_path: Path) -> None:
    (tmp_path / "doubling.py").write_text(KERNEL)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": f"{tmp_path}:{TOP}"}

    def told(*other: str) -> str:
        command = [sys.executable, "-c", ELSEWHERE, *other]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
        return done.stdout

    # The other one may do nothing, fail, or not even exist: then it is done here.
    assert told("-c", "raise SystemExit(3)") == "compiling 42 True\n"
    for path in (tmp_path / "cache").rglob("*.kernel"):
        path.unlink()
    once = "import doubling, pathlib; pathlib.Path('{}').touch(exist_ok=False); doubling.twice(1)"
    mark = tmp_path / "asked"
    assert told("-c", once.format(mark)) == "compiling 42 False\n" and mark.exists()
    assert told("-c", once.format(tmp_path / "again")) == "42 False\n" and not (tmp_path / "again").exists()
