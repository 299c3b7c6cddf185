"""Where the newest calls are looked for: in few partial rows first, then in an hour, then further back. SQL only.

A list wants the newest hundred calls, and adding up the partial rows of all others takes most of the time. A call that
began after some moment has no row from before it, so the calls with rows since then are all that can have begun since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import duckdb

from index.columns import DAY_NS, HOUR_NS, SANE
from index.filter import Sql
from index.rows import first_row

FEW, SOME = 5, 80
"""Calls that are looked at first for each one wanted: where all are wanted, and where a filter leaves some."""
WINDOWS = (HOUR_NS, 6 * HOUR_NS, 48 * HOUR_NS)
"""How far back from the newest, then."""
RECENT_NS = 600_000_000_000
"""The newest few are in the hour of this time before the newest of all and later, if they are many enough."""
MANY = 20_000
"""A filter that leaves no more calls than these is answered by looking at all of them, however old."""
EVER = 1 << 62
_LATE = "SELECT call_id FROM {part} GROUP BY call_id HAVING NOT bool_or(initial)"
"""Calls without their first request in the window began before it: the older part of exactly these comes along."""


Where = Callable[[Sequence[str]], str]
"""The hours in which calls may have stored rows, as a condition."""
Source = Callable[[str], str]
"""SQL of all partial rows; of the stored ones those in the hours of a condition."""


def places(
    cur: duckdb.DuckDBPyConnection,
    source: Source,
    stored: bool,
    before: int | None,
    count: int,
    rough: Sql | None = None,
    since: int | None = None,
    latest: str = "true",
    where: Where = lambda call_ids: "true",
) -> Iterator[tuple[str, int | None]]:
    """SQL of partial rows, and the time (ns) from which on they have every call: None for all that are wanted.

    `source`: tells SQL of partial rows; `stored`: some of them stand in hours; `before`, `since`: no call is wanted
    that began later, or earlier; `count`: how many calls are looked at first; `rough`: none is wanted whose first row
    does not match this (see `index.filter.Filter.rough`); `latest`: a condition for the newest hour that is stored."""
    if rough is None or not stored:
        yield from _newest(cur, source, stored, before, count, since, latest, where)
        return
    newest = _end(cur, source, before, latest)
    if newest is None:
        return
    for edge in _edges(newest, since):
        inside = "true" if edge is None else hours_from(edge)
        alike = _alike(cur, source(inside), rough, before, MANY)
        if len(alike) > MANY:
            yield from _newest(cur, source, stored, before, count, since, latest, where)
            return
        done = edge is None or (since is not None and edge <= since)
        some = source(where(alike)) if edge is None else source(inside)
        part = f"SELECT s.* FROM ({some}) s JOIN alike USING (call_id)"
        cur.execute(f"CREATE OR REPLACE TEMP TABLE few_calls AS {part}")
        if edge is not None:
            # A call that began since then has no row before; others came along with a late row of theirs.
            cur.execute(f"INSERT INTO few_calls {_older(cur, 'SELECT * FROM few_calls', source, inside, where)}")
        yield "SELECT * FROM few_calls", None if done else edge


def _end(cur: duckdb.DuckDBPyConnection, source: Source, before: int | None, latest: str) -> int | None:
    """No call that is wanted began later (ns); None: there is none."""
    newest = before
    for some in (latest, "true"):  # an hour may have nothing but what ICMP errors quote, which makes no call
        if newest is None:
            newest = (first_row(cur.execute(f"SELECT max(last_ts) FROM ({source(some)})")) or (None,))[0]
    return newest


def _edges(newest: int, since: int | None) -> list[int | None]:
    """From when on (ns) calls are looked at, in turn: further and further back. None: all calls."""
    edges = [max(newest - window, SANE[0]) // HOUR_NS * HOUR_NS for window in WINDOWS]
    if since is None:
        return [*dict.fromkeys(edges), None]
    return [*dict.fromkeys(max(edge, since) for edge in [*edges, since])]


def hours_from(time: int) -> str:
    """A condition on partial call rows: those of the hour of a time (ns) and of all later ones."""
    day, hour = f"DATE '{datetime.fromtimestamp(time // 10**9, UTC).date()}'", time % DAY_NS // HOUR_NS
    some = f"(day > {day} OR (day = {day} AND hour >= {hour}))"
    # Files are left out by what the catalogue knows of their times: hours are not, where they are said with OR.
    edge = time // HOUR_NS * HOUR_NS
    return f"({some} AND last_ts >= {edge})" if edge > SANE[0] else some


def _alike(cur: duckdb.DuckDBPyConnection, calls: str, rough: Sql, before: int | None, most: int) -> list[str]:
    """Puts the Call-IDs of rows that match into the table `alike`. One more than `most` is enough."""
    condition, parameters = rough
    if before is not None:
        condition = f"({condition}) AND first_ts <= {before}"
    some = f"SELECT DISTINCT call_id FROM ({calls}) WHERE {condition} LIMIT {most + 1}"
    cur.execute(f"CREATE OR REPLACE TEMP TABLE alike AS {some}", parameters)
    return [r[0] for r in cur.execute("SELECT call_id FROM alike").fetchall()]


def _newest(
    cur: duckdb.DuckDBPyConnection,
    source: Source,
    stored: bool,
    before: int | None,
    count: int,
    since: int | None,
    latest: str,
    where: Where,
) -> Iterator[tuple[str, int | None]]:
    calls = source("true")
    if not stored:
        for floor in _few(cur, calls, "true", before, count):
            yield "SELECT * FROM few_calls", floor
        yield calls, None
        return
    newest = _end(cur, source, before, latest)
    if newest is None:
        return
    recent = hours_from(max(newest - RECENT_NS, since or 0, SANE[0]))
    for low in _few(cur, calls, recent, before, count):
        cur.execute(f"INSERT INTO few_calls {_older(cur, 'SELECT * FROM few_calls', source, recent, where)}")
        yield "SELECT * FROM few_calls", low
    for edge in _edges(newest, since):
        if edge is None:
            yield calls, None
            continue
        inside = hours_from(edge)
        part = f"SELECT * FROM ({calls}) WHERE {inside}"
        done = since is not None and edge <= since
        yield f"{part} UNION ALL {_older(cur, part, source, inside, where)}", None if done else edge


def _older(cur: duckdb.DuckDBPyConnection, part: str, source: Source, inside: str, where: Where) -> str:
    """Calls without their first request in these hours began before them: SQL of their older rows."""
    late = [r[0] for r in cur.execute(_LATE.format(part=f"({part})")).fetchall()]
    cur.execute("CREATE OR REPLACE TEMP TABLE late AS SELECT unnest(?::VARCHAR[]) AS call_id", [late])
    calls, outside = (source(where(late)), f"NOT {inside}") if late else (source("false"), "false")
    return f"SELECT older.* FROM ({calls}) older JOIN late USING (call_id) WHERE {outside}"


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
