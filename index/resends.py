"""How many of the requests to (or from) each host were sent again: path loss, or an element with too much to do.

It counts over stored messages. A mirror's copies are no requests, and what TCP sends again nobody sees here, so only
requests over UDP count. An ACK is left out: it is sent again because a response was. SQL only.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from capture.flags import COPY, NO_MESSAGE, RESENT
from index.questions import REQUESTS_BY, REQUESTS_FEW

STORM, FEW = 0.2, REQUESTS_FEW
"""More than such a share of so many requests or more, within `WITHIN_NS`, and something is wrong."""
WITHIN_NS = 300_000_000_000
BY = REQUESTS_BY
MOST = 100_000
"""Rows of one answer, those with most resends first."""
EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Resends:
    """Requests of one host within one slot of time."""

    host: str
    slot: int
    """When the slot begins (ns)."""
    requests: int
    resent: int
    """How many of them were no first sending."""
    first: int | None
    last: int | None
    """Times of those (ns)."""
    examples: tuple[str, ...]
    """Call-IDs of the latest of them."""

    @property
    def share(self) -> float:
        """What part of the requests was sent again."""
        return self.resent / self.requests

    @property
    def storm(self) -> bool:
        """So many that it is no accident."""
        return self.requests >= FEW and self.share > STORM


def resends(
    cur: duckdb.DuckDBPyConnection, messages: str, since: int, until: int, step: int, per: str, node: str | None
) -> list[Resends]:
    """By host and slot of `step` ns; hosts of which no request was sent again are left out. `messages`: SQL of rows."""
    again = f"FILTER (flags & {RESENT} <> 0)"
    rows = cur.execute(
        f"SELECT {BY[per]} AS host, {int(since)} + (ts - {int(since)}) // {int(step)} * {int(step)} AS slot, "
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
