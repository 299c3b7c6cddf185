"""Frames for the tests of the careful path, built byte by byte: SIP, UDP, TCP, IP, links, tunnels."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from ipaddress import ip_address

from capture.careful import CarefulDecoder
from capture.frames import Frame, Payload

A, B = "203.0.113.5", "198.51.100.10"
A6, B6 = "2001:db8::5", "2001:db8::10"
SECOND = 1_000_000_000


def sip(call_id: str = "one", body: bytes = b"", method: str = "INVITE", extra: bytes = b"") -> bytes:
    """A request that is whole and honest."""
    return (
        (
            f"{method} sip:bob@{B} SIP/2.0\r\nVia: SIP/2.0/TCP {A}:5060;branch=z9hG4bK{call_id}\r\n"
            f"Call-ID: {call_id}\r\nCSeq: 1 {method}\r\n"
        ).encode()
        + extra
        + f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )


def ok(call_id: str = "one", body: bytes = b"") -> bytes:
    """A response that is whole and honest."""
    return (
        f"SIP/2.0 200 OK\r\nCall-ID: {call_id}\r\nCSeq: 1 INVITE\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )


def ip4(
    proto: int, body: bytes, *, src: str = A, dst: str = B, ident: int = 77, off: int = 0, more: bool = False
) -> bytes:
    """An IPv4 packet."""
    return (
        struct.pack(">BBHHHBBH", 0x45, 0, len(body) + 20, ident, off // 8 | (0x2000 if more else 0), 64, proto, 0)
        + ip_address(src).packed
        + ip_address(dst).packed
        + body
    )


def ip6(proto: int, body: bytes, *, src: str = A6, dst: str = B6) -> bytes:
    """An IPv6 packet."""
    return struct.pack(">IHBB", 6 << 28, len(body), proto, 64) + ip_address(src).packed + ip_address(dst).packed + body


def ip6_fragment(proto: int, body: bytes, ident: int, off: int, more: bool) -> bytes:
    """A piece of an IPv6 payload."""
    return ip6(44, struct.pack(">BBHI", proto, 0, off | more, ident) + body)


def udp(payload: bytes, sport: int = 5060, dport: int = 5060) -> bytes:
    """A UDP datagram."""
    return struct.pack(">HHHH", sport, dport, len(payload) + 8, 0) + payload


def tcp(payload: bytes, seq: int, bits: int = 0x18, sport: int = 40000, dport: int = 5060) -> bytes:
    """A TCP segment."""
    return struct.pack(">HHIIBBHHH", sport, dport, seq & 0xFFFFFFFF, 1, 0x50, bits, 65535, 0, 0) + payload


def ether(packet: bytes, *tags: int) -> bytes:
    """An Ethernet frame."""
    kind = 0x86DD if packet[:1] and packet[0] >> 4 == 6 else 0x0800
    return bytes(12) + b"".join(struct.pack(">HH", tag, 5) for tag in tags) + struct.pack(">H", kind) + packet


def frame(data: bytes, ts: int = 0, link: int = 1, original: int | None = None) -> Frame:
    """A captured frame."""
    return Frame(10**18 + ts, link, "eth0", len(data) if original is None else original, data)


def tcp_frame(payload: bytes, seq: int, ts: int = 0, bits: int = 0x18, dport: int = 5060) -> Frame:
    """A captured TCP segment."""
    return frame(ether(ip4(6, tcp(payload, seq, bits, dport=dport))), ts)


def syn(seq: int, dport: int = 5060) -> Frame:
    """The segment that opens a direction whose first byte has number `seq`."""
    return tcp_frame(b"", seq - 1, bits=2, dport=dport)


def decode(frames: Iterable[Frame], decoder: CarefulDecoder | None = None, flush: bool = False) -> list[Payload]:
    """What comes out of these frames."""
    decoder = decoder or CarefulDecoder()
    out = [p for f in frames for p in decoder.feed(f)]
    return out + decoder.flush() if flush else out


def texts(payloads: Iterable[Payload]) -> list[bytes]:
    """The bytes of the messages."""
    return [p.data for p in payloads]
