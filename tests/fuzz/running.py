"""Runs targets over the corpus and what is made from it; tells what came out, and keeps what broke.

The modes are those of numba: compiled, compiled with bounds checks (NUMBA_BOUNDSCHECK=1), interpreted
(NUMBA_DISABLE_JIT=1, where NumPy checks every index).
"""

from __future__ import annotations

import hashlib
import os
import random
import time
import traceback
from pathlib import Path

import numba
import numpy as np

from capture.jit import kernel
from tests.fuzz.mutate import mutated
from tests.fuzz.targets import TARGETS, digest

CORPUS = Path(__file__).parent / "corpus"


def corpus(name: str) -> list[tuple[str, bytes]]:
    """The kept inputs of a target."""
    return [(p.name, p.read_bytes()) for p in sorted((CORPUS / name).iterdir())]


def answers(name: str, count: int, seed: int) -> str:
    """What a target says to its corpus and to `count` inputs made from it, in few letters.

    Raises AssertionError with the input where it breaks."""
    kept = corpus(name)
    rng, every = random.Random(f"{name} {seed}"), [data for _, data in kept]
    whole = hashlib.sha256()
    for label, data in kept:
        whole.update(ask(name, data, label).encode())
    for _ in range(count):
        data = mutated(rng, rng.choice(every), every, name == "frames")
        whole.update(ask(name, data, "made").encode())
    return whole.hexdigest()


def ask(name: str, data: bytes, label: str) -> str:
    """One answer; whatever is raised becomes an AssertionError that names a file with the input."""
    try:
        return TARGETS[name](data)
    except Exception as error:
        path = _keep(name, data)
        raise AssertionError(f"{name} breaks on {label}, kept as {path}: {traceback.format_exc()}") from error


def _keep(name: str, data: bytes) -> Path:
    path = Path(os.environ.get("FUZZ_FOUND", ".")) / f"found-{name}-{digest(data)}"
    path.write_bytes(data)
    return path


def fuzz(name: str, seconds: float, seed: int) -> tuple[int, list[str]]:
    """Make inputs for so long; returns how many, and the failures: each kind once, with the input kept."""
    every = [data for _, data in corpus(name)]
    rng, end, count, failures = random.Random(f"{name} {seed}"), time.monotonic() + seconds, 0, dict[str, str]()
    while time.monotonic() < end:
        data = mutated(rng, rng.choice(every), every, name == "frames")
        count += 1
        try:
            TARGETS[name](data)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__} {place.filename}:{place.lineno}"
            if kind not in failures:
                failures[kind] = f"{kind}, kept as {_keep(name, data)}: {traceback.format_exc()}"
    return count, list(failures.values())


@kernel
def _outside(data: np.ndarray, at: int) -> int:
    return int(data[at])


def mode() -> str:
    """What this process runs, and whether an index outside is caught."""
    try:
        _outside(np.zeros(4, np.uint8), 4)
        caught = False
    except IndexError:
        caught = True
    return ("interpreted" if numba.config.DISABLE_JIT else "compiled") + (", indexes checked" if caught else "")
