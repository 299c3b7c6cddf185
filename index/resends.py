"""How many of the requests to (or from) each host were sent again: path loss, or an element with too much to do.

It counts over stored messages. A mirror's copies are no requests, and what TCP sends again nobody sees here, so only
requests over UDP count. An ACK is left out: it is sent again because a response was. SQL only.
"""

from __future__ import annotations

import duckdb

from capture.flags import COPY, NO_MESSAGE, RESENT
from index.questions import REQUESTS_BY, Resends

MOST = 100_000
"""Rows of one answer, those with most resends first."""
EXAMPLES = 3


def resends(
    cur: duckdb.DuckDBPyConnection, messages: str, since: int, until: int, step: int, per: str, node: str | None
) -> list[Resends]:
    """By host and slot of `step` ns; hosts of which no request was sent again are left out. `messages`: SQL of rows."""
    again = f"FILTER (flags & {RESENT} <> 0)"
    rows = cur.execute(
        f"SELECT {REQUESTS_BY[per]} AS host, {int(since)} + (ts - {int(since)}) // {int(step)} * {int(step)} AS slot, "
        f"count(*), count(*) {again}, min(ts) {again}, max(ts) {again}, max_by(call_id, ts, {EXAMPLES}) {again} "
        f"FROM ({messages}) WHERE ts BETWEEN {int(since)} AND {int(until)} AND code = 0 AND method <> 'ACK' "
        f"AND transport = 'udp' AND flags & {COPY | NO_MESSAGE} = 0 AND ($node IS NULL OR node = $node) "
        f"GROUP BY host, slot QUALIFY sum(count(*) {again}) OVER (PARTITION BY host) > 0 "
        f"ORDER BY 4 DESC, 3 DESC, host, slot LIMIT {MOST}",
        {"node": node},
    ).fetchall()
    return [
        Resends(host, slot, n, again, first, last, tuple(dict.fromkeys(ids or ())))
        for host, slot, n, again, first, last, ids in rows
    ]
