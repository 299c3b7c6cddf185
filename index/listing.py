"""Where the newest calls are looked for: in few partial rows first, then in an hour, then further back. SQL only.

A list wants the newest hundred calls, and adding up the partial rows of all others takes most of the time. A call that
began after some moment has no row from before it, so the calls with rows since then are all that can have begun since.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import duckdb

from index.columns import DAY_NS, HOUR_NS
from index.filter import Sql
from index.rows import first_row

FEW, SOME = 5, 80
"""Calls that are looked at first for each one wanted: where all are wanted, and where a filter leaves some."""
WINDOWS = (HOUR_NS, 6 * HOUR_NS, 48 * HOUR_NS)
"""How far back from the newest, then."""
MANY = 20_000
"""A filter that leaves no more calls than these is answered by looking at all of them, however old."""
EVER = 1 << 62
_LATE = "SELECT call_id FROM {part} GROUP BY call_id HAVING NOT bool_or(initial)"
"""Calls without their first request in the window began before it: the older part of exactly these comes along."""


def places(
    cur: duckdb.DuckDBPyConnection, calls: str, stored: bool, before: int | None, count: int, rough: Sql | None = None
) -> Iterator[tuple[str, int | None]]:
    """SQL of partial rows, and the time (ns) from which on they have every call: None for all that there are.

    `calls`: SQL of all partial rows; `stored`: they stand in hours; `before`: no call that began later is wanted;
    `count`: how many calls are looked at first; `rough`: none is wanted whose first row does not match this (see
    `index.filter.Filter.rough`)."""
    if rough is None or not stored:
        yield from _newest(cur, calls, stored, before, count)
    elif _alike(cur, calls, rough, MANY) <= MANY:
        cur.execute(f"CREATE OR REPLACE TEMP TABLE few_calls AS SELECT s.* FROM ({calls}) s JOIN alike USING (call_id)")
        yield "SELECT * FROM few_calls", None
    else:
        yield from _newest(cur, calls, stored, before, count)


def _alike(cur: duckdb.DuckDBPyConnection, calls: str, rough: Sql, most: int) -> int:
    """Puts the Call-IDs of rows that match into the table `alike`; tells how many. One more than `most` is enough."""
    condition, parameters = rough
    some = f"SELECT DISTINCT call_id FROM ({calls}) WHERE {condition} LIMIT {most + 1}"
    cur.execute(f"CREATE OR REPLACE TEMP TABLE alike AS {some}", parameters)
    row = first_row(cur.execute("SELECT count(*) FROM alike"))
    return int(row[0]) if row else 0


def _newest(
    cur: duckdb.DuckDBPyConnection, calls: str, stored: bool, before: int | None, count: int
) -> Iterator[tuple[str, int | None]]:
    if not stored:
        for floor in _few(cur, calls, "true", before, count):
            yield "SELECT * FROM few_calls", floor
        yield calls, None
        return
    newest = before
    if newest is None:
        newest = (first_row(cur.execute(f"SELECT max(last_ts) FROM ({calls})")) or (None,))[0]
    if newest is None:
        return
    for n, window in enumerate(WINDOWS):
        edge = (newest - window) // HOUR_NS * HOUR_NS
        day, hour = f"DATE '{datetime.fromtimestamp(edge // 10**9, UTC).date()}'", edge % DAY_NS // HOUR_NS
        inside = f"(day > {day} OR (day = {day} AND hour >= {hour}))"
        for floor in _few(cur, calls, inside, before, count) if n == 0 else ():
            late = [r[0] for r in cur.execute(_LATE.format(part="few_calls")).fetchall()]
            if late:
                cur.execute(
                    f"INSERT INTO few_calls SELECT * FROM ({calls}) "
                    f"WHERE call_id IN (SELECT unnest(?)) AND NOT {inside}",
                    [late],
                )
            yield "SELECT * FROM few_calls", max(floor, edge)
        yield (
            f"WITH part AS (SELECT * FROM ({calls}) WHERE {inside}), late AS ({_LATE.format(part='part')}) "
            f"SELECT * FROM part UNION ALL SELECT older.* FROM ({calls}) older JOIN late USING (call_id) "
            f"WHERE NOT {inside}",
            edge,
        )
    yield calls, None


def _few(cur: duckdb.DuckDBPyConnection, calls: str, inside: str, before: int | None, count: int) -> Iterator[int]:
    """Puts the partial rows of so many newest calls into the table `few_calls`; tells from when on it has every call.
    Nothing where there are hardly more."""
    begun = f"{inside} AND first_ts <= {EVER if before is None else before}"
    row = first_row(
        cur.execute(
            f"SELECT first_ts FROM ({calls}) WHERE {begun} AND initial ORDER BY first_ts DESC LIMIT 1 OFFSET {count}"
        )
    )
    if row is not None:
        some = f"SELECT call_id FROM ({calls}) WHERE {begun} AND first_ts > {row[0]}"
        cur.execute(
            f"CREATE OR REPLACE TEMP TABLE few_calls AS SELECT * FROM ({calls}) WHERE {inside} AND call_id IN ({some})"
        )
        yield row[0] + 1
