"""Calls of closed hours stand in their files by time: who asks for the newest reads the end of an hour, and no more.

It owns how rows get from one order into another outside of memory, and how a file tells its order. Everything else of
the lake is in the order of Call-IDs, and so are the rows of calls while they are merged.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

TIME = "first_ts"
GROUP = 20_000
"""Rows in a row group: of these a search of the newest calls reads a few."""
IN_MEMORY = 20_000
"""So many rows are put in another order at once."""
MEMORY = "200MB"
"""What more of them may take; the rest waits in a file."""


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
    """The rows by a column, in pieces; many of them go by a file in the folder `temp`."""
    held: list[pa.Table] = []
    rows = 0
    for piece in pieces:
        held.append(piece)
        rows += piece.num_rows
        if rows > IN_MEMORY:
            yield from _through_file(chain(held, pieces), column, temp)
            return
    if rows:
        yield pa.concat_tables(held).sort_by(column)


def _through_file(pieces: Iterator[pa.Table], column: str, temp: Path) -> Iterator[pa.Table]:
    temp.mkdir(parents=True, exist_ok=True)
    path = temp / f"by-{column}-{uuid.uuid4()}"
    try:
        first = next(pieces)
        with pq.ParquetWriter(path, first.schema, compression="lz4") as writer:
            for piece in chain([first], pieces):
                writer.write_table(piece)
        limits: dict[str, str | bool | int | float | list[str]] = {
            "threads": 1, "memory_limit": MEMORY, "temp_directory": f"{path}-more",
        }  # fmt: skip
        with duckdb.connect(config=limits) as con:
            con.read_parquet(str(path)).create_view("rows")
            for batch in con.execute(f"SELECT * FROM rows ORDER BY {column}").to_arrow_reader(GROUP):
                yield pa.Table.from_batches([batch]).cast(first.schema)
    finally:
        path.unlink(missing_ok=True)
