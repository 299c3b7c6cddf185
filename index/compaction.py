"""Closed hours become one sorted set of files, once: many small files cost every search and fill the catalogue.

It owns which files are due. In an open hour a crowd of small files becomes one larger file, so that there are a few
dozen at most. Sorting goes on beside capture; only the exchange (index.exchange) takes the queue.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from index.exchange import Overtaken, exchange, swaps
from index.hours import DataFile, Slot, by_slot, data_files
from index.lake import Lake
from index.parquet import FRESH, IN_ORDER
from index.schema import PARTITIONED
from index.sorting import Stopped, counted, result_of, sort_files
from sip.errors import SiptrailError

log = logging.getLogger("siptrail")

QUIET_NS = 600_000_000_000
"""An hour is closed when it is over, and nothing has been written into it, for so long."""
SMALL = 64 << 20
"""A file below this size is worth putting together with others."""
CROWD = 16
"""So many small files are put together even if the hour has large ones, which are written again for that."""
OPEN_SMALL, OPEN_CROWD = 16 << 20, 6
"""The same while the hour is open: there, a row should be written again two or three times, not more, and capture has
the memory: of each file that is put together, something is in it."""
TINY_TABLES = ("counts", "losses", "imported", "captures", "spooled")
MOST_TINY = 32
ORDERED = ("messages", "calls", "findings", "frames")
"""Frames come last: as long as they are not packed, the hour is looked at again."""


def due(
    files: Iterable[DataFile], now: int, written: Callable[[Path], int] = lambda path: path.stat().st_mtime_ns
) -> list[tuple[Slot, str, list[DataFile]]]:
    """Hours and tables whose files should be put together, oldest first, with those that should be: all of a closed
    hour, a crowd of an open one. `written` tells when a file was (ns)."""
    out = []
    for slot, inside in sorted(by_slot(files).items()):
        by_table = {table: [f for f in inside if f.table in (table, result_of(table))] for table in ORDERED}
        new = _unpacked(by_table["frames"])
        # Where frames are to be packed, the rest of the hour has not been put in order either.
        wanted = [table for table, mine in by_table.items() if mine and (new or _scattered(mine))]
        # A bucket is asked about the files of those hours alone that would be put in order.
        if wanted and slot.end + QUIET_NS <= now and not any(is_fresh(f.path, now, written) for f in inside):
            out += [(slot, table, by_table[table]) for table in wanted]
        else:
            out += [
                (slot, t, some) for t, mine in by_table.items() for some in _crowds([f for f in mine if f.table == t])
            ]
    return out


def _unpacked(frames: list[DataFile]) -> bool:
    """Enough of an hour's frames are not packed yet. A few late ones can wait."""
    return 3 * sum(f.size for f in frames if f.table == "frames") > sum(f.size for f in frames)


def _scattered(files: list[DataFile]) -> bool:
    small = [f.size for f in files if f.size < SMALL]
    # A late file or two beside large ones can wait: each time the whole hour is written again.
    return len(small) > 1 and (len(small) >= CROWD or 3 * sum(small) >= sum(f.size for f in files))


def _crowds(files: list[DataFile]) -> list[list[DataFile]]:
    """Files of about the same size, so many at a time as have room in memory, if there are that many. What is made of
    them is of the next size, so that a row is written again once for each size, and not each time that something comes
    in."""
    sizes: dict[int, list[DataFile]] = {}
    for file in files:
        if file.size < OPEN_SMALL:
            sizes.setdefault(max(file.size, 1).bit_length() // 3, []).append(file)
    return [
        some[at : at + OPEN_CROWD]
        for _, some in sorted(sizes.items())
        for at in range(0, len(some) - OPEN_CROWD + 1, OPEN_CROWD)
    ]


def is_fresh(path: Path, now: int, written: Callable[[Path], int]) -> bool:
    """Whether the file was written lately."""
    try:
        stamp = written(path)
    except OSError:
        return True  # damaged: not ours to touch
    # A file from the future was written before the clock was set back; it does not become older by waiting.
    return now - QUIET_NS < stamp <= now


def compact(
    lake: Lake,
    slot: Slot,
    table: str,
    files: list[DataFile],
    stop: Callable[[], bool] = lambda: False,
    level: int = IN_ORDER,
) -> int:
    """Exchange files of one hour and table for a sorted set; returns how many files fewer there are."""
    into = result_of(table, level)
    paths = sorted(f.path for f in files)
    folder = lake.folder_of(into) / f"day={slot.day}" / f"hour={slot.hour}"
    with lake.place.fetched(paths):
        expected = sum(counted(path) for path in paths)
        change = swaps(slot, files, into)
        done = sort_files(table, paths, folder, lake.folder / "temp", stop=stop, level=level)
    if done.rows != expected:
        lake.place.remove(done.files)
        raise SiptrailError(f"{slot} of {table}: {expected} rows were to be put in order and {done.rows} came out")
    change[into].new.extend(done.files)
    exchange(lake, list(change.values()))
    return len(paths) - len(done.files)


def compact_all(
    lake: Lake, now: int, stop: Callable[[], bool] = lambda: False, after: Callable[[], None] = lambda: None
) -> int:
    """Everything that is due, one hour and table after the other; returns how many files fewer there are. `after` each
    of them, memory may be given back."""
    with lake.reading() as cur:
        files = data_files(cur, PARTITIONED, lake.place.local)
    found = due(files, now, lake.place.written)
    fewer = 0
    for slot, table, files in found:
        if stop():
            break
        try:
            # What will soon be written once more is not worth much of the processor.
            level = IN_ORDER if slot.end + QUIET_NS <= now else FRESH
            fewer += compact(lake, slot, table, files, stop, level)
        except Stopped:
            break
        except Overtaken as error:
            log.info("%s; it is put in order later", error)
        after()
    return fewer


def merge_tiny(lake: Lake) -> None:
    """Small tables get a file with nearly each write; DuckLake puts them together, and this syncs what it wrote."""
    with lake.change() as change:
        for table in TINY_TABLES:
            if len(data_files(change.cur, [table], lake.place.local)) >= MOST_TINY:
                change.merge(table)
