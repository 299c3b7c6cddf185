"""What must go: hours past their time, and the oldest ones where the store or its disk is too full.

It owns the choice (`plan`) and the removal of whole hours (`remove`). An hour counts from its end or, where something
was imported into it, from that import. The bytes come free once no reader can want them (index.cleanup).
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb

from index.changes import Change
from index.columns import SANE
from index.hours import HOUR_NS, Slot, by_slot, data_files, imported
from index.lake import Lake, counted
from index.rows import first_row
from index.schema import PARTITIONED, small
from sip.errors import Unreachable

log = logging.getLogger("siptrail")
MOST_FAILURES = 5


@dataclass(frozen=True, slots=True)
class Limits:
    """None: no such limit."""

    keep_ns: int
    budget: int | None = None
    """Bytes that the store may take."""
    high_water: float | None = None
    """Share of the file system (0..1) that may be in use, whoever uses it."""
    shorter: tuple[tuple[str, int], ...] = ()
    """Methods that outside of dialogs are kept for less time (ns) than calls; see index.noise."""


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes of a file system that this user may write to."""

    used: int
    free: int

    @classmethod
    def of(cls, folder: Path) -> Disk:
        """The one that holds the folder."""
        usage = shutil.disk_usage(folder)
        return cls(usage.used, usage.free)


@dataclass(frozen=True, slots=True)
class Removal:
    """An hour that must go, or what of it must go."""

    slot: Slot
    reason: str
    """age, budget or disk; or the method that must go, in lower case."""
    why: str
    """The same in words."""
    messages: int
    size: int


def plan(lake: Lake, limits: Limits, now: int, disk: Disk | None = None) -> list[Removal]:
    """What must go, oldest first. Nothing of the present hour goes, however full the disk is."""
    with lake.reading() as cur:
        return _plan(lake, cur, limits, now, disk or Disk.of(lake.place.folder))


def _plan(lake: Lake, cur: duckdb.DuckDBPyConnection, limits: Limits, now: int, disk: Disk) -> list[Removal]:
    files = data_files(cur, local=lake.place.local)
    stamps = imported(cur)
    hours = by_slot(files)
    # What a wrong clock put into the future counts from when that was noticed.
    age = {s: stamps[s] if s.start > now and s in stamps else max(s.end, stamps.get(s, 0)) for s in hours}
    live, beside = sum(f.size for f in files), lake.size_beside_data()
    left = live + beside
    # What nothing refers to any more comes free by itself, soon: nothing else must go for it.
    free = disk.free + max(0, lake.size() - beside - live)
    # A bucket has no end that can be seen from here.
    full = None if lake.place.remote else limits.high_water
    wanted = 0 if full is None else round((1 - full) * (disk.used + disk.free))
    out: list[Removal] = []
    for slot in sorted(hours, key=lambda s: (age[s], s)):
        size = sum(f.size for f in hours[slot])
        reason = ""
        if age[slot] < now - limits.keep_ns:
            reason, why = "age", f"older than {span(limits.keep_ns)}"
        elif now - now % HOUR_NS < slot.end <= now + 3 * HOUR_NS:
            continue
        elif limits.budget is not None and left > limits.budget:
            reason, why = "budget", f"the store takes {in_bytes(left)} and may take {in_bytes(limits.budget)}"
        elif free < wanted:
            reason, why = "disk", f"{in_bytes(free)} of the disk are free and {in_bytes(wanted)} should be"
        if reason:
            out.append(Removal(slot, reason, why, _messages(cur, slot), size))
            left -= size
            free += size
    return out


def remove(lake: Lake, removals: list[Removal], now: int, node: str, keep_ns: int) -> list[Removal]:
    """Do it, hour by hour, and count it; returns what went. An hour that cannot be read stays, and is told."""
    gone, failures = [], 0
    for removal in removals:
        slot = removal.slot
        try:
            with lake.change() as change:
                for table in PARTITIONED:
                    change.delete(table, "day = ? AND hour = ?", [slot.day, slot.hour])
                forget(change, slot)
                counts = {"hours": 1, "messages": removal.messages, "bytes": removal.size}
                names = {f"removed_{what}_{removal.reason}": n for what, n in counts.items()}
                change.append("counts", counted(now, node, names))
        except (duckdb.Error, Unreachable) as error:
            if isinstance(error, Unreachable) and not lake.shared:
                raise
            failures += 1
            log.error("cannot remove %s (%s); see `siptrail store check`", slot, " ".join(str(error).split())[:200])
            if lake.shared and failures == MOST_FAILURES:
                break  # rather the server than these hours
            continue
        gone.append(removal)
        log.info("removed %s", line(removal))
    if gone:
        with lake.change() as change:
            change.delete("losses", "stop < ?", [now - keep_ns])
    return gone


def keep_from_now(lake: Lake, now: int, between: tuple[int, int], again: bool = True) -> None:
    """The hours between two times (ns) count from now on, as if they were imported; unless `again`, only those that
    were not yet."""
    with lake.reading() as cur:
        there, known = by_slot(data_files(cur, ["messages"], lake.place.local)), imported(cur)
    low, high = (min(max(t, SANE[0]), SANE[1]) for t in between)
    rows = [
        (date.fromisoformat(slot.day), slot.hour, now)
        for slot in there
        if slot.end > low and slot.start <= high and (again or slot not in known)
    ]
    if rows:
        log.warning("%d hours were recorded while the clock was wrong; they are kept from now on", len(rows))
        with lake.change() as change:
            change.append("imported", small("imported", rows))


def forget(change: Change, slot: Slot) -> None:
    """What was remembered of an hour that is gone."""
    change.delete("imported", "day = ? AND hour = ?", [slot.day, slot.hour])
    # What is gone may be imported again.
    change.delete("captures", "first < ? AND last >= ?", [slot.end, slot.start])


def line(removal: Removal) -> str:
    """One removal in words."""
    return f"{removal.slot} ({removal.messages:,} messages, {in_bytes(removal.size)}): {removal.why}"


def _messages(cur: duckdb.DuckDBPyConnection, slot: Slot) -> int:
    sql = "SELECT count(*) FROM lake.messages WHERE day = ? AND hour = ?"
    try:
        row = first_row(cur.execute(sql, [slot.day, slot.hour]))
    except duckdb.Error:
        return 0  # a damaged hour must not keep the others from going
    return int(row[0]) if row else 0


def in_bytes(size: float) -> str:
    """A size for people."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TB"


def span(ns: int) -> str:
    """A time for people."""
    hours = ns / 3_600_000_000_000
    return f"{hours / 24:g} days" if hours >= 48 else f"{hours:g} h"
