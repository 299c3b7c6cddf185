"""New files for old ones in one transaction, so that a reader sees every row exactly once, before, meanwhile and after.

It owns the exchange and nothing of what is in the files. Whole files go: nothing is marked as deleted inside of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from index.changes import Change
from index.hours import DataFile, Slot, data_files
from index.lake import Lake


class Overtaken(Exception):
    """Files that were to be exchanged have gone meanwhile: what was made of them is of no use."""


@dataclass(frozen=True, slots=True)
class Swap:
    """Files of one table and hour, and what takes their place."""

    table: str
    slot: Slot
    old: frozenset[Path]
    rows: int
    """How many rows the old ones hold."""
    new: list[Path] = field(default_factory=list)


def swaps(slot: Slot, files: Iterable[DataFile], into: str) -> dict[str, Swap]:
    """By table: what is to be done when these files of an hour, which can be read here, become files of `into`."""
    tables: dict[str, list[Path]] = {into: []}
    for file in files:
        tables.setdefault(file.table, []).append(file.path)
    return {
        table: Swap(table, slot, frozenset(paths), sum(pq.read_metadata(path).num_rows for path in paths))
        for table, paths in tables.items()
    }


def exchange(lake: Lake, swaps: list[Swap], also: Callable[[Change], None] = lambda change: None) -> None:
    """Do it, all of it or nothing; `also` is done in the same step. Files that came meanwhile stay as they are."""
    new = [path for swap in swaps for path in swap.new]
    begun = False
    try:
        lake.place.put(new)
        with lake.change() as change:
            begun = True
            change.own(new)
            for swap in swaps:
                _take_out(lake, change, swap)
                change.add(swap.table, swap.new)
            also(change)
    except BaseException:
        if not begun:
            lake.place.remove(new)
        raise


def _take_out(lake: Lake, change: Change, swap: Swap) -> None:
    if not swap.old:
        return
    there = {f.path for f in data_files(change.cur, [swap.table], lake.place.local) if f.slot == swap.slot}
    where, parameters = "day = ? AND hour = ?", [swap.slot.day, swap.slot.hour]
    if not swap.old <= there:
        raise Overtaken(f"{swap.slot} of {swap.table} changed meanwhile")
    if there != swap.old:
        where += " AND filename IN (SELECT unnest(?))"
        parameters.append([lake.place.name(path) for path in swap.old])
    if change.delete(swap.table, where, parameters) != swap.rows:
        raise Overtaken(f"{swap.slot} of {swap.table} has other rows than were read")
