"""Whose turn it is to take memory: what works in the background and needs much of it for a moment goes one after the
other, as far as nobody waits long for that."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

MOST_SECONDS = 3.0
"""After so long it goes on all the same: an alert is worth more than memory."""


class Turns:
    """Of one store."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def mine(self) -> Iterator[None]:
        """Others wait meanwhile. Not to be taken twice by one thread."""
        got = self._lock.acquire(timeout=MOST_SECONDS)
        try:
            yield
        finally:
            if got:
                self._lock.release()
