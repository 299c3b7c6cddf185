"""How the TCP connections of calls ended: rows without a Call-ID (capture.flags.CLOSED, RESET), found by addresses.

It owns what belongs to which call; whether an end harmed the call is for diagnosis to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from capture.flags import CLOSED, RESET
from index.hours import from_to, hours
from index.look import Look
from index.trace import CallTrace, ConnectionEnd, Endpoint

AFTER_NS = 600_000_000_000
"""So long after a call's last message an end still counts: what waits for an answer waits no longer."""
COPY_NS = 100_000_000
"""Two nodes saw the same end."""
STREAMS = frozenset({"tcp", "ws"})

Pair = frozenset[Endpoint]


def messages_only(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without a Call-ID that are of messages which had none."""
    return [r for r in rows if not r["flags"] & (CLOSED | RESET)]


def with_ends(look: Look, traces: Mapping[str, CallTrace]) -> dict[str, CallTrace]:
    """The same traces, with the ends of their connections; calls over UDP cost nothing."""
    out = dict(traces)
    ways = {
        c: w for c, t in traces.items() if (w := {_pair(m.src, m.dst) for m in t.messages if m.transport in STREAMS})
    }
    if not ways:
        return out
    found = _ends(
        look,
        {e.ip for w in ways.values() for pair in w for e in pair},
        min(traces[c].messages[0].ts for c in ways),
        max(traces[c].messages[-1].ts for c in ways) + AFTER_NS,
    )
    for call_id, pairs in ways.items():
        messages = traces[call_id].messages
        first, last = messages[0].ts, messages[-1].ts + AFTER_NS
        mine = sorted(
            (e for pair in pairs for e in found.get(pair, ()) if first <= e.ts <= last), key=lambda e: (e.ts, e.by)
        )
        if mine:
            out[call_id] = replace(out[call_id], ends=tuple(mine))
    return out


def _ends(look: Look, hosts: set[str], low: int, high: int) -> dict[Pair, list[ConnectionEnd]]:
    inside = f"call_id = '' AND flags & {CLOSED | RESET} <> 0 AND ts BETWEEN {int(low)} AND {int(high)}"
    some = sorted(hosts)
    stored = look.source("messages", (f"{inside} AND {hours(low, high)}",), from_to(low, high))
    rows = look.cur.execute(
        "SELECT ts, src_ip, src_port, dst_ip, dst_port, flags "
        f"FROM ({stored}) WHERE {inside} "
        "AND list_contains($hosts, src_ip) AND list_contains($hosts, dst_ip) ORDER BY ts, seq",
        {"hosts": some},
    ).fetchall()
    out: dict[Pair, list[ConnectionEnd]] = {}
    for ts, src_ip, src_port, dst_ip, dst_port, flags in rows:
        by, peer = Endpoint(src_ip, src_port), Endpoint(dst_ip, dst_port)
        known = out.setdefault(_pair(by, peer), [])
        if not known or ts - known[-1].ts > COPY_NS:
            known.append(ConnectionEnd(ts, by, peer, bool(flags & RESET)))
    return out


def _pair(a: Endpoint, b: Endpoint) -> Pair:
    return frozenset((a, b))
