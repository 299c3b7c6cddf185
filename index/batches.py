"""Batches of rows on their way to the lake: put in the order of its files, with the partial rows of their calls.

It owns that order (day, hour, Call-ID, time). It writes nothing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from capture.gather import ascends, in_order_of
from index.columns import FRAMES, MESSAGES, Rows
from index.lake import Batch
from index.partials import partials

MOST_HOURS = 10_000
"""Rows between hours further apart are sorted in another way, without a place for each hour."""


def sorted_batch(rows: list[Rows]) -> Batch:
    """What `rows` hold, sorted; no frame is copied."""
    messages = pa.Table.from_batches([r.messages for r in rows]).unify_dictionaries()
    order = _sorted(messages)
    messages = messages.take(order)
    frames = pa.Table.from_batches([r.frames for r in rows]).unify_dictionaries()
    # One frame a message (all but reassembled ones) stands in the same order as the messages.
    frames = _reordered(frames, order if frames.num_rows == messages.num_rows else _sorted(frames))
    # Partial rows come in the order in which their calls first appear: that of the messages.
    return Batch(messages, frames, partials(messages))


@lru_cache(maxsize=1)
def no_rows() -> Batch:
    """A batch of no rows, for a commit that only tells of something else."""
    return Batch(MESSAGES.empty_table(), FRAMES.empty_table(), partials(MESSAGES.empty_table()))


def _reordered(frames: pa.Table, order: Any) -> pa.Table:
    """`frames.take(order)` that moves no frame: only the views of them change places."""
    wide = frames["frame"].combine_chunks()
    _, views, *data = wide.buffers()
    moved = np.frombuffer(views, np.int32).reshape(-1, 4)[wide.offset :][: len(wide)][order.to_numpy()]
    frame = pa.Array.from_buffers(pa.binary_view(), len(moved), [None, pa.py_buffer(moved), *data])
    at = frames.column_names.index("frame")
    return frames.drop_columns(["frame"]).take(order).add_column(at, frames.schema.field(at), frame)


def _sorted(table: pa.Table) -> pa.Array:
    """Row order by (day, hour, call_id, ts, seq, part); by ranks of distinct Call-IDs, as sorting strings is slow."""
    ids = table["call_id"].combine_chunks()
    ranks = np.empty(len(ids.dictionary), np.int64)
    ranks[pc.sort_indices(ids.dictionary).to_numpy()] = np.arange(len(ranks))
    rank = ranks[ids.indices.to_numpy()]
    slot = table["day"].cast(pa.int32()).to_numpy().astype(np.int64) * 24 + table["hour"].to_numpy()
    ts, seq = table["ts"].to_numpy(), table["seq"].to_numpy()
    if "part" not in table.column_names and len(slot) and ascends(ts, seq):
        slot -= slot.min()
        hours = int(slot.max()) + 1
        if hours <= MOST_HOURS:
            order, other = np.arange(len(slot)), np.empty(len(slot), np.int64)
            in_order_of(rank, order, other, np.zeros(len(ranks) + 1, np.int64))
            if hours == 1:
                return pa.array(other)
            in_order_of(slot, other, order, np.zeros(hours + 1, np.int64))
            return pa.array(order)
    keys = [seq, ts, rank, slot]
    if "part" in table.column_names:
        keys.insert(0, table["part"].to_numpy())
    return pa.array(np.lexsort(keys))
