"""The partial rows of calls as one row for each call and node, piece by piece, in the order of Call-IDs.

What a row says stays the same; see index.rollup. It owns the database engine that adds up, which is started when two
rows of one call come, and stopped at the end.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from index.rollup import ADDED
from index.schema import IN_FILES

ADDED_ROWS = 4_000
"""About so many partial rows are added up at a time: each time takes some milliseconds, however few they are."""


def added_up(pieces: Iterator[pa.Table], closed: bool) -> Iterator[pa.Table]:
    """Pieces come in the order of Call-IDs, and go in that of Call-ID and node. `closed`: as closed hours keep all rows
    of calls; else those that are alone stay as they are."""
    engine = _Engine(closed)
    try:
        held: list[pa.Table] = []
        rows = 0
        for piece in pieces:
            # The last call of a piece may go on in the next one.
            last = piece["call_id"][-1]
            rows += piece.num_rows
            if rows < ADDED_ROWS or piece["call_id"][0].equals(last):
                held.append(piece)
                continue
            edge = piece.num_rows - int(pc.sum(pc.equal(piece["call_id"], last)).as_py())
            yield engine.add(pa.concat_tables([*held, piece.slice(0, edge)]))
            held, rows = [piece.slice(edge)], piece.num_rows - edge
        if held:
            yield engine.add(pa.concat_tables(held))
    finally:
        engine.close()


class _Engine:
    def __init__(self, closed: bool) -> None:
        self._closed = closed
        self._con: duckdb.DuckDBPyConnection | None = None

    def add(self, rows: pa.Table) -> pa.Table:
        """Rows that hold all there are of their calls."""
        if self._closed:
            return self._one_each(rows)
        # While an hour is open, nearly each call of some minutes has one row.
        ids = rows["call_id"].combine_chunks()
        again = pc.equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
        several = np.concatenate((again, [False])) | np.concatenate(([False], again))
        if not several.any():
            return rows
        added = self._one_each(rows.filter(pa.array(several)))
        return pa.concat_tables([rows.filter(pa.array(~several)), added]).sort_by(
            [("call_id", "ascending"), ("node", "ascending")]
        )

    def _one_each(self, rows: pa.Table) -> pa.Table:
        if self._con is None:
            self._con = duckdb.connect(config={"threads": 1, "memory_limit": "200MB"})
        shape = IN_FILES["calls"]
        self._con.register("partial_rows", rows)
        found = self._con.execute(ADDED.format(source="partial_rows")).to_arrow_table()
        # A copy: what DuckDB hands over has room for many more rows, in each column.
        return found.select(shape.names).cast(shape).take(pa.array(np.arange(found.num_rows)))

    def close(self) -> None:
        if self._con is not None:
            self._con.close()
