"""Which calls have a text in their messages: hour by hour, newest first, in the frames themselves, for some seconds.

It owns the scan and remembers what closed hours gave. Case does not matter. A text that several segments or fragments
share is found in the message that was put together of them.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from index.hours import Slot
from index.packed import in_parts, unpacked

BATCH = 8192
"""Frames looked at together: about 5 MB."""
MOST_KNOWN = 4096
"""Hours (by text) whose result is remembered."""


@dataclass(slots=True)
class Texts:
    """What is looked for, and what was found so far."""

    wanted: tuple[str, ...]
    found: dict[str, set[str]] = field(default_factory=dict)
    """Call-IDs by text."""

    def add(self, other: Mapping[str, Iterable[str]]) -> None:
        """These calls, too."""
        for text, ids in other.items():
            self.found.setdefault(text, set()).update(ids)

    def show(self, cur: duckdb.DuckDBPyConnection) -> None:
        """Give the connection `texts` (text, call_id), for filters."""
        pairs = [(text, c) for text, ids in self.found.items() for c in ids]
        texts, ids = (pa.array([p[k] for p in pairs], pa.string()) for k in (0, 1))
        cur.register("texts_arrow", pa.table({"text": texts, "call_id": ids}))
        cur.execute("CREATE OR REPLACE TEMP TABLE texts AS SELECT * FROM texts_arrow")


class TextSearch:
    """Any thread may use it."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[frozenset[Path], str], frozenset[str]] = OrderedDict()
        """By the files of an hour, and text: an hour that got more is looked at again."""
        self._lock = threading.Lock()

    def hot(self, texts: Texts, ids: pa.ChunkedArray, frames: Sequence[pa.ChunkedArray]) -> None:
        """Look at rows in memory."""
        for column in frames:
            for chunk, names in _together(column, ids):
                texts.add(_matching(texts.wanted, chunk.cast(pa.binary()), names))

    def stored(
        self,
        texts: Texts,
        cur: duckdb.DuckDBPyConnection,
        slot: Slot,
        files: frozenset[Path],
        stop: Callable[[], bool],
    ) -> bool:
        """Look at an hour of the lake, which has these files; False where `stop` ended that."""
        with self._lock:
            known = {t: self._known[files, t] for t in texts.wanted if (files, t) in self._known}
        texts.add(known)
        missing = tuple(t for t in texts.wanted if t not in known)
        if not missing:
            return True
        here = Texts(missing)
        for batch in _stored(cur, slot):
            for name in ("frame", "payload"):
                here.add(_matching(missing, batch[name], batch["call_id"]))
            if stop():
                cur.execute("SELECT 1").fetchall()  # ends the reading
                return False
        with self._lock:
            for text in missing:
                self._known[files, text] = frozenset(here.found.get(text, ()))
            while len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
        texts.add(here.found)
        return True


def _stored(cur: duckdb.DuckDBPyConnection, slot: Slot) -> Iterator[pa.RecordBatch]:
    """The frames of an hour, those that are packed behind the others."""
    inside = f"WHERE day = DATE '{slot.day}' AND hour = {slot.hour}"
    yield from cur.execute(f"SELECT call_id, frame, payload FROM lake.frames {inside}").to_arrow_reader(BATCH)
    for batch in cur.execute(f"SELECT * FROM lake.packed {inside}").to_arrow_reader(BATCH):
        for rows in in_parts(pa.Table.from_batches([batch])):
            yield from unpacked(rows).to_batches()


def _matching(wanted: Iterable[str], frames: pa.Array, ids: pa.Array) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    if frames.null_count == len(frames):
        return out
    for text in wanted:
        hits = pc.match_substring(frames, pattern=text.encode(), ignore_case=True)
        found = pc.filter(ids, pc.fill_null(hits, False))
        if len(found):
            out[text] = pc.unique(found).cast(pa.string()).to_pylist()
    return out


def _together(column: pa.ChunkedArray, ids: pa.ChunkedArray) -> Iterable[tuple[pa.Array, pa.Array]]:
    at = 0
    for chunk in column.chunks:
        for start in range(0, len(chunk), BATCH):
            piece = chunk.slice(start, BATCH)
            names = ids.slice(at + start, len(piece))
            yield piece, names.combine_chunks() if isinstance(names, pa.ChunkedArray) else names
        at += len(chunk)


def budget(seconds: float) -> Callable[[], bool]:
    """True once so much time is over."""
    until = time.monotonic() + seconds
    return lambda: time.monotonic() > until
