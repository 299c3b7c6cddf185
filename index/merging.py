"""Several streams of rows in order as one, piece by piece: memory is bounded by how many there are. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc


def merge(streams: Sequence[Iterator[pa.Table]], order: Sequence[str]) -> Iterator[pa.Table]:
    """The rows by the columns of `order`. Each stream comes in the order of the first of them, in pieces of which none
    is empty; rows that are the same there are in order as far as they come together."""
    first = order[0]
    keys = [(name, "ascending") for name in order]
    here = [next(stream, None) for stream in streams]
    while any(t is not None for t in here):
        # Up to the smallest last value that is in sight, nothing can come any more that belongs before it.
        edge = min(t[first][-1].as_py() for t in here if t is not None)
        taken = []
        for k, piece in enumerate(here):
            if piece is None:
                continue
            count = pc.sum(pc.less_equal(piece[first], pa.scalar(edge, piece[first].type))).as_py()
            if count:
                taken.append(piece.slice(0, count))
                here[k] = piece.slice(count) if count < piece.num_rows else next(streams[k], None)
        yield pa.concat_tables(taken).combine_chunks().sort_by(keys)
