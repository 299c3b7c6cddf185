"""Everything that a store needs from time to time: retention, order in closed hours, late deletion, one by one.

It owns the order and the pace. Every change goes through the lake's one queue; capture and readers go on meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from index.cleanup import LATE_NS, SOON_NS, Cleaner
from index.compaction import compact_all, merge_tiny
from index.lake import Lake
from index.retention import Limits, Removal, plan, remove

ORPHANS_EVERY_NS = 24 * LATE_NS


class Upkeep:
    """`round` is called about once a minute, `retain` by whoever asks for it; they never run at once."""

    def __init__(self, lake: Lake, limits: Limits, node: str) -> None:
        self.lake, self.limits, self._node = lake, limits, node
        self.cleaner = Cleaner(lake)
        self._one = threading.Lock()
        self._short_until = 0
        """Room is short until then (ns): what is gone is deleted sooner."""
        self._orphans_at = 0

    def round(self, now: int, stop: Callable[[], bool] = lambda: False) -> None:
        """Whatever is due; `stop` ends it early."""
        self.retain(now)
        with self._one:
            compact_all(self.lake, now, stop)
            merge_tiny(self.lake)
        orphans = abs(now - self._orphans_at) > ORPHANS_EVERY_NS
        with self._one:
            self.cleaner.clean(now, SOON_NS if now < self._short_until else LATE_NS, orphans)
            if orphans:
                self._orphans_at = now

    def plan(self, now: int) -> list[Removal]:
        """What retention would remove now."""
        return plan(self.lake, self.limits, now)

    def retain(self, now: int) -> list[Removal]:
        """Remove what must go; returns what went."""
        with self._one:
            gone = remove(self.lake, self.plan(now), now, self._node, self.limits.keep_ns)
            if any(r.reason != "age" for r in gone):
                self._short_until = now + 4 * SOON_NS
            return gone
