"""Where the newest calls are looked for: in few partial rows first, then in an hour, then further back. SQL only.

A list wants the newest hundred calls, and adding up the partial rows of all others takes most of the time. A call that
began after some moment has no row from before it, so the calls with rows since then are all that can have begun since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb

from index.call_hours import conditions
from index.columns import DAY_NS, HOUR_NS, SANE
from index.filter import Sql
from index.hours import Slot
from index.rows import first_row

FEW, SOME = 5, 80
"""Calls that are looked at first for each one wanted: where all are wanted, and where a filter leaves some."""
WINDOWS = (HOUR_NS, 6 * HOUR_NS, 48 * HOUR_NS)
"""How far back from the newest, then."""
RECENT_NS = 600_000_000_000
"""The newest few are in the hour of this time before the newest of all and later, if they are many enough."""
FEW_HOURS = 4
"""It would take longer to tell in which of so few hours calls were than to read them."""
MANY = 100_000
"""A filter that leaves no more calls of an hour than these is answered by looking at them alone. Their rows fit into
the memory that a query may take."""
LONGEST_NS = 64 * DAY_NS
"""Of what is older than this before the newest, the rest is looked at in one go."""
EVER = 1 << 62
_LATE = "SELECT call_id FROM {part} GROUP BY call_id HAVING NOT bool_or(initial)"
"""Calls without their first request in the window began before it: the older part of exactly these comes along."""


Where = Callable[[Sequence[str]], frozenset[Slot] | None]
"""The hours in which calls may have stored rows; None: in all."""
Source = Callable[[tuple[str, ...]], str]
"""SQL of all partial rows; of the stored ones those for which one of the conditions holds."""
ALL = ("true",)


@dataclass(frozen=True, slots=True)
class Part:
    """Where calls are looked for next."""

    rows: str
    """SQL of partial rows."""
    since: int | None
    """From this time on (ns) it has every call that is wanted; None: all of them."""
    until: int | None = None
    """It adds calls that began before this time to those found so far; None: what is found replaces them."""


def places(
    cur: duckdb.DuckDBPyConnection,
    source: Source,
    before: int | None,
    count: int,
    rough: Sql | None = None,
    since: int | None = None,
    newest: int | None = None,
    where: Where = lambda call_ids: None,
    wanted: int = 100,
    found: Callable[[], int] = lambda: 0,
) -> Iterator[Part]:
    """Where to look, in turn, until enough is found.

    `source`: tells SQL of partial rows; `before`, `since`: no call is wanted that began later, or earlier; `count`: how
    many calls are looked at first; `rough`: none is wanted whose first row does not match this (see
    `index.filter.Filter.rough`); `newest`: the end (ns) of the newest hour that is stored, None where nothing is;
    `wanted`: calls that are enough; `found`: how many there are so far."""
    if newest is not None and before is not None:
        newest = min(before, newest)
    if rough is None or newest is None:
        yield from _newest(cur, source, newest, before, count, since, where)
        return
    until, width, top, had = EVER, HOUR_NS, min(newest, SANE[1]), 0
    older: list[str] = []
    """Calls with a row that matches in a later stretch of time than the one in which they began."""
    while True:
        start = top if until == EVER else until
        edge = None if width > LONGEST_NS else _hour(start - width)
        if since is not None:
            edge = since if edge is None else max(edge, since)
        inside = "true" if edge is None else hours_from(edge)
        alike = _alike(cur, source((f"{inside} AND first_ts < {until}",)), rough, older)
        if len(alike) > MANY and width > HOUR_NS:
            width = max(width // 4, HOUR_NS)
            continue
        if len(alike) > MANY:
            yield from _newest(cur, source, newest, before, count, since, where)
            return
        low = SANE[0] if edge is None else edge
        hours = (top - low) // HOUR_NS + 1
        slots = where(alike) if hours > FEW_HOURS else None
        exact = slots is not None and len(slots) < hours
        part = f"SELECT s.* FROM ({source(conditions(slots) if exact else (inside,))}) s JOIN alike USING (call_id)"
        cur.execute(f"CREATE OR REPLACE TEMP TABLE few_calls AS {part}")
        if edge is not None and not exact:
            # Some of them began before, and have a late row that matches.
            cur.execute(f"INSERT INTO few_calls {_older(cur, 'SELECT * FROM few_calls', source, inside, where)}")
        yield Part("SELECT * FROM few_calls", edge, until)
        if edge is None or edge == since:
            return
        begun_before = f"SELECT call_id FROM few_calls GROUP BY call_id HAVING min(first_ts) < {edge}"
        older = [r[0] for r in cur.execute(begun_before).fetchall()]
        # As far back as the rest may need, were there as many for each hour as in this stretch.
        total, span = found(), start - low
        new, rest = total - had, wanted - total
        further = 8.0 if new == 0 else min(max(1.5 * rest / new, 0.5), 12.0)
        width = int(min(further * span, span * MANY / 2 / max(len(alike), 1)))
        until, width, had = edge, max(width, HOUR_NS), total


def _edges(newest: int, since: int | None) -> list[int | None]:
    """From when on (ns) calls are looked at, in turn: further and further back. None: all calls."""
    edges = [_hour(newest - window) for window in WINDOWS]
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


def _hour(time: int) -> int:
    return max(time, SANE[0]) // HOUR_NS * HOUR_NS


def _alike(cur: duckdb.DuckDBPyConnection, calls: str, rough: Sql, more: list[str]) -> list[str]:
    """Puts the Call-IDs of rows that match, and `more`, into the table `alike`. One more than MANY is enough."""
    condition, parameters = rough
    some = f"(SELECT DISTINCT call_id FROM ({calls}) WHERE {condition} LIMIT {MANY + 1})"
    cur.execute(f"CREATE OR REPLACE TEMP TABLE alike AS {some} UNION SELECT unnest(?::VARCHAR[])", [*parameters, more])
    return [r[0] for r in cur.execute("SELECT call_id FROM alike").fetchall()]


def _newest(
    cur: duckdb.DuckDBPyConnection,
    source: Source,
    newest: int | None,
    before: int | None,
    count: int,
    since: int | None,
    where: Where,
) -> Iterator[Part]:
    """All calls: few, and then more. newest: None where no rows stand in hours."""
    calls = source(ALL)
    if newest is None:
        for floor in _few(cur, calls, "true", before, count):
            yield Part("SELECT * FROM few_calls", floor)
        yield Part(calls, None)
        return
    recent = hours_from(max(newest - RECENT_NS, since or 0, SANE[0]))
    for low in _few(cur, calls, recent, before, count):
        cur.execute(f"INSERT INTO few_calls {_older(cur, 'SELECT * FROM few_calls', source, recent, where)}")
        yield Part("SELECT * FROM few_calls", low)
    for edge in _edges(newest, since):
        if edge is None:
            yield Part(calls, None)
            continue
        inside = hours_from(edge)
        part = f"SELECT * FROM ({calls}) WHERE {inside}"
        done = since is not None and edge <= since
        yield Part(f"{part} UNION ALL {_older(cur, part, source, inside, where)}", None if done else edge)


def _older(cur: duckdb.DuckDBPyConnection, part: str, source: Source, inside: str, where: Where) -> str:
    """Calls without their first request in these hours began before them: SQL of their older rows."""
    late = [r[0] for r in cur.execute(_LATE.format(part=f"({part})")).fetchall()]
    cur.execute("CREATE OR REPLACE TEMP TABLE late AS SELECT unnest(?::VARCHAR[]) AS call_id", [late])
    calls, outside = (source(conditions(where(late))), f"NOT {inside}") if late else (source(("false",)), "false")
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
