"""HEP, the encapsulation in which proxies and agents hand over what they saw: versions 1, 2 and 3 (EEP). Sans-IO.

It owns the packet formats and the frames that stand for packets nobody captured. Hostile bytes raise HepError.
Version 3 is a list of chunks: vendor (0: generic), type, length, value, all in network order.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple

from capture.frames import Frame, Payload
from capture.sipstream import looks_like_sip
from sip.address import parse_via
from sip.text import text_of

LINKTYPE_RAW = 101
MOST_INFLATED = 256 << 10
"""Bytes a compressed payload may become."""
SANE = (946_684_800, 4_102_444_800)
"""Seconds: 2000 to 2100. A time outside of it is a clock that was never set."""

FAMILY, PROTOCOL, SRC4, DST4, SRC6, DST6, SPORT, DPORT, SECONDS, MICROS, KIND, AGENT = range(1, 13)
KEY, DATA, COMPRESSED, CORRELATION, NODE = 14, 15, 16, 17, 19
SIP, KEEPALIVE = 1, 0
_PLAIN_TRANSPORTS = {17: "udp", 6: "tcp", 132: "sctp", 0: "udp"}
SECURE = 22
"""The protocol number (XNS IDP) that Kamailio and OpenSIPS write for TLS, WS and WSS alike."""
_WIDTHS = {1: "B", 2: ">H", 4: ">I", 8: ">Q"}


class HepError(ValueError):
    """Not a HEP packet, and why."""


class Captured(NamedTuple):
    """One packet as an agent saw it."""

    version: int
    protocol: int
    """IP protocol number, with SECURE for encrypted transports."""
    src: str
    sport: int
    dst: str
    dport: int
    ts: int
    """Nanoseconds since the epoch; 0 where the agent gave no time."""
    kind: int
    """SIP is 1; RTCP, logs and others have their own numbers."""
    agent: int
    node: str
    """The agent's name, '' where it has none."""
    correlation: str
    key: bytes
    data: bytes


def parse_hep(packet: bytes) -> Captured:
    """One HEP packet of any version."""
    if packet[:4] == b"HEP3":
        return _version3(packet)
    if packet[:1] in (b"\x01", b"\x02"):
        return _version12(packet)
    raise HepError("neither HEP3 nor a header of version 1 or 2")


def _version3(packet: bytes) -> Captured:
    values = dict(_chunks(packet))
    data = values.get(DATA, b"")
    if not data and (squeezed := values.get(COMPRESSED)):
        data = _inflate(squeezed)
    src, dst = values.get(SRC4) or values.get(SRC6), values.get(DST4) or values.get(DST6)
    if src is None or dst is None or len(src) not in (4, 16) or len(dst) != len(src):
        raise HepError("no addresses")
    kind = _number(values, KIND)
    if not data and kind != KEEPALIVE:
        raise HepError("no payload")
    seconds = _number(values, SECONDS)
    ts = seconds * 1_000_000_000 + min(_number(values, MICROS), 999_999) * 1000 if _sane(seconds) else 0
    name = text_of(values.get(NODE, b"").rstrip(b"\0"))
    return Captured(
        3,
        _number(values, PROTOCOL),
        str(ip_address(src)),
        _number(values, SPORT) & 0xFFFF,
        str(ip_address(dst)),
        _number(values, DPORT) & 0xFFFF,
        ts,
        kind,
        _number(values, AGENT),
        name,
        text_of(values.get(CORRELATION, b"").rstrip(b"\0")),
        values.get(KEY, b""),
        data,
    )


def _chunks(packet: bytes) -> Iterator[tuple[int, bytes]]:
    """Generic chunks by type, the first of each; vendors' own are skipped."""
    if len(packet) < 6:
        raise HepError("cut short")
    end = int.from_bytes(packet[4:6], "big")
    if end > len(packet) or end < 6:
        raise HepError(f"says {end} bytes, has {len(packet)}")
    at, seen = 6, set()
    while at < end:
        if at + 6 > end:
            raise HepError("a chunk without header")
        vendor, kind, size = struct.unpack_from(">HHH", packet, at)
        if size < 6 or at + size > end:
            raise HepError(f"chunk {kind} has a length of {size}")
        if vendor == 0 and kind not in seen:
            seen.add(kind)
            yield kind, packet[at + 6 : at + size]
        at += size


def _number(values: dict[int, bytes], kind: int) -> int:
    value = values.get(kind, b"")
    width = _WIDTHS.get(len(value))
    return int(struct.unpack(width, value)[0]) if width else 0


def _inflate(data: bytes) -> bytes:
    # Agents use gzip, zlib and bare deflate; 32 + 15 knows the first two by their header.
    for bits in (47, -15):
        try:
            out = zlib.decompressobj(bits).decompress(data, MOST_INFLATED)
        except zlib.error:
            continue
        if out:
            return out
    raise HepError("a compressed payload that cannot be inflated")


def _version12(packet: bytes) -> Captured:
    """Version, header length, address family, protocol, ports, addresses; version 2 adds time and agent."""
    if len(packet) < 16:
        raise HepError("cut short")
    version, size, family, protocol, sport, dport = struct.unpack_from(">BBBBHH", packet)
    width = {2: 4, 10: 16, 30: 16, 28: 16}.get(family, 0)
    end = 8 + 2 * width
    if not width or size not in (end, end + 12) or len(packet) < end + (12 if version == 2 else 0):
        raise HepError("neither HEP3 nor a header of version 1 or 2")
    ts = agent = 0
    data = packet[end:]
    if version == 2:
        # Written in the agent's own byte order, which is little-endian almost everywhere.
        for order in "<>":
            seconds, micros, agent = struct.unpack_from(f"{order}IIH", packet, end)
            if _sane(seconds) and micros < 1_000_000:
                ts = seconds * 1_000_000_000 + micros * 1000
                break
        # Some agents leave the two bytes of padding out.
        data = packet[end + (10 if looks_like_sip(packet[end + 10 :]) else 12) :]
    src, dst = packet[8 : 8 + width], packet[8 + width : end]
    places = str(ip_address(src)), sport, str(ip_address(dst)), dport
    return Captured(version, protocol, *places, ts, SIP, agent, "", "", b"", data)


def _sane(seconds: int) -> bool:
    return SANE[0] <= seconds < SANE[1]


@dataclass(slots=True)
class HepStream:
    """HEP 3 over TCP or TLS: packets one behind the other. Bytes that belong to none are counted in `lost`."""

    lost: int = 0
    _buffer: bytearray | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """The packets that these bytes complete."""
        buffer = self._buffer = (self._buffer or bytearray()) + data
        out: list[bytes] = []
        while len(buffer) >= 6:
            if buffer[:4] != b"HEP3" or int.from_bytes(buffer[4:6], "big") < 6:
                at = buffer.find(b"HEP3", 1)
                skip = at if at > 0 else len(buffer) - 3
                self.lost += skip
                del buffer[:skip]
                continue
            size = int.from_bytes(buffer[4:6], "big")
            if len(buffer) < size:
                break
            out.append(bytes(buffer[:size]))
            del buffer[:size]
        return out


def transport_of(packet: Captured) -> str:
    """udp, tcp, tls, ws, wss or sctp; what the number leaves open stands in the message's top Via."""
    plain = _PLAIN_TRANSPORTS.get(packet.protocol)
    if plain is not None:
        return plain
    head = packet.data[:4096]
    for mark in (b"\r\nVia:", b"\r\nv:", b"\r\nVIA:", b"\r\nvia:"):
        _, found, rest = head.partition(mark)
        via = parse_via(text_of(rest.partition(b"\r\n")[0]).strip()) if found else None
        if via is not None and via.transport.lower() in ("tls", "ws", "wss"):
            return via.transport.lower()
    return "tls"


def interface_of(packet: Captured) -> str:
    """How the agent is named in lists: 'hep:' and its node name, or its number."""
    return f"hep:{packet.node or packet.agent}"


def to_payload(packet: Captured, received: int) -> Payload | None:
    """The SIP message of a packet with a frame that stands for it; None where it holds no SIP.

    `received`: the time of arrival (ns), used where the agent gave none."""
    data = packet.data.lstrip(b"\r\n\0")
    if packet.kind != SIP or not looks_like_sip(data):
        return None
    ts = packet.ts or received
    raw = rebuilt_packet(packet, data)
    frame = Frame(ts, LINKTYPE_RAW, interface_of(packet), len(raw), raw)
    places = packet.src, packet.sport, packet.dst, packet.dport
    return Payload(ts, transport_of(packet), *places, data, (frame,), -1, 0)


def rebuilt_packet(packet: Captured, data: bytes) -> bytes:
    """An IP packet with `data` in UDP, whatever it came in: the headers are made from the chunks, not captured.

    Checksums are right for IPv4 and UDP, so that no tool complains; a message too long for UDP is cut at its end."""
    src, dst = ip_address(packet.src).packed, ip_address(packet.dst).packed
    data = data[: 65_535 - 8 - (20 if len(src) == 4 else 0)]
    size = len(data) + 8
    pseudo = src + dst + struct.pack(">II", size, 17)
    head = struct.pack(">HHH", packet.sport, packet.dport, size)
    check = _checksum(pseudo + head + b"\0\0" + data) or 0xFFFF
    udp = head + check.to_bytes(2, "big") + data
    if len(src) == 16:
        return struct.pack(">IHBB", 6 << 28, size, 17, 64) + src + dst + udp
    ip = struct.pack(">BBHHHBB", 0x45, 0, size + 20, 0, 0x4000, 64, 17)
    return ip + _checksum(ip + b"\0\0" + src + dst).to_bytes(2, "big") + src + dst + udp


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) & 1)
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
