"""SIP text with times and endpoints becomes a CallTrace, through the same door that stored packets go through."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from diagnose.engine import Rule, diagnose, load_rules
from diagnose.finding import Finding
from index.legs import CallLegs
from index.trace import CallTrace, ConnectionEnd, Endpoint, IcmpError, Loss
from index.traces import build_trace
from sip.message import parse_message

START = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
CALL_ID = "call-1"
PHONE, NAT, PROXY, FAR = "192.168.1.20", "203.0.113.9", "198.51.100.10", "192.0.2.77"
"""A phone and the NAT before it, and two public hosts (documentation ranges count as public)."""
CALLER, CALLED = f"{NAT}:5060", f"{PROXY}:5060"
RULES = load_rules()


@dataclass(frozen=True)
class Packet:
    """One message on the wire."""

    at: float
    src: str
    dst: str
    raw: bytes
    transport: str = "udp"
    flags: int = 0
    tap: str = "eth0"
    number: int | None = None
    """When it was captured, where its time does not tell."""


def sdp(address: str = NAT, formats: str = "0 8", *lines: str, port: int = 4000, session: bool = True) -> str:
    """A body with one audio stream; `lines` follow its m= line."""
    own = [] if session else [f"c=IN IP4 {address}"]
    head = ["v=0", f"o=- 1 1 IN IP4 {address}", "s=-", *([f"c=IN IP4 {address}"] if session else []), "t=0 0"]
    return "\r\n".join([*head, f"m=audio {port} RTP/AVP {formats}", *own, *lines, ""])


def request(
    method: str = "INVITE",
    *,
    via: str = CALLER,
    rport: bool = True,
    branch: str = "z9hG4bK1",
    contact: str = f"<sip:alice@{CALLER}>",
    body: str = "",
    cseq: int = 1,
    from_tag: str = "caller",
    to_tag: str = "",
    extra: Iterable[str] = (),
    transport: str = "UDP",
) -> bytes:
    """A request as its sender writes it."""
    extra = list(extra)
    if not any(x.startswith("Max-Forwards:") for x in extra):
        extra.append("Max-Forwards: 70")
    lines = [
        f"{method} sip:bob@example.org SIP/2.0",
        f"Via: SIP/2.0/{transport} {via}{';rport' if rport else ''};branch={branch}",
        f"From: <sip:alice@example.org>;tag={from_tag}",
        "To: <sip:bob@example.org>" + (f";tag={to_tag}" if to_tag else ""),
        f"Call-ID: {CALL_ID}",
        f"CSeq: {cseq} {method}",
        *([f"Contact: {contact}"] if contact else []),
        *extra,
    ]
    return _finish(lines, body)


def reply(
    to: bytes,
    code: int,
    reason: str = "OK",
    *,
    contact: str = "",
    body: str = "",
    to_tag: str = "called",
    extra: Iterable[str] = (),
) -> bytes:
    """A response to that request."""
    asked = parse_message(to)
    callee = asked.first("To")
    lines = [
        f"SIP/2.0 {code} {reason}",
        *(f"Via: {v}" for v in asked.all("Via")),
        f"From: {asked.first('From')}",
        "To: " + (callee if "tag=" in callee or code == 100 else f"{callee};tag={to_tag}"),
        f"Call-ID: {CALL_ID}",
        f"CSeq: {asked.first('CSeq')}",
        *([f"Contact: {contact}"] if contact else []),
        *extra,
    ]
    return _finish(lines, body)


def _finish(lines: list[str], body: str) -> bytes:
    if body:
        lines.append("Content-Type: application/sdp")
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode()


def ack(invite: bytes, *, to_tag: str = "called", **more: Any) -> bytes:
    """The ACK for a 2xx: a transaction of its own with the INVITE's CSeq number."""
    asked = parse_message(invite)
    via = asked.top_via
    assert via is not None
    where = f"{via.host}:{via.port}" if via.port else via.host
    return request("ACK", via=where, cseq=asked.cseq or 1, to_tag=to_tag, branch="z9hG4bKack", contact="", **more)


def bye(via: str = CALLER, *, from_tag: str = "caller", to_tag: str = "called", cseq: int = 2) -> bytes:
    """The end of a call, from whichever side has `from_tag`."""
    return request(
        "BYE", via=via, from_tag=from_tag, to_tag=to_tag, cseq=cseq, branch=f"z9hG4bKbye{from_tag}", contact=""
    )


def answered(
    offer: str, answer: str, code: int = 200, reason: str = "OK", **more: Any
) -> tuple[Packet, Packet, Packet]:
    """INVITE with an offer, its final answer, ACK."""
    invite = request(body=offer, **more)
    final = reply(invite, code, reason, body=answer, contact=f"<sip:bob@{CALLED}>")
    return (
        Packet(0, CALLER, CALLED, invite),
        Packet(1, CALLED, CALLER, final),
        Packet(1.1, CALLER, CALLED, ack(invite)),
    )


def resent(first: Packet, *seconds: float) -> list[Packet]:
    """The same packet again and again."""
    return [first, *(replace(first, at=first.at + s) for s in seconds)]


INVITE_TIMES = (0.5, 1.5, 3.5, 7.5, 15.5, 31.5)
"""RFC 3261 section 17.1.1.2: timer A doubles until timer B."""
OK_TIMES = (0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5)
"""RFC 3261 section 13.3.1.4: T1 doubles up to T2."""


def trace(
    *packets: Packet,
    until: float | None = None,
    since: float = -60,
    heard: frozenset[str] | None = None,
    losses: tuple[Loss, ...] = (),
    icmp: tuple[IcmpError, ...] = (),
    ends: tuple[ConnectionEnd, ...] = (),
    copies: int = 1,
    legs: CallLegs | None = None,
    makers: frozenset[str] = frozenset(),
) -> CallTrace:
    """What the index hands to diagnosis. `until` is where the capture ends; `copies` of each packet are captured."""
    rows: list[dict[str, Any]] = []
    frames: list[dict[str, Any]] = []
    for n, p in enumerate(sorted(packets, key=lambda p: p.at)):
        for copy in range(copies):
            (src, sport), (dst, dport) = _place(p.src), _place(p.dst)
            seq = 2 * (n if p.number is None else p.number) + copy
            place = {"node": "n", "ts": START + round(p.at * SECOND) + copy * 1_000_000, "seq": seq}
            frames.append({**place, "part": 0, "payload": p.raw})
            rows.append(
                {
                    **place,
                    "src_ip": src,
                    "src_port": sport,
                    "dst_ip": dst,
                    "dst_port": dport,
                    "transport": p.transport,
                    "interface": p.tap,
                    "flags": p.flags,
                    "ip_id": n + 1,
                }
            )
    end = max(p.at for p in packets) + 40 if until is None else until
    made = build_trace(CALL_ID, rows, frames, START + round(since * SECOND), START + round(end * SECOND), losses)
    hosts = frozenset(m.dst.ip for m in made.messages) if heard is None else heard
    return replace(made, icmp=icmp, ends=ends, heard=hosts, legs=legs, makers=makers)


def icmp(packet: Packet, by: str, kind: int = 3, code: int = 3, quoted: int = 520, version: int = 4) -> IcmpError:
    """An ICMP error 20 ms after the packet that it quotes."""
    src, dst = Endpoint(*_place(packet.src)), Endpoint(*_place(packet.dst))
    at = START + round((packet.at + 0.02) * SECOND)
    return IcmpError(at, by, version, kind, code, src, dst, parse_message(packet.raw[:quoted]))


def _place(text: str) -> tuple[str, int]:
    ip, _, port = text.rpartition(":")
    return ip.strip("[]"), int(port)


def findings(*packets: Packet, rules: tuple[Rule, ...] = RULES, **tap: Any) -> tuple[Finding, ...]:
    """Everything that all rules say."""
    return diagnose(trace(*packets, **tap), rules)


def only(name: str, *packets: Packet, **tap: Any) -> list[Finding]:
    """What one rule says."""
    return [f for f in findings(*packets, **tap) if f.name == name]


def one(name: str, *packets: Packet, **tap: Any) -> Finding:
    """The one thing that one rule says."""
    found = only(name, *packets, **tap)
    assert len(found) == 1, f"{name} says {[f.headline for f in found]}"
    return found[0]


def numbers(finding: Finding) -> list[int | None]:
    """The messages that it refers to."""
    return [e.message for e in finding.evidence]


def told(finding: Finding) -> str:
    """All of its evidence as one text."""
    return "\n".join(f"{e.text}\n{e.line}" for e in finding.evidence)
