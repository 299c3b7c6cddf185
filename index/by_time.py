"""Calls of closed hours stand in their files by time: who asks for the newest reads the end of an hour, and no more.

It owns how rows get from one order into another outside of memory, and how a file tells its order. Everything else of
the lake is in the order of Call-IDs, and so are the rows of calls while they are merged.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from index.merging import merge

TIME = "first_ts"
GROUP = 20_000
"""Rows in a row group: of these a search of the newest calls reads a few."""
RUN = 40_000
"""So many rows are put in another order at once, some 25 MB."""
PIECE = 1024
"""Rows taken from a run at a time."""


def sorting(names: list[str]) -> dict[str, Any]:
    """What a file says of its order, as pyarrow.parquet wants it."""
    return {"sorting_columns": [pq.SortingColumn(names.index(TIME))]}


def is_by_time(file: pq.ParquetFile) -> bool:
    """A file with calls in the order of time."""
    names = file.schema_arrow.names
    if TIME not in names or not file.metadata.num_row_groups:
        return False
    return [c.column_index for c in file.metadata.row_group(0).sorting_columns] == [names.index(TIME)]


def in_order(pieces: Iterator[pa.Table], column: str, temp: Path) -> Iterator[pa.Table]:
    """The rows by a column, in pieces. What is more than fits into memory waits in the folder `temp`, in runs that are
    in order, and is merged."""
    work = temp / f"by-{column}-{uuid.uuid4()}"
    runs: list[Path] = []
    held: list[pa.Table] = []
    rows = 0
    try:
        for piece in pieces:
            held.append(piece)
            rows += piece.num_rows
            if rows >= RUN:
                work.mkdir(parents=True, exist_ok=True)
                runs.append(work / f"{len(runs)}")
                pq.write_table(
                    pa.concat_tables(held).sort_by(column), runs[-1],
                    row_group_size=max(RUN // 10, 1), compression="lz4", write_statistics=False,
                )  # fmt: skip
                held, rows = [], 0
        rest = [iter((pa.concat_tables(held).sort_by(column),))] if rows else []
        held = []
        yield from merge([*map(_read, runs), *rest], [column])
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _read(path: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(path, buffer_size=1 << 16, pre_buffer=False) as file:
        # Arrow's own threads are not polite.
        for batch in file.iter_batches(PIECE, use_threads=False):
            yield pa.Table.from_batches([batch])
