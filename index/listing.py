"""The newest calls that match, for lists: in few partial rows first, then in an hour, then further back.

A list wants the newest hundred calls, and adding up the partial rows of all others takes most of the time. It goes back
in stretches of time. A call that began after some moment has no row from before it, so the calls with rows since then
are all that can have begun since; and of those, few conditions on single rows leave the ones worth adding up.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import duckdb

from index.call_hours import conditions
from index.columns import DAY_NS, HOUR_NS, SANE
from index.filter import Filter
from index.filter_sql import Sql
from index.hours import Slot, from_to
from index.look import Look, one_of
from index.rollup import CALLS, OF_ONE_ROW
from index.rows import count_of, first_row
from index.summary import CallSummary, summary_of

FEW, SOME = 5, 20
"""Rows that are looked at first for each call wanted: where all are wanted, and where a filter leaves some."""
RECENT_NS = 600_000_000_000
"""These rows are in the hour of this time before the newest of all and later, if they are many enough."""
SLACK_NS = 60_000_000_000
"""Rows of one message that several nodes saw are no further apart."""
FEW_HOURS = 4
"""It would take longer to tell in which of so few hours calls were than to read them."""
MANY = 100_000
"""Of a stretch that holds more calls than these which may match, each is told whether it does from the columns that
the filter needs, before all others are read. The rows of so many fit into the memory that a query may take."""
MOST_ROWS = 600_000
"""A stretch is not made longer than what holds about so many rows, where each of them is looked at."""
LONGEST_NS = 64 * DAY_NS
"""Of what is older than this before the newest, the rest is looked at in one go."""
EVER = 1 << 62

EVERY_CALL: tuple[Sql, ...] = (("true", []),)
"""What holds for some row where nothing is asked."""


def newest_calls(
    look: Look, where: Filter | None, limit: int, before: tuple[int, str] | None, now: int
) -> list[CallSummary]:
    """The newest calls first (by start, then Call-ID) that match. `before`: the last one of the page before; `now`: at
    what time (ns) calls are in their states."""
    return _List(look, where, limit, before, now).calls()


def summaries(
    cur: duckdb.DuckDBPyConnection, rows: str, condition: str, parameters: list[object], limit: int, now: int
) -> list[CallSummary]:
    """The newest calls that match, of partial rows that a piece of SQL tells."""
    sql = CALLS.format(source=rows).replace("$now", str(int(now)))
    found = cur.execute(
        f"SELECT * FROM ({sql}) WHERE {condition} ORDER BY start DESC, call_id LIMIT {int(limit)}", parameters
    )
    names = [d[0] for d in found.description]
    return [summary_of(dict(zip(names, row, strict=True))) for row in found.fetchall()]


class _List:
    """One list's way through the rows. The tables `alike`, `odd`, `older`, `wider`, `late` and `few_calls` of its
    connection are its own."""

    def __init__(self, look: Look, where: Filter | None, limit: int, before: tuple[int, str] | None, now: int) -> None:
        self._look, self._cur, self._limit, self._now = look, look.cur, limit, now
        self._condition, self._parameters = where.to_sql() if where else ("true", [])
        if before:
            self._condition = f"({self._condition}) AND (start < ? OR (start = ? AND call_id > ?))"
            self._parameters += [before[0], before[0], before[1]]
        self._some = EVERY_CALL if where is None or where.only_times else where.some
        """Each holds for some row of every call that is wanted (see `index.filter_rough`)."""
        self._since = where.since if where else None
        """No call is wanted that began earlier (ns), …"""
        tops = (before[0] if before else None, where.until if where else None)
        self._before = min((t for t in tops if t is not None), default=None)
        """… or later."""
        self._newest = look.lake.newest(look.cur) if look.lake is not None else None
        """The end of the newest hour that is stored (ns)."""
        self._found: list[CallSummary] = []
        self._alike = 0
        """How many calls of this stretch are in the table of that name: those worth adding up."""
        self._carried = 0
        """How many are in `older`."""
        self._each_row = False
        """Each row of the present stretch was looked at."""
        # Calls with a row in a later stretch of time than the one in which they began.
        self._cur.execute("CREATE OR REPLACE TEMP TABLE older (call_id VARCHAR)")

    def calls(self) -> list[CallSummary]:
        """Stretch by stretch, until there are enough."""
        since = self._since
        top = min([SANE[1], *(t for t in (self._newest, self._before) if t is not None)])
        edge: int | None = None if self._newest is None else max(_hour(top - RECENT_NS), since or 0)
        recent = self._since_row(edge)
        if recent is not None:
            edge = max(recent, since or 0)
        until, width = EVER, HOUR_NS
        while True:
            low, start = SANE[0] if edge is None else edge, top if until == EVER else until
            if not self._look_into(edge, until, narrow=width <= HOUR_NS):
                width = max(width // 4, HOUR_NS)
                edge = _further(start, width, since)
                continue
            had = len(self._found)
            if self._alike + self._carried:
                self._read(edge, (min(self._newest or 0, SANE[1]) - low) // HOUR_NS + 1)
                rest = self._limit - len(self._found)
                condition = f"({self._condition}) AND {_began(edge, until)}"
                rows = "SELECT * FROM few_calls"
                self._found += summaries(self._cur, rows, condition, self._parameters, rest, self._now)
            if edge is None or edge == since or len(self._found) >= self._limit:
                return self._found
            if self._alike + self._carried:
                self._carry(edge)
            # As far back as the rest may need, were there as many for each hour as in this stretch.
            new, rest, span = len(self._found) - had, self._limit - len(self._found), max(start - low, 1)
            further = 8.0 if new == 0 else min(max(1.5 * rest / new, 0.5), 12.0)
            width = max(int(span * min(further, self._room(edge, until))), HOUR_NS)
            until = edge
            edge = _further(until, width, since)

    def _matching(self, rows: str, single: bool, began: str) -> list[str]:
        """Of these rows' calls the newest that match, from the columns that tell it; `single`: each has one row."""
        sql = (OF_ONE_ROW if single else CALLS).format(source=rows).replace("$now", str(int(self._now)))
        sql = f"SELECT call_id FROM ({sql}) WHERE ({self._condition}) AND {began} ORDER BY start DESC, call_id"
        found = self._cur.execute(f"{sql} LIMIT {self._limit - len(self._found)}", self._parameters)
        return [r[0] for r in found.fetchall()]

    def _rows(self, low: int | None, high: int) -> str:
        """SQL of the rows that begin from one time on and before the other (ns)."""
        some = ([] if low is None else [f"first_ts >= {low}"]) + ([] if high == EVER else [f"first_ts < {high}"])
        inside = " AND ".join([*([] if low is None else [hours_from(low)]), *some]) or "true"
        rows = self._look.source("calls", (inside,), from_to(SANE[0] if low is None else low, high))
        return f"SELECT * FROM ({rows}) WHERE {' AND '.join(some) or 'true'}"

    def _since_row(self, edge: int | None) -> int | None:
        """Since when (ns) there are as many rows as are looked at first; None where there are hardly more."""
        high = EVER if self._before is None else self._before + 1
        conditions = " AND ".join(["initial", *(f"({sql})" for sql, _ in self._some)])
        sql = f"SELECT first_ts FROM ({self._rows(edge, high)}) WHERE {conditions} ORDER BY first_ts DESC"
        parameters = [p for _, some in self._some for p in some]
        found = self._cur.execute(f"{sql} LIMIT 1 OFFSET {self._limit * (FEW if self._some else SOME)}", parameters)
        row = first_row(found)
        return None if row is None else int(row[0]) + 1

    def _look_into(self, edge: int | None, until: int, narrow: bool) -> bool:
        """Finds the calls that are worth adding up; whether it did: unless `narrow`, too many are left for another."""
        self._each_row = False
        if self._some:
            self._by_conditions(edge, until)
            if self._alike <= MANY:
                return True
            if not narrow:
                return False
        self._each_row = True
        self._each(edge, until)
        return True

    def _show(self, calls: str, parameters: list[object]) -> None:
        self._cur.execute(
            f"CREATE OR REPLACE TEMP TABLE alike AS SELECT call_id FROM ({calls}) UNION FROM older", parameters
        )
        self._alike = count_of(self._cur.execute("SELECT count(*) FROM alike ANTI JOIN older USING (call_id)"))

    def _by_conditions(self, edge: int | None, until: int) -> None:
        """By what holds for some row of each."""
        parts, high = self._some, self._high(until)
        parameters = [p for _, some in parts for p in some]
        all_hold, asked = "true", parameters
        if len(parts) > 1:
            all_hold, asked = " AND ".join(f"bool_or({sql})" for sql, _ in parts), [*parameters, *parameters]
        any_holds = " OR ".join(f"({sql})" for sql, _ in parts)
        rows = self._rows(edge, high)
        # Seen in part only, a call may have the rest further back.
        found = (
            f"SELECT call_id FROM ({rows}) WHERE {any_holds} GROUP BY call_id HAVING {all_hold} OR NOT bool_or(initial)"
        )
        if self._before is not None and parts != EVERY_CALL:
            # What tells it may be seen later than any call that is wanted began.
            self._find_wider(rows)
            found = f"({found}) UNION FROM wider"
        self._show(f"{found} LIMIT {MANY + 1 + self._carried}", asked)

    def _high(self, until: int) -> int:
        """No call is wanted that began from this time on."""
        return until if self._before is None else min(until, self._before + 1)

    def _find_wider(self, rows: str) -> None:
        """Puts into `wider` those of these rows' calls that have more of them, later than any wanted call began."""
        assert self._before is not None
        later = f"SELECT call_id FROM ({self._rows(self._before + 1, EVER)}) WHERE NOT initial"
        both = f"SELECT DISTINCT call_id FROM ({rows}) SEMI JOIN ({later}) USING (call_id)"
        self._cur.execute(f"CREATE OR REPLACE TEMP TABLE wider AS {both}")

    def _each(self, edge: int | None, until: int) -> None:
        """Each call is told from the columns that the filter needs; most have one row, and nothing is added up."""
        cur, before = self._cur, self._before
        high = self._high(until)
        rows = every = self._rows(edge, high)
        cur.execute(
            "CREATE OR REPLACE TEMP TABLE odd AS SELECT call_id, bool_or(initial) AS begun "
            f"FROM ({rows}) GROUP BY call_id HAVING count(*) > 1 OR NOT bool_or(initial)"
        )
        if before is not None:
            self._find_wider(rows)
            cur.execute("INSERT INTO odd SELECT call_id, true FROM wider")
            if ids := self._ids("wider"):
                later = f"SELECT * FROM ({self._of(ids)}) WHERE first_ts > {before}"
                every = f"{rows} UNION ALL {later}"
        single = f"SELECT s.* FROM ({rows}) s ANTI JOIN odd USING (call_id)"
        several = f"SELECT s.* FROM ({every}) s SEMI JOIN (FROM odd WHERE begun) o USING (call_id)"
        began = _began(edge, high)
        found = self._matching(single, True, began)
        if count_of(cur.execute("SELECT count(*) FROM odd WHERE begun")):
            found += self._matching(several, False, began)
        self._show("SELECT unnest(?::VARCHAR[]) AS call_id UNION SELECT call_id FROM odd WHERE NOT begun", [found])

    def _of(self, call_ids: Sequence[str]) -> str:
        """SQL of the rows of all hours in which these calls have some."""
        return self._of_hours(self._look.hours(call_ids))

    def _of_hours(self, slots: frozenset[Slot] | None) -> str:
        return self._look.source("calls", conditions(slots), one_of(slots))

    def _ids(self, table: str) -> list[str]:
        return [r[0] for r in self._cur.execute(f"SELECT call_id FROM {table}").fetchall()]

    def _read(self, edge: int | None, hours: int) -> None:
        """Puts all rows of these calls into `few_calls`."""
        slots = self._look.hours(self._ids("alike")) if hours > FEW_HOURS else None
        exact = slots is not None and len(slots) < hours
        # What another node saw of a call may begin a little earlier.
        low = None if exact or edge is None else max(edge - SLACK_NS, SANE[0])
        rows = self._of_hours(slots) if exact else self._rows(low, EVER)
        self._cur.execute(
            f"CREATE OR REPLACE TEMP TABLE few_calls AS SELECT s.* FROM ({rows}) s JOIN alike USING (call_id)"
        )
        if low is None:
            return
        # Calls without their first request here began before: exactly their older part comes along.
        late = "SELECT call_id FROM few_calls GROUP BY call_id HAVING NOT bool_or(initial)"
        self._cur.execute(f"CREATE OR REPLACE TEMP TABLE late AS {late}")
        if ids := self._ids("late"):
            older = f"SELECT * FROM ({self._of(ids)}) WHERE first_ts < {low}"
            self._cur.execute(f"INSERT INTO few_calls SELECT o.* FROM ({older}) o JOIN late USING (call_id)")

    def _carry(self, edge: int) -> None:
        """Keeps the calls that began before the edge for the next stretch."""
        begun = f"SELECT call_id FROM few_calls GROUP BY call_id HAVING min(first_ts) < {edge}"
        self._cur.execute(f"CREATE OR REPLACE TEMP TABLE older AS {begun}")
        self._carried = count_of(self._cur.execute("SELECT count(*) FROM older"))

    def _room(self, edge: int | None, until: int) -> float:
        """How many times as long a stretch may be looked at next."""
        if not self._each_row:
            return MANY / 2 / max(self._alike, 1)
        return MOST_ROWS / max(count_of(self._cur.execute(f"SELECT count(*) FROM ({self._rows(edge, until)})")), 1)


def _began(edge: int | None, until: int) -> str:
    """A condition on calls: none that began before, or later."""
    return f"start < {until}" + ("" if edge is None else f" AND start >= {edge}")


def _further(start: int, width: int, since: int | None) -> int | None:
    """Where the next stretch begins."""
    edge = None if width > LONGEST_NS else _hour(start - width)
    if since is None:
        return edge
    return since if edge is None else max(edge, since)


def hours_from(time: int) -> str:
    """A condition on partial call rows: those of the hour of a time (ns) and of all later ones."""
    day, hour = f"DATE '{datetime.fromtimestamp(time // 10**9, UTC).date()}'", time % DAY_NS // HOUR_NS
    some = f"(day > {day} OR (day = {day} AND hour >= {hour}))"
    # Files are left out by what the catalogue knows of their times: hours are not, where they are said with OR.
    edge = time // HOUR_NS * HOUR_NS
    return f"({some} AND last_ts >= {edge})" if edge > SANE[0] else some


def _hour(time: int) -> int:
    return max(time, SANE[0]) // HOUR_NS * HOUR_NS
