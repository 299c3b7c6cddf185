"""A share of one processor, for work in the background: whoever has taken more waits until it is his again.

It owns the waiting of one thread. It counts what the thread itself computed, not how long it waited for a disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable

LEAST = 0.02
"""Seconds; less is not worth a pause."""
LONGEST = 0.5
"""Seconds of one sleep, between looks whether to stop."""


class Pace:
    """To be asked between two pieces of work, by the thread that does it."""

    def __init__(self, share: float, stop: Callable[[], bool] = lambda: False) -> None:
        """`share`: of one processor (0..1); 1 never waits."""
        self._share, self._stop = share, stop
        self._began, self._used = time.monotonic(), time.thread_time()

    def __call__(self) -> bool:
        """Wait as long as it takes; whether to stop."""
        while not self._stop():
            now = time.monotonic()
            early = (time.thread_time() - self._used) / self._share - (now - self._began)
            if early < LEAST or self._share >= 1:
                # What was not taken is not saved up: an idle minute does not allow for a busy one.
                if early < 0:
                    self._began, self._used = now, time.thread_time()
                return False
            time.sleep(min(early, LONGEST))
        return True
