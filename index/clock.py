"""Whether the machine's clock can be believed: what is too old is not removed because a clock stepped to another year.

It owns the time of the last look, which outlives the process, and nothing else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

log = logging.getLogger("siptrail")

STEP_NS = 3_600_000_000_000
"""A clock that is further ahead of what it should be is in doubt."""
TRUST_NS = 24 * STEP_NS
"""After so long a clock in doubt is believed: the machine was off for a while, or its clock was wrong before."""


class Clock:
    """Asked about once a minute."""

    def __init__(self, file: Path, running: Callable[[], int] = time.monotonic_ns) -> None:
        self._file, self._running = file, running
        self._time: int | None = None
        """The time (ns) of the last look, as far as it was believed."""
        self._before: tuple[int, int] | None = None
        """While the clock is in doubt: the times between which it was, as far as is known, before it stepped ahead."""
        with suppress(OSError, ValueError):
            self._time, *before = map(int, file.read_text().split())
            self._before = (before[0], before[1]) if len(before) == 2 else None
        self._looked = running()
        self._began: int | None = None
        """Since when, by the clock, it has not stepped."""
        self._doubt: int | None = None
        self.stepped: tuple[int, int] | None = None
        """The same once the clock is believed: then it was wrong before. For who takes it."""

    def believed(self, now: int) -> int:
        """The latest time that it can be: `now`, unless the clock is ahead of what has gone by since the last look."""
        running, last = self._running(), self._time
        should = now if last is None else last + running - self._looked
        if now - should <= STEP_NS:
            self._doubt, self._before, out = None, None, now
            if self._began is None or (last is not None and now < last - STEP_NS):
                self._began = now
        else:
            if self._doubt is None:
                self._doubt = running
                if self._began is not None:
                    self._before = self._began, should
                self._began = now
                log.warning(
                    "the clock is %.1f h ahead of when the store was last looked after (%s); nothing is removed for "
                    "its age until that has been so for a day",
                    (now - should) / STEP_NS,
                    f"{datetime.fromtimestamp(should / 1e9, UTC):%Y-%m-%d %H:%M}",
                )
            out = should
            if running - self._doubt >= TRUST_NS:
                self._doubt, out = None, now
                self.stepped, self._before = self._before, None
        self._time, self._looked = out, running
        with suppress(OSError):  # then the next process believes what it sees
            self._file.write_text(" ".join(map(str, (out, *(self._before or ())))) + "\n")
        return out

    @property
    def doubtful(self) -> bool:
        """Whether the last time that was told is not the clock's."""
        return self._doubt is not None
