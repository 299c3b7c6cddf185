"""Counts over stored messages, for `siptrail stats` and Prometheus. Pure SQL over whatever rows it is given."""

from __future__ import annotations

from collections import Counter
from typing import Any

import duckdb

from capture.flags import NAMES as FLAG_NAMES
from capture.flags import NO_MESSAGE
from index.rows import first_row


def count_messages(cur: duckdb.DuckDBPyConnection, source: str) -> dict[str, Any]:
    """messages, call_ids, methods, finals, transports, flags, first, last (ns) of the rows that `source` selects."""
    total = first_row(
        cur.execute(
            "SELECT count(*), count(DISTINCT call_id) FILTER (call_id <> ''), min(ts), max(ts) "
            f"FROM ({source}) WHERE flags & {NO_MESSAGE} = 0"
        )
    )
    groups = cur.execute(f"SELECT method, code, transport, flags, count(*) FROM ({source}) GROUP BY ALL").fetchall()
    methods: Counter[str] = Counter()
    finals: Counter[str] = Counter()
    transports: Counter[str] = Counter()
    flags: Counter[str] = Counter()
    for method, code, transport, bits, n in groups:
        if apart := bits & NO_MESSAGE:
            flags[FLAG_NAMES[apart]] += n
            continue
        transports[transport] += n
        if code == 0:
            methods[method] += n
        elif code >= 200:
            finals[f"{method} {code}"] += n
        for bit, name in FLAG_NAMES.items():
            if bits & bit:
                flags[name] += n
    assert total is not None
    return {
        "messages": total[0],
        "call_ids": total[1],
        "first": total[2],
        "last": total[3],
        "methods": dict(methods),
        "finals": dict(finals),
        "transports": dict(transports),
        "flags": dict(flags),
    }
