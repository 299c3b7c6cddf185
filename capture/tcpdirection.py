"""What is known of one direction of a TCP connection, what comes in for it, and what is found in it.
`capture.tcpstream` owns all that happens to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from capture.frames import Frame
from capture.sipstream import Cut, SipStream
from capture.tlspeers import TlsStream
from capture.websocket import WebStream


class Segment(NamedTuple):
    """One TCP segment as IP delivered it."""

    key: bytes
    """Source address, destination address, source port, destination port."""
    seq: int
    bits: int
    data: bytes
    missing: int
    """Bytes at its end that were not captured."""
    frames: tuple[Frame, ...]
    flags: int
    ip_id: int


class Found(NamedTuple):
    """A message of a stream, or (no bytes; flags say so) that its sender ends the connection."""

    key: bytes
    transport: str
    cut: Cut
    frames: tuple[Frame, ...]
    flags: int
    ip_id: int


class Part(NamedTuple):
    """Bytes start to end of a stream, and the segment that brought them."""

    start: int
    end: int
    segment: Segment


class Waiting(NamedTuple):
    at: int
    segment: Segment


def place_in_stream(waiting: Waiting) -> int:
    return waiting.at


def weight_of(segment: Segment) -> int:
    return sum(200 + len(f.data) for f in segment.frames)


@dataclass(slots=True)
class Direction:
    stream: SipStream | WebStream | TlsStream
    expected: bool
    """On a SIP or WebSocket port."""
    next: int | None = None
    """Sequence number of the next byte."""
    at: int = 0
    """Its position."""
    end: int | None = None
    """Position of the FIN."""
    waiting: list[Waiting] = field(default_factory=list)
    waiting_bytes: int = 0
    parts: list[Part] = field(default_factory=list)
    early: list[Waiting] | None = None
    """First segments of a connection joined midway, until something is found: an earlier one may still arrive."""
    strays: int = 0
    weight: int = 0
    """Bytes of the frames held."""
    counted: int = 0
    """What of it is in the sum over all streams."""
    ignored: bool = False
    over: bool = False
    """Its connection was ended, and that was told."""

    @property
    def carried(self) -> bool:
        """Messages were found in it."""
        return not (self.ignored or self.stream.quiet or isinstance(self.stream, TlsStream))
