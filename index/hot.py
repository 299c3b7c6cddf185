"""Rows that are only in memory, batch by batch, and the partial call rows of them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from index.columns import MESSAGES, Rows
from index.partials import partials

MOST_GROUPS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Hot:
    """A batch."""

    rows: Rows
    size: int
    """Bytes held."""
    live: bool
    """From live capture: in the spool, too, if that has room."""
    number: int = field(default_factory=itertools.count().__next__)
    """Stands for it where its rows must not be held."""


class HotCalls:
    """Partial call rows of hot batches, worked out once."""

    def __init__(self) -> None:
        self._rolled: list[tuple[frozenset[int], pa.Table]] = []
        """By the numbers of the batches that were rolled up together."""
        self._lock = threading.Lock()

    def of(self, hot: Sequence[Hot]) -> pa.Table:
        """Those of all messages. Live batches are small: rolled up one by one, they would give a row for nearly each
        message, so they are rolled up together, and again when there are many groups."""
        with self._lock:
            here = frozenset(h.number for h in hot)
            rolled = [(group, table) for group, table in self._rolled if group <= here]
            done = frozenset().union(*(group for group, _ in rolled))
            loose = [h for h in hot if h.number not in done]
            if loose or not rolled:
                rolled.append((frozenset(h.number for h in loose), _rolled_up(loose)))
            if len(rolled) > MOST_GROUPS:
                rolled = [(here, _rolled_up(hot))]
            self._rolled = rolled
            return pa.concat_tables([table for _, table in rolled])

    def of_some(self, hot: Sequence[Hot], call_ids: pa.Array) -> pa.Table:
        """Those of some calls: all other rows stay out of it."""
        batches = []
        for h in hot:
            ids = h.rows.messages["call_id"]
            wanted = pc.is_in(ids.dictionary, call_ids).to_numpy(zero_copy_only=False)
            if wanted.any():
                rows = np.flatnonzero(wanted[ids.indices.to_numpy()])
                batches.append(h.rows.messages.take(pa.array(rows)))
        return partials(pa.Table.from_batches(batches, MESSAGES))

    def keep(self, hot: Sequence[Hot]) -> None:
        """Only these batches are still hot."""
        here = {h.number for h in hot}
        with self._lock:
            self._rolled = [(group, table) for group, table in self._rolled if group <= here]


def _rolled_up(hot: Sequence[Hot]) -> pa.Table:
    return partials(pa.Table.from_batches([h.rows.messages for h in hot], MESSAGES))
