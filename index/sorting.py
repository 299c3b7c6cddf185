"""The rows of an hour's files once more, in one order, in few files: read, merged and written outside of the lake.

Files of the lake are sorted by Call-ID, so they are merged piece by piece: memory is bounded by how many files are open
at once, whatever their size. Frames come out packed (index.packed), and the partial rows of a call as one. Calls come
out by time (index.by_time), and such files are put back into the order of Call-IDs before they are merged again.
It owns the new files until they are handed over; it changes no catalogue.
"""

from __future__ import annotations

import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from index import by_time
from index.adding import added_up
from index.merging import merge
from index.packed import packed, unpacked
from index.parquet import FRESH, IN_ORDER, ROW_GROUP, layout, sync_files
from index.schema import IN_FILES, shaped

PIECE = 512
"""Rows taken from a file at a time."""
PACKED_PIECE = 32
"""The same of packed rows, which have up to a megabyte each."""
OPEN_FILES = 32
"""More files than these are merged in several passes."""
GROUP_BYTES = {IN_ORDER: 32 << 20, FRESH: 2 << 20}
"""A row group is closed at this size, however few rows it has: what one call costs to read, and what writing takes.
While an hour is open, capture has the memory."""
FILE_BYTES = 256 << 20
NICE = 10
KEY = {
    "messages": ("call_id", "ts", "seq"),
    "frames": ("call_id", "ts", "seq", "part"),
    "calls": ("call_id",),
    "findings": ("call_id", "stamp", "place"),
}


@dataclass(frozen=True, slots=True)
class Sorted:
    """Files that hold all rows, and what these count (see `counted`)."""

    files: list[Path]
    rows: int


Only = Callable[[pa.Table], pa.Table]


class Stopped(Exception):
    """Sorting was no longer wanted."""


def result_of(table: str, level: int = IN_ORDER) -> str:
    """The table whose rows come out: frames of closed hours are packed."""
    return "packed" if table == "frames" and level == IN_ORDER else table


def counted(path: Path) -> int:
    """Rows of a file; of packed ones the frames in them, of calls their messages: sorting does not change it."""
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        column = "frames" if "moves" in names else "messages" if "first_key" in names else None
        if column is None:
            return int(file.metadata.num_rows)
        return sum(_sum(batch[column]) for batch in file.iter_batches(columns=[column]))


def count_of(rows: pa.Table) -> int:
    """The same of rows in hand, none of which is packed."""
    return _sum(rows["messages"]) if "first_key" in rows.column_names else int(rows.num_rows)


def _sum(column: pa.Array | pa.ChunkedArray) -> int:
    return int(pc.sum(column).as_py() or 0)


def sort_files(
    table: str,
    files: list[Path],
    folder: Path,
    temp: Path,
    distinct: bool = False,
    stop: Callable[[], bool] = lambda: False,
    only: Only | None = None,
    level: int = IN_ORDER,
) -> Sorted:
    """All rows of `files` by Call-ID as new files in `folder`, synced; files of `frames` may be packed ones, too.
    `distinct` (all but calls): rows that are there twice come out once. `only` may take rows out of pieces, which come
    in the order of Call-IDs. `stop` ends it with Stopped, and nothing is left of it."""
    work = temp / f"sort-{uuid.uuid4()}"
    try:
        with _politely():
            passes = 0
            while len(files) > OPEN_FILES:
                passes += 1
                some = [files[at : at + OPEN_FILES] for at in range(0, len(files), OPEN_FILES)]
                older, files = files, []
                for group in some:
                    groups = _groups(_sorted(table, group, work, FRESH, distinct), GROUP_BYTES[FRESH])
                    files += _write(groups, work, 1 << 62, stop, FRESH)
                if passes > 1:
                    for path in older:
                        path.unlink()
            return write_in_order(table, _sorted(table, files, work, level, distinct, only), folder, work, stop, level)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def write_in_order(
    table: str,
    pieces: Iterator[pa.Table],
    folder: Path,
    temp: Path,
    stop: Callable[[], bool] = lambda: False,
    level: int = IN_ORDER,
) -> Sorted:
    """Rows that come by Call-ID as files in `folder`, synced, as closed hours have them; `temp`: where much waits."""
    count, most, ordered = 0, ROW_GROUP, table == "calls" and level == IN_ORDER
    if ordered:
        pieces, most = by_time.in_order(pieces, by_time.TIME, temp), by_time.GROUP

    def finished() -> Iterator[pa.Table]:
        nonlocal count
        for rows in _groups(pieces, GROUP_BYTES[level], most):
            count += count_of(rows)
            yield packed(rows) if result_of(table, level) == "packed" else rows

    done = Sorted(_write(finished(), folder, FILE_BYTES, stop, level, ordered), count)
    sync_files(done.files)
    return done


def _sorted(
    table: str, files: list[Path], temp: Path, level: int, distinct: bool, only: Only | None = None
) -> Iterator[pa.Table]:
    pieces = merged(table, files, temp)
    if only is not None:
        pieces = (left for piece in pieces if (left := only(piece)).num_rows)
    if distinct:
        return _once(pieces, KEY[table])
    return added_up(pieces, level == IN_ORDER) if table == "calls" else pieces


def _write(
    groups: Iterator[pa.Table],
    folder: Path,
    most: int,
    stop: Callable[[], bool],
    level: int,
    is_by_time: bool = False,
) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    out: list[Path] = []
    writer: pq.ParquetWriter | None = None
    try:
        for group in groups:
            if stop():
                raise Stopped
            if writer is None:
                order = by_time.sorting(group.schema.names) if is_by_time else {}
                out.append(folder / f"{uuid.uuid4()}.parquet")
                form = layout(group.schema.names, level, again=True) | order
                writer = pq.ParquetWriter(out[-1], group.schema, **form)
            writer.write_table(group, row_group_size=group.num_rows)
            if out[-1].stat().st_size > most:
                writer.close()
                writer = None
        if writer is not None:
            writer.close()
    except BaseException:
        if writer is not None:
            writer.close()
        for path in out:
            path.unlink(missing_ok=True)
        raise
    return out


def merged(table: str, files: list[Path], temp: Path, names: Sequence[str] = ()) -> Iterator[pa.Table]:
    """The rows of sorted files by Call-ID; rows of one call are in order as far as they come together. `temp`: where
    much waits that is in another order; `names`: only these columns."""
    shape = pa.schema([f for f in IN_FILES[table] if not names or f.name in names])
    opened = [pq.ParquetFile(path, buffer_size=1 << 16, pre_buffer=False) for path in files]
    try:
        readers = [
            by_time.in_order(_pieces(f, shape), "call_id", temp) if by_time.is_by_time(f) else _pieces(f, shape)
            for f in opened
        ]
        yield from merge(readers, KEY[table])
    finally:
        for file in opened:
            file.close()


def _pieces(file: pq.ParquetFile, shape: pa.Schema) -> Iterator[pa.Table]:
    wrapped = "moves" in file.schema_arrow.names
    there = file.schema_arrow.names if wrapped else [n for n in shape.names if n in file.schema_arrow.names]
    # Arrow's own threads are not polite.
    for batch in file.iter_batches(PACKED_PIECE if wrapped else PIECE, columns=there, use_threads=False):
        if not batch.num_rows:
            continue
        rows = pa.Table.from_batches([batch])
        yield unpacked(rows) if wrapped else shaped(rows, shape)


def _once(pieces: Iterator[pa.Table], key: tuple[str, ...]) -> Iterator[pa.Table]:
    """Each row once; copies stand in the same piece, or in the next one with the same Call-ID."""
    seen: set[tuple[object, ...]] = set()
    for piece in pieces:
        rows = list(zip(*(piece[name].to_pylist() for name in key), strict=True))
        keep = np.ones(len(rows), bool)
        last = rows[-1][0]
        for k, row in enumerate(rows):
            keep[k] = row not in seen
            seen.add(row)
        seen = {row for row in seen if row[0] == last}
        if keep.any():
            yield piece.filter(pa.array(keep))


def _groups(pieces: Iterator[pa.Table], enough: int, most: int = ROW_GROUP) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    rows = size = 0
    for piece in pieces:
        held.append(piece)
        rows, size = rows + piece.num_rows, size + piece.nbytes
        if rows >= most or size >= enough:
            yield pa.concat_tables(held)
            held, rows, size = [], 0, 0
    if rows:
        yield pa.concat_tables(held)


@contextmanager
def _politely() -> Iterator[None]:
    """Let capture and searches go first: Linux has a priority for each thread."""
    try:
        thread = threading.get_native_id()
        was = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, max(was, NICE))
    except (AttributeError, OSError):
        yield
        return
    try:
        yield
    finally:
        # Only root may be less polite again, and the upkeep thread has nothing urgent to do.
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, was)
