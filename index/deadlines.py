"""Ends questions to the store that take too long: one thread for all of them, and none while there are no questions.

An interrupt between two statements is lost, so whoever is late is interrupted again and again.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

AGAIN = 0.02
"""Seconds until a late question is interrupted once more."""


class Deadlines:
    """Any thread may use it."""

    def __init__(self) -> None:
        self._due: dict[int, tuple[float, duckdb.DuckDBPyConnection]] = {}
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._runs = False

    @contextmanager
    def within(self, cur: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
        """What `cur` runs in this block is interrupted once so much time is over."""
        due = time.monotonic() + seconds
        with self._changed:
            number = next(self._numbers)
            self._due[number] = due, cur
            if not self._runs:
                self._runs = True
                threading.Thread(target=self._watch, name="deadlines", daemon=True).start()
            elif due <= min(when for when, _ in self._due.values()):
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                del self._due[number]

    def _watch(self) -> None:
        with self._changed:
            while self._due:
                now = time.monotonic()
                late = [cur for when, cur in self._due.values() if when <= now]
                for cur in late:
                    cur.interrupt()
                first = min(when for when, _ in self._due.values())
                self._changed.wait(AGAIN if late else max(0.0, min(first - now, 1.0)))
            self._runs = False
