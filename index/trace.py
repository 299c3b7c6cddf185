"""The hand-over type from index to diagnosis and ladders: one Call-ID's messages, parsed and in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sip.message import SipMessage

if TYPE_CHECKING:
    from index.legs import CallLegs
    from index.load import Load


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One transport address."""

    ip: str
    port: int

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


@dataclass(frozen=True, slots=True)
class Loss:
    """Something the capture did not see: `count` packets lost on `interface` between two times (ns)."""

    interface: str
    start: int
    end: int
    count: int
    kind: str
    """kernel (ring full), queue (our own), spool (the same, while a shared store was out of reach), cut (longer than a
    block of the ring), unreadable, fragment, stream."""
    node: str = field(default="", compare=False)
    """The machine whose capture lost them; '' where that does not matter."""


@dataclass(frozen=True, slots=True)
class TraceMessage:
    """One message of a call as this tap saw it."""

    ts: int
    """Nanoseconds since the epoch, UTC."""
    seq: int
    """Order within one timestamp."""
    src: Endpoint
    dst: Endpoint
    transport: str
    """udp, tcp, tls, ws, wss, sctp."""
    interface: str
    node: str
    sip: SipMessage
    flags: int = 0
    """Bits of capture.flags."""
    ip_id: int = -1
    """IPv4 identification, -1 where there is none."""
    seen: int = 1
    """How many copies of this same packet were captured (mirrors, two interfaces); copies are not listed."""
    retransmission: bool = False
    """The sender really sent the same bytes again."""


@dataclass(frozen=True, slots=True)
class IcmpError:
    """A host on the way says that a message could not be delivered, and quotes it."""

    ts: int
    by: str
    """Who says so."""
    version: int
    """4 or 6: types and codes differ."""
    kind: int
    code: int
    src: Endpoint
    """Of the message."""
    dst: Endpoint
    sip: SipMessage
    """As far as it is quoted."""


@dataclass(frozen=True, slots=True)
class ConnectionEnd:
    """A TCP connection that carried SIP was ended: by its first FIN or RST."""

    ts: int
    by: Endpoint
    """Who sent it; a firewall in between may have done so in its name."""
    peer: Endpoint
    reset: bool
    """Broken off (RST), not closed (FIN)."""


@dataclass(frozen=True, slots=True)
class SetBack:
    """The capture's clock was set back in the middle of a call, and its messages were put in order again."""

    by: int
    """About how far (ns)."""
    before: int
    """Number of the last message with the old clock."""
    after: int
    """Of the first one with the new clock, which is taken to have come right behind it."""


@dataclass(frozen=True, slots=True)
class CallTrace:
    """All messages with one Call-ID, ordered by (ts, seq), and what a rule must know about the tap."""

    call_id: str
    messages: tuple[TraceMessage, ...]
    capture_start: int
    capture_end: int
    """Capture time up to which this tap has seen traffic (ns): now when live, the last packet of a file."""
    heard: frozenset[str] = frozenset()
    """IP addresses that at least one captured packet was sent to, within 10 minutes around the call."""
    losses: tuple[Loss, ...] = field(default=())
    """Losses while the call was alive (2 s either side)."""
    legs: CallLegs | None = None
    """Its other legs beyond a switch; None where nobody looked for them."""
    makers: frozenset[str] = frozenset()
    """Where legs were looked for: IP addresses that sent INVITEs of other calls within 10 minutes around the call."""
    load: Load | None = None
    """Where a capacity limit refused the call: what was going on between the two hosts at that moment."""
    icmp: tuple[IcmpError, ...] = field(default=())
    """Errors about messages of this call, in order of time."""
    ends: tuple[ConnectionEnd, ...] = field(default=())
    """Of connections that carried messages of this call, from its first message on, in order of time."""
    set_back: SetBack | None = None
    """Only of a trace that diagnosis put in order."""
