"""Rows of one call become its trace: payloads cut out of frames, parsed, copies and retransmissions told apart.

It owns that distinction (a mirrored packet is one message "seen 2", a resend is a message of its own). Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

from capture.flags import QUOTED, REPEATED
from capture.links import IPV4, IPV6, Unreadable, network_layer
from index.trace import CallTrace, Endpoint, IcmpError, Loss, TraceMessage
from sip.errors import Unreachable
from sip.message import parse_message

COPY_NS = 20_000_000
"""Within 20 ms the same bytes on the same path are a copy, unless the packet itself says that it is another one."""
RESEND_NS = 100_000_000
"""Nobody resends sooner: T1 is 500 ms (RFC 3261 section 17.1.1.1), in the most impatient phones a fifth of that."""
SAME_ID_NS = 400_000_000
"""An equal IP identification tells a copy so far (a slow mirror); beyond it, of a sender that numbers all alike."""


@dataclass(frozen=True, slots=True)
class _Packet:
    """What tells one capture of a packet from another."""

    ts: int
    ip_id: int
    tap: tuple[bytes, int] | None
    """Link header (MAC addresses, VLAN) and TTL; None where the message was put together from several frames."""


def build_trace(
    call_id: str,
    rows: list[dict[str, Any]],
    frames: list[dict[str, Any]],
    capture_start: int,
    capture_end: int,
    losses: tuple[Loss, ...] = (),
) -> CallTrace:
    """`rows` of index.columns.MESSAGES and `frames` of FRAMES, both ordered by (ts, seq)."""
    firsts = {(f["node"], f["ts"], f["seq"]): f for f in frames if f["part"] == 0}
    out: list[TraceMessage] = []
    icmp: list[IcmpError] = []
    last: dict[tuple[Any, ...], tuple[int, _Packet]] = {}
    for r in rows:
        frame = firsts.get((r["node"], r["ts"], r["seq"]))
        if r["flags"] & QUOTED:
            icmp += [e for e in _icmp(r, frame) if not any(_same(e, known) for known in icmp[-4:])]
            continue
        raw = payload_of(frame) if frame else b""
        packet = _Packet(r["ts"], r["ip_id"], _tap(frame) if frame and r["transport"] == "udp" else None)
        src, dst = Endpoint(r["src_ip"], r["src_port"]), Endpoint(r["dst_ip"], r["dst_port"])
        key = (src, dst, r["transport"], raw)
        # Messages whose bytes are gone have nothing in common but that.
        known = last.get(key) if raw else None
        if known is not None and _copy(known[1], packet):
            out[known[0]] = replace(out[known[0]], seen=out[known[0]].seen + 1)
            continue
        last[key] = (len(out), packet)
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
                flags=r["flags"] & ~REPEATED,
                ip_id=r["ip_id"],
                retransmission=known is not None and r["transport"] == "udp",
            )
        )
    return CallTrace(call_id, tuple(out), capture_start, capture_end, losses=losses, icmp=tuple(icmp))


def merged(traces: Sequence[CallTrace]) -> CallTrace:
    """Several calls as one trace, for a ladder that shows all legs: messages in the order of the wire, each with its
    own Call-ID. A single one is left as it is."""
    if len(traces) == 1:
        return traces[0]
    return CallTrace(
        call_id=" + ".join(trace.call_id for trace in traces),
        messages=tuple(sorted((m for trace in traces for m in trace.messages), key=lambda m: (m.ts, m.seq))),
        capture_start=min(trace.capture_start for trace in traces),
        capture_end=max(trace.capture_end for trace in traces),
        heard=frozenset().union(*(trace.heard for trace in traces)),
        losses=tuple(dict.fromkeys(loss for trace in traces for loss in trace.losses)),
        icmp=tuple(sorted((e for trace in traces for e in trace.icmp), key=lambda e: e.ts)),
        ends=tuple(sorted({e for trace in traces for e in trace.ends}, key=lambda e: e.ts)),
    )


def payload_of(frame: dict[str, Any]) -> bytes:
    """The message in a row of FRAMES (its first part)."""
    if frame["payload"] is not None:
        return bytes(frame["payload"])
    return bytes(frame["frame"][frame["payload_at"] : frame["payload_at"] + frame["payload_size"]])


def _icmp(row: dict[str, Any], frame: dict[str, Any] | None) -> Iterator[IcmpError]:
    """The error that quotes this row, read from its frame; nothing where it came in a way that is not understood."""
    if frame is None or frame["frame"] is None:
        return
    data = bytes(frame["frame"])
    try:
        kind, at = network_layer(frame["link"], data)
    except (Unreachable, Unreadable, IndexError):
        return
    size = (data[at] & 15) * 4 if kind == IPV4 else 40
    found = data[at + size : at + size + 2]
    sender = data[at + 12 : at + 16] if kind == IPV4 else data[at + 8 : at + 24]
    if kind not in (IPV4, IPV6) or len(found) < 2 or data[at + (9 if kind == IPV4 else 6)] not in (1, 58):
        return
    yield IcmpError(
        row["ts"],
        str(ip_address(sender)),
        4 if kind == IPV4 else 6,
        found[0],
        found[1],
        Endpoint(row["src_ip"], row["src_port"]),
        Endpoint(row["dst_ip"], row["dst_port"]),
        parse_message(payload_of(frame)),
    )


def _same(a: IcmpError, b: IcmpError) -> bool:
    """A mirror's copy."""
    return abs(a.ts - b.ts) < COPY_NS and (a.by, a.kind, a.code, a.src, a.dst, a.sip.raw) == (
        b.by,
        b.kind,
        b.code,
        b.src,
        b.dst,
        b.sip.raw,
    )


def _tap(frame: dict[str, Any]) -> tuple[bytes, int] | None:
    """Where this capture saw the packet: before the payload stand IPv4 (20 bytes, TTL at 8) and UDP (8 bytes)."""
    if frame["payload"] is not None or frame["payload_at"] < 28:
        return None
    head = bytes(frame["frame"][: frame["payload_at"]])
    return head[:-28], head[-20]


def _copy(first: _Packet, again: _Packet) -> bool:
    """The same packet captured again, as opposed to the sender sending it again."""
    apart = again.ts - first.ts
    if first.ip_id > 0 and again.ip_id > 0:
        if first.ip_id == again.ip_id:
            return apart < SAME_ID_NS
        # Two numbers are two packets, unless somebody between two taps (a firewall that scrubs) numbered it anew.
        return apart < COPY_NS and (first.tap is None or first.tap != again.tap)
    # No number to go by: IPv6, or IPv4 that is not to be fragmented (RFC 6864 section 4).
    return apart < RESEND_NS
