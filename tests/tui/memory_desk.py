"""A Desk in memory for the screens: real hand-over types made from real SIP text."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from itertools import pairwise

from diagnose.finding import Evidence, Finding
from index.filter import FilterError
from index.legs import CallLegs, Link
from index.summary import CallPage, CallSummary, Stats
from index.trace import CallTrace, Endpoint, TraceMessage
from sip.errors import NotFound, SiptrailError
from sip.message import parse_message

START = 1_700_000_000_000_000_000
CALLER, PROXY = Endpoint("192.0.2.1", 5060), Endpoint("198.51.100.9", 5060)
SDP = "\r\n".join(
    (
        "v=0",
        "o=- 1 1 IN IP4 10.0.0.5",
        "s=-",
        "c=IN IP4 10.0.0.5",
        "t=0 0",
        "m=audio 4000 RTP/AVP 18",
        "a=rtpmap:18 G729/8000",
        "",
    )
)


def sip_text(start: str, call_id: str, method: str = "INVITE", cseq: int = 1, body: str = "", extra: str = "") -> bytes:
    """One message; `extra` is whole header lines."""
    kind = "Content-Type: application/sdp\r\n" if body else ""
    return (
        f"{start}\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK{cseq}\r\n"
        f"From: <sip:alice@example.org>;tag=1\r\nTo: <sip:bob@example.org>\r\nCall-ID: {call_id}\r\n"
        f"CSeq: {cseq} {method}\r\n{extra}{kind}Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def message(raw: bytes, at_ms: int, back: bool = False) -> TraceMessage:
    """It was on the wire `at_ms` after the start, from the caller or (`back`) to it."""
    src, dst = (PROXY, CALLER) if back else (CALLER, PROXY)
    return TraceMessage(START + at_ms * 1_000_000, at_ms, src, dst, "udp", "eth0", "n1", parse_message(raw))


def answered(call_id: str) -> tuple[TraceMessage, ...]:
    """An INVITE with SDP that is answered and ended."""
    contact = "Contact: <sip:alice@10.0.0.5>\r\n"
    invite = sip_text("INVITE sip:bob@example.org SIP/2.0", call_id, body=SDP, extra=contact)
    return (
        message(invite, 0),
        message(sip_text("SIP/2.0 100 Trying", call_id), 15, back=True),
        message(sip_text("SIP/2.0 180 Ringing", call_id), 320, back=True),
        message(sip_text("SIP/2.0 200 OK", call_id, body=SDP), 2900, back=True),
        message(sip_text("ACK sip:bob@example.org SIP/2.0", call_id, "ACK"), 2950),
        message(sip_text("BYE sip:bob@example.org SIP/2.0", call_id, "BYE", 2), 62950),
        message(sip_text("SIP/2.0 200 OK", call_id, "BYE", 2), 62960, back=True),
    )


def rejected(call_id: str) -> tuple[TraceMessage, ...]:
    """An INVITE that no codec suits."""
    return (
        message(sip_text("INVITE sip:bob@example.org SIP/2.0", call_id, body=SDP), 0),
        message(sip_text("SIP/2.0 488 Not Acceptable Here", call_id), 40, back=True),
        message(sip_text("ACK sip:bob@example.org SIP/2.0", call_id, "ACK"), 45),
    )


NO_CODEC = Finding(
    "no-common-codec",
    "critical",
    "certain",
    "488 Not Acceptable Here: the offer has only G729",
    (Evidence(1, "the offer lists G729 and nothing else", "a=rtpmap:18 G729/8000"),),
    "Allow PCMA or PCMU on the trunk.",
    "RFC 3264 section 6.1",
    50,
)
PRIVATE = Finding(
    "private-contact",
    "warning",
    "likely",
    "Contact 10.0.0.5 is private",
    (Evidence(None, "it went to 198.51.100.9"),),
    "Rewrite Contact at the edge.",
    "RFC 5626 section 1",
    60,
)


def summary(call_id: str, number: int = 0, failed: bool = False, from_user: str = "alice") -> CallSummary:
    """A list row; a larger `number` is a newer call."""
    start = START + number * 1_000_000_000
    return CallSummary(
        call_id,
        start,
        start + 5,
        "failed" if failed else "completed",
        "INVITE",
        from_user,
        "bob",
        str(CALLER),
        str(PROXY),
        "udp",
        488 if failed else 200,
        "Not Acceptable Here" if failed else "OK",
        3 if failed else 7,
        None if failed else 320.0,
        None,
        None if failed else 60_000.0,
        ("G729",),
        ("no-common-codec",) if failed else (),
        NO_CODEC.headline if failed else "",
        "critical" if failed else "",
        "n1",
    )


@dataclass
class MemoryDesk:
    """Answers from lists. `error` is raised by every question; `gate`, while not set, holds every list up."""

    rows: list[CallSummary]
    error: SiptrailError | None = None
    gate: threading.Event | None = None
    share: float | None = None
    asked: list[tuple[str, int, str | None]] = field(default_factory=list)
    kernel_drops: int = 0
    unreadable: int = 0
    fragments_lost: int = 0

    def calls(self, filter: str = "", limit: int = 100, before: str | None = None) -> CallPage:
        self.asked.append((filter, limit, before))
        if self.gate is not None:
            self.gate.wait()
        if self.error is not None:
            raise self.error
        if "(" in filter:
            raise FilterError("this bracket is not closed", filter, filter.index("("))
        found = [row for row in self.rows if filter in row.state or filter in row.from_user]
        found.sort(key=lambda row: -row.start)
        first = int(before or 0)
        following = first + limit
        return CallPage(tuple(found[first:following]), str(following) if following < len(found) else None, len(found))

    def call(self, call_id: str) -> CallSummary:
        return next(row for row in self.rows if row.call_id == call_id)

    def trace(self, call_id: str) -> CallTrace:
        if self.error is not None:
            raise self.error
        row = next((row for row in self.rows if row.call_id == call_id), None)
        if row is None:
            raise NotFound(f"no call {call_id}")
        messages = rejected(call_id) if row.state == "failed" else answered(call_id)
        return CallTrace(call_id, messages, START, START + 70_000_000_000)

    def findings(self, call_id: str, legs: bool = True) -> tuple[Finding, ...]:
        return (NO_CODEC, PRIVATE) if self.call(call_id).state == "failed" else ()

    def legs(self, call_id: str) -> CallLegs:
        """The two that were answered are one call."""
        asked = self.call(call_id)
        both = [row for row in self.rows if row.state != "failed"][:2] if asked.state != "failed" else [asked]
        links = [Link(a.call_id, b.call_id, 90, False, ()) for a, b in pairwise(both)]
        return CallLegs(call_id, tuple(both), tuple(links))

    def pcap(self, call_id: str, legs: bool = False) -> bytes:
        if self.error is not None:
            raise self.error
        return b"frames of " + call_id.encode()

    def stats(self) -> Stats:
        return Stats(
            10,
            10,
            len(self.rows),
            {"INVITE": 2},
            {},
            {"udp": 10},
            0,
            self.kernel_drops,
            0,
            self.unreadable,
            self.fragments_lost,
        )

    def progress(self) -> float | None:
        return self.share

    def close(self) -> None:
        pass
