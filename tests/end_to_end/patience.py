"""Waiting for something that happens soon, on machines of any speed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(look: Callable[[], T], complaint: str, seconds: float = 30.0) -> T:
    """The first true answer of `look`; fails with the complaint and the last answer when there is none in time."""
    end = time.monotonic() + seconds
    while True:
        answer = look()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"{complaint}, not even after {seconds:.0f} s: {answer!r}")
        time.sleep(0.05)
