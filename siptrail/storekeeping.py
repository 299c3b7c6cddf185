"""The store as its keeper sees it, in the service and in the commands that open it themselves: answers as JSON.

It owns the words of these answers. The work is done in index.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from index.backup import backup
from index.check import check
from index.cleanup import LATE_NS, SOON_NS
from index.clock import Clock
from index.inventory import inventory
from index.lake import Lake
from index.retention import Limits, Removal, line
from index.upkeep import Upkeep
from sip.errors import SiptrailError
from siptrail.amounts import duration_ns, share, size_bytes
from siptrail.memory import shrink
from siptrail.settings import Settings


def limits_of(settings: Settings) -> Limits:
    """What the settings allow the store."""
    return Limits(
        duration_ns(settings.keep),
        None if settings.store_budget is None else size_bytes(settings.store_budget),
        share(settings.disk_high_water),
        tuple((method, duration_ns(keep)) for method, keep in settings.keep_methods.items()),
    )


class Keeper:
    """Answers for one open store."""

    def __init__(
        self, lake: Lake, settings: Settings, alone: bool = False, flush: Callable[[], None] = lambda: None
    ) -> None:
        share_of_one = share(settings.upkeep_share) or 1.0
        clock = Clock(lake.folder / "clock")
        self.upkeep = Upkeep(lake, limits_of(settings), settings.node, share_of_one, clock, shrink)
        self._lake = lake
        self._alone = alone
        """Nobody else reads this store: what goes may be deleted at once."""
        self._flush = flush
        """Writes what is only in memory."""
        self._backups = threading.Lock()

    def stats(self) -> dict[str, Any]:
        """Files, rows and bytes."""
        return inventory(self._lake)

    def check(self, deep: bool) -> dict[str, Any]:
        """Whether every file is there and can be read."""
        with self.upkeep.cleaner.held():
            found = check(self._lake, deep)
        faults = [
            {"table": f.table, "hour": str(f.slot) if f.slot else None, "file": str(f.path), "what": f.what}
            for f in found.faults
        ]
        return {"files": found.files, "bytes": found.size, "deep": deep, "faults": faults}

    def backup(self, path: str) -> dict[str, Any]:
        """Copy everything seen so far to a folder."""
        if not self._backups.acquire(blocking=False):
            raise SiptrailError("a backup is being made already; wait for its end")
        try:
            self._flush()
            return asdict(backup(self._lake, self.upkeep.cleaner, Path(path)))
        finally:
            self._backups.release()

    def retention(self, dry_run: bool) -> dict[str, Any]:
        """What must go, or what went."""
        now = time.time_ns()
        hours = self.upkeep.plan(now) if dry_run else self.upkeep.retain(now)
        freed = 0
        if not dry_run:
            cleaner = self.upkeep.cleaner
            freed = cleaner.clean(now + LATE_NS, 0) if self._alone else cleaner.clean(now, SOON_NS)
        return {"dry_run": dry_run, "hours": [_removal(r) for r in hours], "freed": freed, "size": self._lake.size()}


def _removal(removal: Removal) -> dict[str, Any]:
    return asdict(removal) | {"text": line(removal)}
