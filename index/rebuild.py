"""A new catalogue from the Parquet files, where the old one is damaged or names files that are.

It owns the `damaged` folder: what cannot be read is set aside there, and the old catalogue with it. Rows that are in
two files (one replaced the other, and was not deleted yet) come out once. No service may have the store open.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from index.check import check, unreadable
from index.columns import DAY_NS, as_messages
from index.compaction import ORDERED
from index.hours import Slot, data_files, imported, slot_of
from index.lake import Lake
from index.openlake import REBUILDING, lock_store
from index.parquet import write_partitions
from index.partials import partials
from index.schema import SHAPES, SMALL, shaped
from index.schema import small as small_rows
from index.sorting import KEY, counted, result_of, sort_files

Say = Callable[[str], None]
BATCH = 100_000
"""Messages rolled up together."""


@dataclass(slots=True)
class Rebuilt:
    """What came of it."""

    files: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    aside: list[tuple[Path, str]] = field(default_factory=list)
    """Files that cannot be read, where they are now, and why."""
    hours: list[Slot] = field(default_factory=list)
    """Hours that lost something."""
    doubled: int = 0
    """Files whose rows were in others, too."""


def repair(folder: Path, deep: bool, say: Say = lambda text: None) -> Rebuilt | None:
    """Set damaged files aside and make a catalogue of the others; None where nothing is damaged."""
    lake = Lake(folder)
    try:
        health = check(lake, deep)
        if not health.faults:
            return None
        bad = {fault.path: fault.what for fault in health.faults}
        good = [f.path for f in data_files(lake.cursor()) if f.path not in bad]
        small = {}
        for table in SMALL:
            try:
                small[table] = lake.cursor().execute(f"SELECT * FROM lake.{table}").to_arrow_table()
            except duckdb.Error:
                continue  # its files are read one by one
    finally:
        lake.close()
    return _rebuild(folder, good, bad, small, say)


def rebuild(folder: Path, deep: bool = False, say: Say = lambda text: None) -> Rebuilt:
    """A catalogue of all files that can be read."""
    with lock_store(folder):
        bad, good = {}, []
        for table in SHAPES:
            for path in sorted((folder / "data" / "main" / table).rglob("*.parquet")):
                if path.name.endswith("-delete.parquet"):
                    continue  # says which rows of another file are gone, in a way that only its catalogue knows
                why = unreadable(table, path, deep)
                if why:
                    bad[path] = why
                else:
                    good.append(path)
    return _rebuild(folder, good, bad, {}, say)


def _rebuild(folder: Path, good: list[Path], bad: dict[Path, str], small: dict[str, pa.Table], say: Say) -> Rebuilt:
    out = Rebuilt()
    stamp = time.time_ns()
    aside = folder / "damaged"
    with lock_store(folder):
        # Until it is done, nobody takes the half of it for the whole.
        (folder / REBUILDING).touch()
        for path, why in bad.items():
            slot = slot_of(path)
            if slot is not None and slot not in out.hours:
                out.hours.append(slot)
            out.aside.append((_aside(path, aside / path.relative_to(folder / "data")), why))
        for path in folder.glob("catalogue.duckdb*"):
            _aside(path, aside / f"{stamp}-{path.name}")
    lost = {slot_of(path) for path in bad if _table(folder, path) in ("messages", "calls")}
    again = {slot for slot in lost if slot is not None}
    """Hours whose calls are made again from their messages."""
    lake = Lake(folder, rebuilding=True)
    try:
        with lake.change() as change:
            replaced: list[Path] = []
            messages: dict[Slot, list[Path]] = {}
            for table in ORDERED:
                mine = [p for p in good if _table(folder, p) in (table, result_of(table))]
                for slot, paths in _by_slot(mine).items():
                    if table == "calls" and (slot in lost or len(paths) > 1):
                        # The rows of several files may stand for the same messages, one by one and added up.
                        replaced += paths
                        again.add(slot)
                        continue
                    whole = _once(lake, table, slot, paths)
                    if whole is not paths:
                        replaced += paths
                        change.own(whole)
                        if len(whole) < len(paths):
                            out.doubled += len(paths) - len(whole)
                            say(f"{slot}: rows of {table} that were in two files are there once now")
                    for path in whole:
                        change.add(_table(folder, path), [path])
                    if table == "messages":
                        messages[slot] = whole
                    out.files += len(whole)
            for slot in sorted(again):
                change.add("calls", _calls_again(lake, slot, messages.get(slot, [])))
            for table in SMALL:
                if table == "about":
                    continue
                mine = [p for p in good if _table(folder, p) == table]
                rows = small.get(table)
                change.append(table, _small(folder, table, mine) if rows is None else rows.cast(SHAPES[table]))
                replaced += mine
            late = _late_hours(good, set(imported(change.cur)))
            change.append("imported", small_rows("imported", late))
            for table in SHAPES:
                row = change.cur.execute(f"SELECT count(*) FROM lake.{table}").fetchone()
                out.rows[table] = int(row[0]) if row else 0
        replaced += [p for p in good if _table(folder, p) == "about"]
        for path in replaced:
            path.unlink(missing_ok=True)
        (folder / REBUILDING).unlink()
    finally:
        lake.close()
    return out


def _once(lake: Lake, table: str, slot: Slot, paths: list[Path]) -> list[Path]:
    """These files, or new ones, where some rows are in two of them."""
    if len(paths) < 2:
        return paths
    place = lake.folder_of(result_of(table)) / f"day={slot.day}" / f"hour={slot.hour}"
    if any(_table(lake.folder, path) == "packed" for path in paths):
        done = sort_files(table, paths, place, lake.folder / "temp", distinct=True)
        if done.rows == sum(counted(path) for path in paths):
            lake.place.remove(done.files)
            return paths
        return done.files
    columns = ", ".join(f'"{name}"' for name in KEY[table])
    source = f"read_parquet({[str(p) for p in paths]}, hive_partitioning => false, union_by_name => true)"
    cur = lake.cursor()
    try:
        sql = f"SELECT count(*), (SELECT count(*) FROM (SELECT DISTINCT {columns} FROM {source})) FROM {source}"
        row = cur.execute(sql).fetchone()
        if row is None or row[0] == row[1]:
            return paths
        return sort_files(table, paths, place, lake.folder / "temp", distinct=True).files
    finally:
        cur.close()


def _calls_again(lake: Lake, slot: Slot, messages: list[Path]) -> list[Path]:
    """The roll-up of the messages that an hour still has."""
    parts = []
    for path in messages:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH):
                rows = shaped(_placed(pa.Table.from_batches([batch]), slot), SHAPES["messages"])
                parts.append(partials(as_messages(rows)).cast(SHAPES["calls"]))
    if not parts:
        return []
    return write_partitions(pa.concat_tables(parts).sort_by([("call_id", "ascending")]), lake.folder_of("calls"))


def _placed(rows: pa.Table, slot: Slot) -> pa.Table:
    """The same rows with the day and the hour that their folders name."""
    rows = rows.select([n for n in rows.column_names if n not in ("day", "hour")])
    day = pa.scalar(slot.start // DAY_NS, pa.int32()).cast(pa.date32())
    rows = rows.append_column("day", pa.repeat(day, rows.num_rows))
    return rows.append_column("hour", pa.repeat(pa.scalar(slot.hour, pa.int8()), rows.num_rows))


def _small(folder: Path, table: str, paths: list[Path]) -> pa.Table:
    """Rows of a small table, each once; spool segments only where they are still there."""
    shape = SHAPES[table]
    parts = [pq.read_table(p, partitioning=None).select(shape.names).cast(shape) for p in paths]
    rows = pa.concat_tables([shape.empty_table(), *parts])
    rows = rows.group_by(shape.names).aggregate([]).select(shape.names)
    if table == "spooled":
        there = [p.name for p in (folder / "spool").glob("*.pcapng")]
        rows = rows.filter(pc.is_in(rows["segment"], pa.array(there, pa.string())))
    return rows


def _late_hours(good: Iterable[Path], known: set[Slot]) -> list[tuple[date, int, int]]:
    """Hours that got files a day later or more were imported then; so they keep their time, whatever else is lost."""
    out = []
    for slot, paths in _by_slot(good).items():
        written = max((p.stat().st_mtime_ns for p in paths if p.exists()), default=0)
        if slot not in known and written > slot.end + DAY_NS:
            out.append((date.fromisoformat(slot.day), slot.hour, written))
    return out


def _table(folder: Path, path: Path) -> str:
    return path.relative_to(folder / "data" / "main").parts[0]


def _by_slot(paths: Iterable[Path]) -> dict[Slot, list[Path]]:
    out: dict[Slot, list[Path]] = {}
    for path in paths:
        slot = slot_of(path)
        if slot is not None:
            out.setdefault(slot, []).append(path)
    return out


def _aside(path: Path, target: Path) -> Path:
    if path.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    return target
