"""Everything that a store needs from time to time: retention, order in closed hours, late deletion, one by one.

It owns the order and the pace. Every change goes through the lake's one queue; capture and readers go on meanwhile.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from index.cleanup import LATE_NS, SOON_NS, Cleaner
from index.clock import Clock
from index.compaction import compact_all, merge_tiny
from index.lake import Lake
from index.noise import Noise
from index.pace import Pace
from index.retention import Disk, Limits, Removal, keep_from_now, plan, remove
from sip.errors import SiptrailError, Unreachable

ORPHANS_EVERY_NS = 24 * LATE_NS
RESERVE = 8 << 20
"""Bytes that are let go when nothing else can be."""


class Upkeep:
    """`round` is called about once a minute, `retain` by whoever asks for it; they never run at once."""

    def __init__(
        self,
        lake: Lake,
        limits: Limits,
        node: str,
        share: float = 1.0,
        clock: Clock | None = None,
        give_back: Callable[[], None] = lambda: None,
    ) -> None:
        """`share`: of one processor, for what takes long. Without `clock`, every time is believed. `give_back` is
        called when memory that was needed for a while no longer is."""
        self._clock, self._give_back = clock, give_back
        self.lake, self.limits, self._node, self._share = lake, limits, node, share
        self._noise = Noise(lake)
        self.cleaner = Cleaner(lake)
        self._one = threading.Lock()
        self._short_until = 0
        """Room is short until then (ns): what is gone is deleted sooner."""
        self._orphans_at = self._given_at = 0
        self._spare = lake.folder / "reserve"

    def round(self, now: int, stop: Callable[[], bool] = lambda: False) -> None:
        """Whatever is due; `stop` ends it early. What fails does not keep the rest from being done."""
        try:
            with self.lake.catalogue.keeping() as mine:
                if mine:  # else another machine is at it
                    self._round(now, stop)
        finally:
            self.lake.know_hours(stop)  # each machine does that for itself

    def _round(self, now: int, stop: Callable[[], bool]) -> None:
        failed: list[Exception] = []
        pace = Pace(self._share, stop)
        for work in (self._retain, self._put_in_order, self._thin, self._clean):
            try:
                with self._one:
                    work(now, pace)
            except Exception as error:
                failed.append(error)
        if failed:
            raise failed[0]

    def _retain(self, now: int, stop: Callable[[], bool]) -> None:
        self._reserve()
        believed = self._believed(now)
        self._remove(believed)

    def _put_in_order(self, now: int, stop: Callable[[], bool]) -> None:
        compact_all(self.lake, now, stop, self._give_back)
        merge_tiny(self.lake)

    def _thin(self, now: int, stop: Callable[[], bool]) -> None:
        self._noise.remove(self.limits, self._believed(now), self._node, stop)

    def _believed(self, now: int) -> int:
        """The time by which things are too old; hours that a wrong clock made are given their time from now on."""
        clock = self._clock
        if clock is None:
            return now
        believed = clock.believed(now)
        if clock.stepped is not None:
            keep_from_now(self.lake, now, clock.stepped)
            clock.stepped = None
        if not clock.doubtful:
            keep_from_now(self.lake, now, (now + 2 * LATE_NS, 1 << 62), again=False)
        return believed

    def _clean(self, now: int, stop: Callable[[], bool]) -> None:
        # After a step of the clock, what is being written would look like something that a crash left long ago.
        doubtful = self._clock is not None and self._clock.doubtful
        orphans = abs(now - self._orphans_at) > ORPHANS_EVERY_NS and not doubtful
        self.cleaner.clean(now, SOON_NS if now < self._short_until else LATE_NS, orphans)
        if orphans:
            self._orphans_at = now
        if abs(now - self._given_at) >= LATE_NS:
            self._given_at = now
            self.lake.give_back()

    def _reserve(self) -> None:
        """Keep a little of the disk: removing, too, must write a few lines, on a disk that others filled."""
        if not self._spare.exists() and not self.lake.place.remote and Disk.of(self.lake.folder).free > 4 * RESERVE:
            self._spare.write_bytes(os.urandom(RESERVE))  # zeros take no room on some file systems

    def plan(self, now: int) -> list[Removal]:
        """What retention would remove now."""
        whole = plan(self.lake, self.limits, now)
        gone = {r.slot for r in whole}
        return whole + [r for r in self._noise.plan(self.limits, now) if r.slot not in gone]

    def retain(self, now: int) -> list[Removal]:
        """Remove what must go; returns what went."""
        with self.lake.catalogue.keeping() as mine, self._one:
            if not mine:
                raise SiptrailError("another machine is doing the store's upkeep; try again in a minute")
            return self._remove(now) + self._noise.remove(self.limits, now, self._node)

    def _remove(self, now: int) -> list[Removal]:
        planned = plan(self.lake, self.limits, now)
        try:
            gone = remove(self.lake, planned, now, self._node, self.limits.keep_ns)
        except Unreachable:
            if not self._spare.exists():
                raise
            self._spare.unlink()
            gone = remove(self.lake, planned, now, self._node, self.limits.keep_ns)
        if any(r.reason != "age" for r in gone):
            self._short_until = now + 4 * SOON_NS
        return gone
