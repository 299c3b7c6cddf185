"""One look at the archive: hot rows and one moment of the lake, as one. It only reads, and lives for one question.

It owns how hot and stored rows are named in SQL, and how the messages and frames of calls come out of both, packed
frames among them. When a look begins and ends, and what its rows mean, is others' matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from index.call_hours import conditions
from index.columns import FRAMES, MESSAGES
from index.hours import Slot, hours
from index.lake import Lake
from index.packed import unpacked_rows
from index.rollup import CALL_COLUMNS, STORED

Grouped = dict[str, list[dict[str, Any]]]
"""Rows by Call-ID."""


@dataclass(slots=True)
class Look:
    """What a reader sees."""

    cur: duckdb.DuckDBPyConnection
    hot: dict[str, pa.Table]
    """The hot rows of messages and frames, as they are registered."""
    frames: pa.ChunkedArray
    """The bytes of the hot frames, by their `place`."""
    lake: Lake | None
    """None where nothing is stored, or the store cannot be reached and hot rows will do."""
    calls: Callable[[pa.Array | None], pa.Table]
    """Partial call rows of the hot messages, or of those of some calls."""
    has_calls: bool = False
    """These are in the table `hot_calls`, or those of them that are wanted."""

    @property
    def stored(self) -> bool:
        """The lake is there."""
        return self.lake is not None

    def need_calls(self, only: pa.Array | None = None) -> None:
        """Let SQL see the partial call rows; `only` those of some calls."""
        if self.has_calls:
            return
        self.cur.register("hot_calls_arrow", self.calls(only))
        # In a join with the lake, DuckDB would hand Arrow a Bloom filter, which Arrow does not know.
        kind = "TEMP TABLE" if self.stored else "TEMP VIEW"
        self.cur.execute(f"CREATE {kind} hot_calls AS SELECT * FROM hot_calls_arrow")
        self.has_calls = True

    def hours(self, call_ids: Sequence[str]) -> frozenset[Slot] | None:
        """In which hours of the lake calls may have rows; None: in all."""
        return self.lake.hours(self.cur, call_ids) if self.lake is not None else None

    def source(self, name: str, inside: tuple[str, ...] = ("true",)) -> str:
        """SQL of hot and stored rows; of the stored ones those for which one of the conditions `inside` holds."""
        schema = {"calls": CALL_COLUMNS, "messages": MESSAGES.names, "frames": FRAMES.names}[name]
        if name == "calls":
            self.need_calls()
        names = [f'"{c}"' for c in schema if c != "frame"]
        here = there = ", ".join(names)
        if name == "frames":
            here, there = f"{here}, NULL::BLOB AS frame, place", f"{there}, frame, NULL::BIGINT AS place"
        if name == "calls":
            there = ", ".join(f"{sql} AS {c}" for c, sql in STORED.items())
        hot = f"SELECT {here} FROM hot_{name}"
        if self.lake is None or (name == "frames" and not self.lake.has(self.cur, name)):
            return hot
        return " UNION ALL ".join([hot, *(f"SELECT {there} FROM lake.{name} WHERE {one}" for one in inside)])

    def fetch(self, call_ids: Sequence[str], between: tuple[int, int] | None = None) -> tuple[Grouped, Grouped]:
        """The messages and the frames of calls, in order; `between`: none of them is from outside these times (ns)."""
        parts = conditions(self.hours(call_ids))
        where = " OR ".join(parts)
        out: list[Grouped] = []
        for name in ("messages", "frames"):
            grouped: Grouped = {}
            if len(call_ids) == 1:
                sql = f"SELECT * FROM ({self.source(name, parts)}) WHERE call_id = ?"
                rows = self.cur.execute(sql, [call_ids[0]]).to_arrow_table().to_pylist()
                if self.stored and name == "frames":
                    sql = f"SELECT * FROM lake.packed WHERE call_id = ? AND ({where})"
                    rows += unpacked_rows(self.cur.execute(sql, [call_ids[0]]).to_arrow_table())
            else:
                wanted = pa.array(list(call_ids), pa.string())
                hot = self.hot[name]
                rows = hot.filter(pc.is_in(hot["call_id"], wanted)).to_pylist()
                if self.stored:
                    inside = f"({where})" if between is None else f"({where}) AND {hours(*between)}"
                    self.cur.register("wanted", pa.table({"call_id": wanted}))
                    sql = f"SELECT s.* FROM lake.{name} s JOIN wanted USING (call_id) WHERE {inside}"
                    rows += self.cur.execute(sql).to_arrow_table().to_pylist()
                    if name == "frames":
                        sql = f"SELECT s.* FROM lake.packed s JOIN wanted USING (call_id) WHERE {inside}"
                        rows += unpacked_rows(self.cur.execute(sql).to_arrow_table())
            for row in sorted(rows, key=lambda r: (r["ts"], r["seq"], r.get("part", 0))):
                if row.get("place") is not None:
                    row["frame"] = self.frames[row["place"]].as_py()
                grouped.setdefault(row["call_id"], []).append(row)
            out.append(grouped)
        return out[0], out[1]
