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
from index.changes import quoted
from index.columns import FRAMES, MESSAGES
from index.hours import Slot, from_to, hours
from index.lake import Lake
from index.packed import unpacked_rows
from index.rollup import CALL_COLUMNS, STORED
from index.schema import NO_ROWS

Grouped = dict[str, list[dict[str, Any]]]
"""Rows by Call-ID."""
Wanted = Callable[[Slot], bool]
"""Whether rows of an hour are asked for."""
MOST_FILES = 48
"""More files than these are read the lake's way: each is opened twice otherwise."""
_READ = "union_by_name = true, hive_partitioning = true, hive_types = {'day': DATE, 'hour': TINYINT}"


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

    def stored_rows(self, name: str, wanted: Wanted | None = None) -> str | None:
        """What SQL may select stored rows of a table from; None: there are none. `wanted`: only those of some hours are
        asked for; where these are in few files, they are read without the lake's own way to them, which takes longer
        than to read them."""
        assert self.lake is not None
        files = None if wanted is None else self.lake.files_of(self.cur, name, wanted, MOST_FILES)
        if files is None:
            return f"lake.{name}" if name != "frames" or self.lake.has(self.cur, name) else None
        if not files:
            return None
        names = ", ".join(map(quoted, files))
        # Files of older versions have fewer columns.
        return f"({NO_ROWS[name]} UNION ALL BY NAME SELECT * FROM read_parquet([{names}], {_READ}))"

    def source(self, name: str, inside: tuple[str, ...] = ("true",), wanted: Wanted | None = None) -> str:
        """SQL of hot and stored rows; of the stored ones those for which one of the conditions `inside` holds.
        `wanted`: these are in some hours only."""
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
        rows = self.stored_rows(name, wanted) if self.lake is not None else None
        if rows is None:
            return hot
        if rows != f"lake.{name}":
            inside = (" OR ".join(inside),)  # the files are chosen already, and read once
        return " UNION ALL ".join([hot, *(f"SELECT {there} FROM {rows} WHERE {one}" for one in inside)])

    def calls_between(self, low: int, high: int) -> str:
        """SQL of the partial call rows of all hours from one time (ns) to another."""
        return self.source("calls", (hours(low, high),), from_to(low, high))

    def fetch(self, call_ids: Sequence[str], between: tuple[int, int] | None = None) -> tuple[Grouped, Grouped]:
        """The messages and the frames of calls, in order; `between`: none of them is from outside these times (ns)."""
        slots = self.hours(call_ids)
        parts, among = conditions(slots), one_of(slots)
        where = " OR ".join(parts)
        out: list[Grouped] = []
        for name in ("messages", "frames"):
            grouped: Grouped = {}
            if len(call_ids) == 1:
                sql = f"SELECT * FROM ({self.source(name, parts, among)}) WHERE call_id = ?"
                rows = self.cur.execute(sql, [call_ids[0]]).to_arrow_table().to_pylist()
                packed = self.stored_rows("packed", among) if self.stored and name == "frames" else None
                if packed is not None:
                    sql = f"SELECT * FROM {packed} WHERE call_id = ? AND ({where})"
                    rows += unpacked_rows(self.cur.execute(sql, [call_ids[0]]).to_arrow_table())
            else:
                wanted = pa.array(list(call_ids), pa.string())
                hot = self.hot[name]
                rows = hot.filter(pc.is_in(hot["call_id"], wanted)).to_pylist()
                if self.stored:
                    inside = f"({where})" if between is None else f"({where}) AND {hours(*between)}"
                    self.cur.register("wanted", pa.table({"call_id": wanted}))
                    for table in (name, "packed") if name == "frames" else (name,):
                        there = self.stored_rows(table, _both(among, between))
                        if there is not None:
                            sql = f"SELECT s.* FROM {there} s JOIN wanted USING (call_id) WHERE {inside}"
                            found = self.cur.execute(sql).to_arrow_table()
                            rows += unpacked_rows(found) if table == "packed" else found.to_pylist()
            for row in sorted(rows, key=lambda r: (r["ts"], r["seq"], r.get("part", 0))):
                if row.get("place") is not None:
                    row["frame"] = self.frames[row["place"]].as_py()
                grouped.setdefault(row["call_id"], []).append(row)
            out.append(grouped)
        return out[0], out[1]


def one_of(slots: frozenset[Slot] | None) -> Wanted | None:
    """These hours; None: all."""
    return None if slots is None else slots.__contains__


def _both(among: Wanted | None, between: tuple[int, int] | None) -> Wanted | None:
    """Hours among some, and from one time to another."""
    if between is None:
        return among
    near = from_to(*between)
    return near if among is None else lambda slot: among(slot) and near(slot)
