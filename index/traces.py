"""Rows of one call become its trace: payloads cut out of frames, parsed, copies and retransmissions told apart.

It owns that distinction (a mirrored packet is one message "seen 2", a resend is a message of its own). Pure.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from index.trace import CallTrace, Endpoint, Loss, TraceMessage
from sip.message import parse_message

COPY_NS = 20_000_000
"""Within 20 ms the same bytes on the same path are a copy even when the IP identification differs (0 with DF)."""


def build_trace(
    call_id: str,
    rows: list[dict[str, Any]],
    frames: list[dict[str, Any]],
    capture_start: int,
    capture_end: int,
    losses: tuple[Loss, ...] = (),
) -> CallTrace:
    """`rows` of index.columns.MESSAGES and `frames` of FRAMES, both ordered by (ts, seq)."""
    payloads: dict[tuple[Any, ...], bytes] = {}
    for f in frames:
        if f["part"] == 0:
            whole = (
                f["payload"]
                if f["payload"] is not None
                else f["frame"][f["payload_at"] : f["payload_at"] + f["payload_size"]]
            )
            payloads[(f["node"], f["ts"], f["seq"])] = bytes(whole)
    out: list[TraceMessage] = []
    last: dict[tuple[Any, ...], int] = {}
    for r in rows:
        raw = payloads.get((r["node"], r["ts"], r["seq"]), b"")
        src, dst = Endpoint(r["src_ip"], r["src_port"]), Endpoint(r["dst_ip"], r["dst_port"])
        key = (src, dst, r["transport"], raw)
        earlier = last.get(key)
        resent = False
        if earlier is not None:
            first = out[earlier]
            if _copy(first, r):
                out[earlier] = replace(first, seen=first.seen + 1)
                continue
            resent = r["transport"] == "udp"
        last[key] = len(out)
        out.append(
            TraceMessage(
                ts=r["ts"],
                seq=r["seq"],
                src=src,
                dst=dst,
                transport=r["transport"],
                interface=r["interface"],
                node=r["node"],
                sip=parse_message(raw),
                flags=r["flags"],
                ip_id=r["ip_id"],
                retransmission=resent,
            )
        )
    return CallTrace(call_id, tuple(out), capture_start, capture_end, losses=losses)


def _copy(first: TraceMessage, row: dict[str, Any]) -> bool:
    """The same packet captured again, as opposed to the sender sending it again."""
    apart = abs(row["ts"] - first.ts)
    same_id = row["ip_id"] == first.ip_id and row["ip_id"] > 0
    # T1 is 500 ms, so nobody resends within 20 ms; an equal non-zero IP-ID further apart is still the same packet
    # (a slow mirror) unless the 16-bit counter may have wrapped round.
    return bool(apart < COPY_NS or (same_id and apart < 400_000_000))
