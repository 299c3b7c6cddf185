"""The ladder of a call: who sent what to whom, as columns and rows. One pure layout that every face draws.

     customer              switch
        │                     │
1       │── INVITE (SDP) ────►│      Row(source=0, target=1)
2       │◄─ 100 Trying ───────│      Row(source=1, target=0)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from index.trace import CallTrace, Endpoint, TraceMessage
from sip.message import SipMessage
from sip.text import printable

MANY = 6
"""With more columns than this, the ports of one address share a column."""
DAY_NS = 86_400_000_000_000


@dataclass(frozen=True, slots=True)
class Column:
    """One party."""

    label: str
    """Its alias, else ip:port (or ip, where ports share a column)."""
    address: str


@dataclass(frozen=True, slots=True)
class Row:
    """One message."""

    number: int
    """1-based, as in findings."""
    ts: int
    time: str
    """HH:MM:SS.mmm, UTC."""
    delta: str
    """Seconds since the message before."""
    elapsed: str
    """Seconds since the first message."""
    source: int
    target: int
    """Columns; equal where a party sends to itself."""
    label: str
    kind: str
    """request, provisional, success, redirect, failure."""
    transport: str
    retransmission: bool
    seen: int
    note: str
    """What explains the message: Reason or Warning header, or what the stream carries."""
    media: str
    """Codecs, address and direction of its SDP; '' without one."""
    leg: int = 0
    """0-based place of its Call-ID in `Ladder.legs`."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What to write below the arrow: nothing where the message above it, sent again, said it already."""
        return () if self.retransmission else tuple(text for text in (self.media, self.note) if text)


@dataclass(frozen=True, slots=True)
class Ladder:
    """A whole diagram. All text is safe to show."""

    call_id: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    legs: tuple[str, ...] = ()
    """The Call-IDs where there are several: A, B, … in the labels of the rows."""
    headline: str = ""
    """What is wrong with the call, in one sentence; '' where nothing is, or nobody asked."""

    @property
    def titles(self) -> tuple[str, ...]:
        """'Call-ID …', one for each leg, and the headline."""
        named = [f"Call-ID {leg_name(n)}  {call_id}" for n, call_id in enumerate(self.legs)]
        return tuple([*(named or [f"Call-ID {self.call_id}"]), *([self.headline] if self.headline else [])])


def leg_name(number: int) -> str:
    """A, B, …, Z, then 27, 28, …"""
    return chr(65 + number) if number < 26 else str(number + 1)


def layout(trace: CallTrace, aliases: Mapping[str, str] | None = None, headline: str = "") -> Ladder:
    """Lay a call out. `aliases` gives names for 'ip:port' or 'ip'; `headline` says what is wrong with it."""
    ends: dict[Endpoint, None] = {}
    for m in trace.messages:
        ends.setdefault(m.src)
        ends.setdefault(m.dst)
    merged = len(ends) > MANY
    columns: dict[str, int] = {}
    for end in ends:
        columns.setdefault(end.ip if merged else str(end), len(columns))
    names = aliases or {}

    def name(address: str) -> str:
        ip = address.rpartition(":")[0].strip("[]") if not merged else address
        return printable(names.get(address) or names.get(ip) or address)

    legs = {c: n for n, c in enumerate(dict.fromkeys(m.sip.call_id for m in trace.messages))}
    rows = []
    first = trace.messages[0].ts if trace.messages else 0
    before = first
    for number, m in enumerate(trace.messages, 1):
        rows.append(
            Row(
                number,
                m.ts,
                clock(m.ts),
                _seconds(m.ts - before),
                _seconds(m.ts - first),
                columns[m.src.ip if merged else str(m.src)],
                columns[m.dst.ip if merged else str(m.dst)],
                f"{leg_name(legs[m.sip.call_id])} {label(m)}" if len(legs) > 1 else label(m),
                kind(m.sip),
                m.transport,
                m.retransmission,
                m.seen,
                note(m),
                media(m),
                legs[m.sip.call_id],
            )
        )
        before = m.ts
    named = tuple(printable(c) for c in legs) if len(legs) > 1 else ()
    parties = tuple(Column(name(a), printable(a)) for a in columns)
    return Ladder(printable(trace.call_id), parties, tuple(rows), named, printable(headline))


def clock(ns: int) -> str:
    """Time of day, UTC, milliseconds."""
    ms = ns % DAY_NS // 1_000_000
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"


def _seconds(ns: int) -> str:
    return f"{ns / 1e9:+.3f}"


def kind(sip: SipMessage) -> str:
    """'request', or the class of the status code; a code that is none of SIP's is a failure."""
    if sip.is_request:
        return "request"
    return {1: "provisional", 2: "success", 3: "redirect"}.get(sip.code // 100, "failure")


def label(m: TraceMessage) -> str:
    """'INVITE (SDP)', '503 Service Unavailable'."""
    # What follows the version of a status line is code and reason, also where there is no telling them apart.
    text = m.sip.method if m.sip.is_request else m.sip.start_line.partition(" ")[2].strip()
    if m.sip.is_request and m.sip.method == "INVITE" and m.sip.to is not None and m.sip.to.tag:
        text = "re-INVITE"
    return printable((text or "?") + (" (SDP)" if m.sip.sdp is not None else ""))


def note(m: TraceMessage) -> str:
    """Reason and Warning headers, which often carry the real diagnosis."""
    return printable("; ".join([*m.sip.all("Reason"), *m.sip.all("Warning")]))


def media(m: TraceMessage) -> str:
    """What the SDP says, stream by stream."""
    if m.sip.sdp is None:
        return ""
    streams = []
    for s in m.sip.sdp.media:
        codecs = " ".join(c.name for c in s.codecs) or " ".join(s.formats)
        streams.append(
            f"{s.kind} refused"
            if s.port == 0
            else f"{s.kind} {codecs} {s.address}:{s.port}" + ("" if s.direction == "sendrecv" else f" {s.direction}")
        )
    return printable("; ".join(streams))
