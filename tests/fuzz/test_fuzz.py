"""Every decoder on the kept corpus and on inputs made from it: nothing raises, and all modes give the same answers.

`python -m tests.fuzz` goes on for as long as wanted. Compiled kernels check no index: they run again with
NUMBA_BOUNDSCHECK=1, and interpreted, where NumPy checks each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import capture
from tests.fuzz.running import CORPUS, answers, corpus, fuzz
from tests.fuzz.seeds import write
from tests.fuzz.targets import COVERS, NO_DECODERS, TARGETS

ROOT = Path(__file__).resolve().parents[2]
MADE = 40
"""Inputs made for each target."""


@pytest.fixture(scope="module")
def told() -> dict[str, str]:
    """What each target says here."""
    return {name: answers(name, MADE, 0) for name in TARGETS}


@pytest.mark.parametrize(
    ("mode", "variables"),
    [
        ("compiled, indexes checked", {"NUMBA_BOUNDSCHECK": "1"}),
        ("interpreted, indexes checked", {"NUMBA_DISABLE_JIT": "1"}),
    ],
)
def test_every_decoder_says_the_same_with_indexes_checked(
    mode: str, variables: dict[str, str], told: dict[str, str], tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    # Numba does not keep kernels with and without checks apart: they need a cache of their own.
    kernels = pytestconfig.cache.mkdir("kernels-that-check") if pytestconfig.cache else tmp_path
    env = {**os.environ, "NUMBA_CACHE_DIR": str(kernels), "FUZZ_FOUND": str(tmp_path), **variables}
    command = [sys.executable, "-m", "tests.fuzz", "--answers", str(MADE)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) == {"mode": mode} | told


def test_every_module_of_capture_is_fuzzed_or_reads_no_bytes_from_outside() -> None:
    top = Path(capture.__path__[0])
    modules = {".".join(p.relative_to(top).with_suffix("").parts) for p in top.rglob("*.py") if p.stem != "__init__"}
    covered = {module for modules in COVERS.values() for module in modules.split()}
    assert covered | NO_DECODERS == modules and not covered & NO_DECODERS
    assert set(COVERS) <= set(TARGETS)


def test_the_corpus_is_the_one_that_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each target has one; what is made by hand is as it was made; all else came out of fuzzing."""
    assert {p.name for p in CORPUS.iterdir()} == set(TARGETS)
    monkeypatch.setattr("tests.fuzz.seeds.CORPUS", tmp_path)
    write()
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert (CORPUS / path.relative_to(tmp_path)).read_bytes() == path.read_bytes(), path.name


def test_what_raises_is_found_once_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def careless(data: bytes) -> str:
        return str(data[100_000]) if data[:1] == b"I" else ""

    monkeypatch.setitem(TARGETS, "messages", careless)
    monkeypatch.setenv("FUZZ_FOUND", str(tmp_path))
    count, failures = fuzz("messages", 0.2, 1)
    assert count > 5 and len(failures) == 1 and "IndexError" in failures[0]
    (kept,) = tmp_path.iterdir()
    with pytest.raises(IndexError):
        careless(kept.read_bytes())
    with pytest.raises(AssertionError, match="messages breaks on invite"):
        answers("messages", 0, 0)
    assert ("invite", corpus("messages")[1][1]) in corpus("messages")
