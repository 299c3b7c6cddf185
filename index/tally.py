"""How many calls of the last minutes match filters: one pass over them for all questions, for alert rules. SQL only.

Only calls whose first request was recorded count: what began before the time in question has rows in it, too, and
without its first request nobody could tell the one from the other. Where calls are compared with others, those that are
still being set up count only if they match: whether they will be answered is not known yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import duckdb

from index.columns import HOUR_NS, SANE
from index.filter import Sql
from index.listing import hours_from
from index.questions import PER, Question, Start, Tally
from index.rollup import CALLS, UNANSWERED_NS
from sip.errors import TooMuch

EXAMPLES = 3
SET_UP = ("calling", "ringing", "challenged", "pending")
SET_UP_NS = 180_000_000_000
"""Nothing is set up for longer (Timer C, RFC 3261 section 16.6)."""
MOST_STARTS = 1_000_000
MOST_GROUPS = 10_000
"""Values of `per` that are told of one question, those with most calls first."""


_SETTLED = f"""least(start + {SET_UP_NS}, CASE
  WHEN state IN ('in-call', 'completed') AND pdd_ms IS NOT NULL
    THEN start + ((pdd_ms + coalesce(ring_ms, 0)) * 1000000)::BIGINT
  WHEN state = 'unanswered' THEN start + {UNANSWERED_NS}
  ELSE "end" END)"""


def gather(
    cur: duckdb.DuckDBPyConnection,
    calls: str,
    questions: Sequence[Question],
    now: int,
    until: int,
    node: str | None = None,
) -> None:
    """Put the calls that the questions are about into the table `recent`. `calls`: SQL of all partial rows; `node`:
    only what it recorded."""
    since = min(q.since for q in questions)
    # A call that began since then has no row from before; one that began before has no first request in these rows.
    rows = f"SELECT * FROM ({calls}) WHERE {hours_from(max(since, SANE[0]))} AND first_ts >= {since}"
    if until < now - HOUR_NS:
        rows += f" AND first_ts <= {until + HOUR_NS}"
    parameters: list[object] = []
    if node is not None:
        rows, parameters = f"{rows} AND node = ?", [node]
    rough = [q.among.rough or (q.where.rough if q.where else None) for q in questions]
    if all(rough):
        either = " OR ".join(f"({r[0]})" for r in rough if r)
        parameters = [*parameters, *parameters, *(p for r in rough if r for p in r[1])]
        rows = f"SELECT * FROM ({rows}) WHERE call_id IN (SELECT call_id FROM ({rows}) WHERE {either})"
    sql = CALLS.format(source=rows).replace("$now", str(int(now)))
    cur.execute(
        f"CREATE OR REPLACE TEMP TABLE recent AS SELECT * FROM ({sql}) WHERE initial AND start <= {int(until)}",
        parameters,
    )


def tally(cur: duckdb.DuckDBPyConnection, question: Question, now: int) -> list[Tally]:
    """The answer, from the table `recent`."""
    sql, parameters = _judged(question)
    if question.where is not None:
        under_way = f"state IN {SET_UP} AND start > {int(now) - SET_UP_NS}"
        sql = f"SELECT * FROM ({sql}) WHERE matches OR NOT ({under_way})"
    rows = cur.execute(
        "SELECT value, count(*) FILTER (matches), count(*), min(start) FILTER (matches), "
        'max("end") FILTER (matches), '
        f"max_by(call_id, start, {EXAMPLES}) FILTER (matches), max_by(call_id, start, {EXAMPLES}) "
        f"FROM ({sql}) GROUP BY value ORDER BY 2 DESC, 3 DESC, 1 LIMIT {MOST_GROUPS}",
        parameters,
    ).fetchall()
    return [Tally(v, n, m, first, last, tuple(a or ()), tuple(b or ())) for v, n, m, first, last, a, b in rows]


def starts(cur: duckdb.DuckDBPyConnection, question: Question) -> Iterator[Start]:
    """Every single call that the question is about, from the table `recent`."""
    sql, parameters = _judged(question)
    some = f'SELECT value, start, matches, {_SETTLED}, "end" FROM ({sql}) ORDER BY start LIMIT {MOST_STARTS + 1}'
    rows = cur.execute(some, parameters).fetchall()
    if len(rows) > MOST_STARTS:
        raise TooMuch(f"more than {MOST_STARTS:,} calls in one answer; narrow the filter, or `of`")
    for row in rows:
        yield Start(*row)


def _judged(question: Question) -> Sql:
    among, parameters = question.among.to_sql()
    where, more = question.where.to_sql() if question.where else ("true", [])
    return (
        f'SELECT {PER[question.per]} AS value, start, "end", call_id, state, pdd_ms, ring_ms, '
        f"coalesce({where}, false) AS matches FROM recent WHERE start >= {int(question.since)} AND ({among})",
        [*more, *parameters],
    )
