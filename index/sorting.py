"""The rows of an hour's files once more, in one order, in few files: read, merged and written outside of the lake.

Every file of the lake is sorted by Call-ID, so they are merged piece by piece: memory is bounded by how many files are
open at once, whatever their size. It owns the new files until they are handed over; it changes no catalogue.
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

from index.parquet import FRESH, IN_ORDER, ROW_GROUP, layout, sync_files
from index.schema import SHAPES

PIECE = 512
"""Rows taken from a file at a time."""
OPEN_FILES = 32
"""More files than these are merged in several passes."""
GROUP_BYTES = 32 << 20
"""A row group is closed at this size, however few rows it has: what one call costs to read, and what writing takes."""
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
    """Files that hold all rows, and how many these are."""

    files: list[Path]
    rows: int


Only = Callable[[pa.Table], pa.Table]


class Stopped(Exception):
    """Sorting was no longer wanted."""


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
    """All rows of `files` by Call-ID as new files in `folder`, synced. `distinct` (messages and frames): rows that are
    there twice come out once. `only` may take rows out of pieces, which come in the order of Call-IDs. `stop` ends it
    with Stopped, and nothing is left of it."""
    work = temp / f"sort-{uuid.uuid4()}"
    try:
        with _politely():
            passes = 0
            while len(files) > OPEN_FILES:
                passes += 1
                some = [files[at : at + OPEN_FILES] for at in range(0, len(files), OPEN_FILES)]
                older, files = files, []
                for group in some:
                    files += _write(table, group, work, 1 << 62, distinct, stop).files
                if passes > 1:
                    for path in older:
                        path.unlink()
            done = _write(table, files, folder, FILE_BYTES, distinct, stop, level, only)
            sync_files(done.files)
            return done
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _write(
    table: str,
    files: list[Path],
    folder: Path,
    most: int,
    distinct: bool,
    stop: Callable[[], bool],
    level: int = FRESH,
    only: Only | None = None,
) -> Sorted:
    folder.mkdir(parents=True, exist_ok=True)
    out: list[Path] = []
    total = 0
    writer: pq.ParquetWriter | None = None
    pieces = merged(table, files)
    if only is not None:
        pieces = (left for piece in pieces if (left := only(piece)).num_rows)
    try:
        for group in _groups(_once(pieces, KEY[table]) if distinct else pieces):
            if stop():
                raise Stopped
            if writer is None:
                out.append(folder / f"{uuid.uuid4()}.parquet")
                writer = pq.ParquetWriter(out[-1], group.schema, **layout(group.schema.names, level))
            writer.write_table(group, row_group_size=group.num_rows)
            total += group.num_rows
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
    return Sorted(out, total)


def merged(table: str, files: list[Path], names: Sequence[str] = ()) -> Iterator[pa.Table]:
    """The rows of sorted files by Call-ID; rows of one call are in order as far as they come together. `names`: only
    these columns."""
    order = [(name, "ascending") for name in KEY[table]]
    # The day and the hour are in the names of folders, not in the files.
    shape = pa.schema([f for f in SHAPES[table] if f.name not in ("day", "hour") and (not names or f.name in names)])
    opened = [pq.ParquetFile(path, buffer_size=1 << 16, pre_buffer=False) for path in files]
    try:
        # Arrow's own threads are not polite.
        readers = [f.iter_batches(PIECE, columns=shape.names, use_threads=False) for f in opened]
        here = [_next(reader, shape) for reader in readers]
        while any(t is not None for t in here):
            # Up to the smallest last Call-ID that is in sight, nothing can come any more that belongs before it.
            edge = min(t["call_id"][-1].as_py().encode() for t in here if t is not None)
            bound = pa.scalar(edge.decode())
            taken = []
            for k, piece in enumerate(here):
                if piece is None:
                    continue
                count = pc.sum(pc.less_equal(piece["call_id"], bound)).as_py()
                if count:
                    taken.append(piece.slice(0, count))
                    here[k] = piece.slice(count) if count < piece.num_rows else _next(readers[k], shape)
            whole = pa.concat_tables(taken).combine_chunks()
            yield whole.sort_by(order)
    finally:
        for file in opened:
            file.close()


def _next(reader: Iterator[pa.RecordBatch], shape: pa.Schema) -> pa.Table | None:
    for batch in reader:
        if batch.num_rows:
            piece = pa.Table.from_batches([batch])
            for field in shape:
                if field.name not in piece.column_names:  # an older version wrote it
                    piece = piece.append_column(field.name, pa.nulls(piece.num_rows, field.type))
            return piece.select(shape.names).cast(shape)
    return None


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


def _groups(pieces: Iterator[pa.Table]) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    rows = size = 0
    for piece in pieces:
        held.append(piece)
        rows, size = rows + piece.num_rows, size + piece.nbytes
        if rows >= ROW_GROUP or size >= GROUP_BYTES:
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
