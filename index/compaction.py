"""Closed hours become one sorted set of files, once: many small files cost every search and fill the catalogue.

It owns which hours are due, and the exchange: new files for old ones in one transaction, so that a reader sees every
row exactly once, before, meanwhile and after. Sorting goes on beside capture; only the exchange takes the queue.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from index.hours import DataFile, Slot, by_slot, data_files
from index.lake import Lake
from index.schema import PARTITIONED
from index.sorting import Stopped, counted, result_of, sort_files

log = logging.getLogger("siptrail")

QUIET_NS = 600_000_000_000
"""An hour is closed when it is over, and nothing has been written into it, for so long."""
SMALL = 64 << 20
"""A file below this size is worth putting together with others."""
CROWD = 16
"""So many small files are put together even if the hour has large ones, which are written again for that."""
TINY_TABLES = ("counts", "losses", "imported", "captures", "spooled")
MOST_TINY = 32
ORDERED = ("messages", "calls", "findings", "frames")
"""Frames come last: as long as they are not packed, the hour is looked at again."""


def due(
    files: Iterable[DataFile], now: int, written: Callable[[Path], int] = lambda path: path.stat().st_mtime_ns
) -> list[tuple[Slot, str, list[DataFile]]]:
    """Hours and tables that should be put in order, oldest first, with the files they have now; `written` tells when
    a file was (ns)."""
    out = []
    for slot, inside in sorted(by_slot(files).items()):
        by_table = {table: [f for f in inside if f.table in (table, result_of(table))] for table in ORDERED}
        new = _unpacked(by_table["frames"])
        # Where frames are to be packed, the rest of the hour has not been put in order either.
        wanted = [table for table, mine in by_table.items() if mine and (new or _scattered(mine))]
        # A bucket is asked about the files of those hours alone that would be put in order.
        if not wanted or slot.end + QUIET_NS > now or any(_fresh(f.path, now, written) for f in inside):
            continue
        out += [(slot, table, by_table[table]) for table in wanted]
    return out


def _unpacked(frames: list[DataFile]) -> bool:
    """Enough of an hour's frames are not packed yet. A few late ones can wait."""
    return 3 * sum(f.size for f in frames if f.table == "frames") > sum(f.size for f in frames)


def _scattered(files: list[DataFile]) -> bool:
    small = [f.size for f in files if f.size < SMALL]
    # A late file or two beside large ones can wait: each time the whole hour is written again.
    return len(small) > 1 and (len(small) >= CROWD or 3 * sum(small) >= sum(f.size for f in files))


def _fresh(path: Path, now: int, written: Callable[[Path], int]) -> bool:
    try:
        stamp = written(path)
    except OSError:
        return True  # damaged: not ours to touch
    # A file from the future was written before the clock was set back; it does not become older by waiting.
    return now - QUIET_NS < stamp <= now


def compact(lake: Lake, slot: Slot, table: str, files: list[DataFile], stop: Callable[[], bool] = lambda: False) -> int:
    """Exchange an hour's files of one table for a sorted set; returns how many files fewer there are."""
    into = result_of(table)
    before = {f.path for f in files}
    paths = sorted(before)
    folder = lake.folder_of(into) / f"day={slot.day}" / f"hour={slot.hour}"
    with lake.place.fetched(paths):
        expected = sum(counted(path) for path in paths)
        done = sort_files(table, paths, folder, lake.folder / "temp", stop=stop)
    begun = False
    try:
        lake.place.put(done.files)
        with lake.change() as change:
            begun = True
            change.own(done.files)
            tables = list(dict.fromkeys((table, into)))
            now_there = {f.path for f in data_files(change.cur, tables, lake.place.local) if f.slot == slot}
            if done.rows != expected or now_there != before:
                raise Overtaken(f"{slot} of {table} changed meanwhile")
            for name in tables:
                change.delete(name, "day = ? AND hour = ?", [slot.day, slot.hour])
            change.add(into, done.files)
    except BaseException:
        if not begun:
            lake.place.remove(done.files)
        raise
    return len(before) - len(done.files)


class Overtaken(Exception):
    """Rows came or went while an hour was being sorted: what was sorted is of no use."""


def compact_all(lake: Lake, now: int, stop: Callable[[], bool] = lambda: False) -> int:
    """Everything that is due, one hour and table after the other; returns how many files fewer there are."""
    with lake.reading() as cur:
        files = data_files(cur, PARTITIONED, lake.place.local)
    found = due(files, now, lake.place.written)
    fewer = 0
    for slot, table, files in found:
        if stop():
            break
        try:
            fewer += compact(lake, slot, table, files, stop)
        except Stopped:
            break
        except Overtaken as error:
            log.info("%s; it is put in order later", error)
    return fewer


def merge_tiny(lake: Lake) -> None:
    """Small tables get a file with nearly each write; DuckLake puts them together, and this syncs what it wrote."""
    with lake.change() as change:
        for table in TINY_TABLES:
            if len(data_files(change.cur, [table], lake.place.local)) >= MOST_TINY:
                change.merge(table)
