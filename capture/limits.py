"""How much the careful path may hold before it gives up: every buffer has a bound in number, bytes and time."""

from __future__ import annotations

from dataclasses import dataclass

SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one decoder. The defaults keep it below some 150 MB on hostile traffic."""

    depth: int = 8
    """Packets inside packets."""
    datagrams: int = 1024
    """Datagrams that wait for fragments at a time."""
    fragments: int = 256
    """Fragments of one datagram."""
    fragment_bytes: int = 32 << 20
    """Frames held for all waiting datagrams."""
    streams: int = 40_000
    """Directions of TCP connections remembered, about 1 KB each; the one silent for longest goes first."""
    stream_bytes: int = 256 << 10
    """Longest header block or body of one message on a stream."""
    segments: int = 1024
    """Segments that may carry one message."""
    hole_bytes: int = 64 << 10
    """Bytes that wait behind a hole in a stream before it is skipped."""
    hole_ns: int = 3 * SECOND
    """How long they wait."""
    stall_ns: int = 32 * SECOND
    """How long a message that was begun waits for its rest (64*T1, RFC 3261 section 17)."""
    held_bytes: int = 64 << 20
    """Frames held for all streams."""
    tls_peers: int = 1000
    """Rows of who speaks TLS to whom; the one silent for longest goes first."""
    tls_connections: int = 10_000
    """TLS connections whose two directions are joined."""
    give_up: int = 2048
    """Bytes after which a stream on no SIP port, without a start line so far, is left alone."""


DEFAULT_LIMITS = Limits()
