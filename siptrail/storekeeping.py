"""The store as its keeper sees it, in the service and in the commands that open it themselves: answers as JSON.

It owns the words of these answers. The work is done in index.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from index.cleanup import LATE_NS, SOON_NS
from index.lake import Lake
from index.retention import Limits, Removal, in_bytes, line
from index.upkeep import Upkeep
from siptrail.config import Settings, duration_ns, share, size_bytes


def limits_of(settings: Settings) -> Limits:
    """What the settings allow the store."""
    return Limits(
        duration_ns(settings.keep),
        None if settings.store_budget is None else size_bytes(settings.store_budget),
        share(settings.disk_high_water),
    )


class Keeper:
    """Answers for one open store."""

    def __init__(self, lake: Lake, settings: Settings, alone: bool = False) -> None:
        self.upkeep = Upkeep(lake, limits_of(settings), settings.node)
        self._lake = lake
        self._alone = alone
        """Nobody else reads this store: what goes may be deleted at once."""

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


def retention_text(record: dict[str, Any]) -> str:
    """What retention did, or would do, for people."""
    verb = "would remove" if record["dry_run"] else "removed"
    out = [f"{verb} {hour['text']}" for hour in record["hours"]]
    if not out:
        out = ["nothing must go"]
    total = sum(hour["size"] for hour in record["hours"])
    if record["dry_run"]:
        out.append(f"{len(record['hours'])} hours, {in_bytes(total)} of {in_bytes(record['size'])}")
    else:
        out.append(
            f"{len(record['hours'])} hours, {in_bytes(total)}; {in_bytes(record['freed'])} came free at once, "
            f"{in_bytes(record['size'])} are taken"
        )
    return "\n".join(out)
