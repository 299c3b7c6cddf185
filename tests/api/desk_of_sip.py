"""A Desk in memory on real SIP text, and one real server on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from api.serve import ApiServer
from api.server import create_app
from capture.tlspeers import TlsAlert, TlsPeer
from diagnose.finding import Evidence, Finding
from index.leg_evidence import LegEvidence
from index.legs import CallLegs, Link
from index.summary import CallPage, CallSummary, Stats, tls_record
from index.trace import CallTrace, Endpoint, Loss, TraceMessage
from sip.errors import NotFound, SiptrailError
from sip.message import parse_message
from sip.text import bytes_of

START = 1_700_000_000_123_456_789
CALLER, PROXY = Endpoint("192.0.2.1", 5060), Endpoint("2001:db8::9", 5062)

ODD_CALL_IDS = [
    "plain@192.0.2.1",
    "a/b",
    "a/ladder",
    "x/ladder.svg",
    "100%",
    "%2F",
    "a%2Fb",
    "what?x=1",
    "#1",
    "a b",
    "a+b",
    "\"'<>&",
    "",
    ".",
    "..",
    "../stats",
    "/",
    "//",
    "=",
    "~",
    "é-ü-日本",
    "\uefff\uef80 not UTF-8",
    "a;b=c,d",
    "\\",
    "\x01\x1b[31m",
    "messages",
]
"""The bytes ff 80 of the one that is not UTF-8 are written as sip.text writes them."""

FINDING = Finding(
    "no-common-codec",
    "critical",
    "certain",
    "488: the offer has only G729",
    (Evidence(1, "offers G729", "a=rtpmap:18"),),
    "Allow PCMA on the trunk.",
    "RFC 3264 section 6.1",
    50,
)


def raw_message(start: str, call_id: str, method: str = "INVITE") -> bytes:
    return (
        (
            f"{start}\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1\r\nFrom: <sip:a@example.org>;tag=1\r\n"
            f"To: <sip:b@example.org>\r\n"
        ).encode()
        + b"Call-ID: "
        + bytes_of(call_id)
        + f"\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n".encode()
        + b"\xff\x00"
    )


def trace_of(call_id: str) -> CallTrace:
    def message(number: int, start: str, method: str, back: bool, **more: Any) -> TraceMessage:
        src, dst = (PROXY, CALLER) if back else (CALLER, PROXY)
        sip = parse_message(raw_message(start, call_id, method))
        return TraceMessage(START + number, number, src, dst, "udp", "eth0", "n1", sip, **more)

    return CallTrace(
        call_id,
        (
            message(0, "INVITE sip:b@example.org SIP/2.0", "INVITE", False, flags=1 | 8, ip_id=77, seen=2),
            message(1, "SIP/2.0 488 Not Acceptable Here", "INVITE", True, retransmission=True),
            message(2, "ACK sip:b@example.org SIP/2.0", "ACK", False),
        ),
        START - 5,
        START + 9,
        frozenset({"192.0.2.1", "2001:db8::9"}),
        (Loss("eth0", START, START + 1, 3, "kernel"),),
    )


def summary_of(call_id: str) -> CallSummary:
    return CallSummary(
        call_id,
        START,
        START + 2,
        "failed",
        "INVITE",
        "a",
        "b",
        str(CALLER),
        str(PROXY),
        "udp",
        488,
        "Not Acceptable Here",
        3,
        None,
        None,
        None,
        ("G729",),
        (FINDING.name,),
        FINDING.headline,
        "critical",
        "n1",
    )


STATS = Stats(
    10,
    3,
    1,
    {"INVITE": 1, "ACK": 1, "X\x00Y": 4},
    {"INVITE 488": 1, "X\x00Y 999999": 2},
    {"udp": 3},
    7,
    5,
    flags={"truncated": 1},
    tls=[
        tls_record(
            TlsPeer(
                *(
                    "192.0.2.1",
                    "[2001:db8::9]:5061",
                    2,
                    9,
                    4000,
                    START,
                    START + 5,
                    ("sip.example.com",),
                    (),
                    ("TLS 1.3",),
                ),
                (TlsAlert("client", "fatal", "unknown_ca", 1),),
                1,
            )
        )
    ],
)


@dataclass
class SipDesk:
    """Answers for the Call-IDs it was given and no other."""

    call_ids: list[str]
    error: Exception | None = None
    asked: list[tuple[str, int, str | None]] = field(default_factory=list)

    def calls(self, filter: str = "", limit: int = 100, before: str | None = None) -> CallPage:
        self.asked.append((filter, limit, before))
        if self.error is not None:
            raise self.error
        if filter == "(":
            raise SiptrailError("filter: '(' is never closed")
        return CallPage(tuple(summary_of(c) for c in self.call_ids[:limit]), "1:\uefff next", len(self.call_ids))

    def _known(self, call_id: str) -> str:
        if call_id not in self.call_ids:
            raise NotFound(f"no call has the Call-ID {call_id!r}")
        return call_id

    def call(self, call_id: str) -> CallSummary:
        return summary_of(self._known(call_id))

    def trace(self, call_id: str) -> CallTrace:
        return trace_of(self._known(call_id))

    def findings(self, call_id: str, legs: bool = True) -> tuple[Finding, ...]:
        self._known(call_id)
        return (FINDING,)

    def legs(self, call_id: str) -> CallLegs:
        """Each call has the next one as its second leg."""
        first = self.call(call_id)
        ids = sorted(self.call_ids)
        second = self.call(ids[(ids.index(call_id) + 1) % len(ids)])
        evidence = (LegEvidence(60, "began 7 ms later"), LegEvidence(-5, "not the same host"))
        return CallLegs(call_id, (first, second), (Link(call_id, second.call_id, 55, False, evidence),))

    def pcap(self, call_id: str, legs: bool = False) -> bytes:
        frames = self.legs(call_id).sure if legs else (call_id,)
        return b"\x4d\x3c\xb2\xa1" + b"".join(bytes_of(self._known(one)) for one in frames)

    def stats(self) -> Stats:
        return STATS

    def progress(self) -> float | None:
        return None

    def close(self) -> None:
        pass


@contextmanager
def serving(desk: SipDesk, **options: Any) -> Iterator[str]:
    """The address of a real server on a free port."""
    server = ApiServer(create_app(desk, version="0.0.test", **options))
    server.start()
    try:
        yield server.url
    finally:
        server.stop()
