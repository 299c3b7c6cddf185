"""HEP, the encapsulation in which proxies and agents hand over what they saw: versions 1, 2 and 3 (EEP). Sans-IO.

It owns the packet formats, with what each product makes of them; the frames that stand for packets are `hepframes`'.
Hostile bytes raise HepError. Version 3 is a list of chunks: vendor (0: generic), type, length, value, in network order.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, NamedTuple

from capture.sipstream import looks_like_sip
from sip.text import text_of

MOST_INFLATED = 256 << 10
"""Bytes a compressed payload may become."""
MOST_BYTES = 65_535
"""Of one packet of version 3."""
SANE = (946_684_800, 4_102_444_800)
"""Seconds: 2000 to 2100. A time outside of it is a clock that was never set."""

FAMILY, PROTOCOL, SRC4, DST4, SRC6, DST6, SPORT, DPORT, SECONDS, MICROS, KIND, AGENT = range(1, 13)
KEY, DATA, COMPRESSED, CORRELATION, NODE = 14, 15, 16, 17, 19
SIP, KEEPALIVE = 1, 0
_CUT = -1
_WIDTHS = {1: "B", 2: ">H", 4: ">I", 8: ">Q"}
_GZIP = b"\x1f\x8b"
_HEAD12 = re.compile(rb"\x01(?:\x10\x02|\x28[\x0a\x1c\x1e])|\x02(?:[\x10\x1c]\x02|[\x28\x34][\x0a\x1c\x1e])")
"""Version, header length (of version 2 with or without the time) and address family."""
_LENGTH = re.compile(rb"\n(?:content-length|l)[ \t]*:[ \t]*(\d{1,6})[ \t]*\r?\n", re.IGNORECASE)


class HepError(ValueError):
    """Not a HEP packet, and why."""


class Captured(NamedTuple):
    """One packet as an agent saw it."""

    version: int
    protocol: int
    """IP protocol number, or what agents write for TLS and WebSocket (see `hepframes.transport_of`)."""
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
    cut: bool = False
    """The agent did not send all of `data` that it announced."""


def looks_like_hep(data: bytes) -> bool:
    """Whether a datagram may hold HEP of any version; the same verdict as the fast path's kernel."""
    return data[:4] == b"HEP3" or data[:3] == b"\x1f\x8b\x08" or _HEAD12.match(data) is not None


def parse_hep(packet: bytes) -> Captured:
    """One HEP packet of any version."""
    if packet[:2] == _GZIP:  # heplify with payload_zip squeezes whole packets
        packet = _inflate(packet)
    if packet[:4] == b"HEP3":
        return _version3(packet)
    if _HEAD12.match(packet):
        return _version12(packet)
    raise HepError("neither HEP3 nor a header of version 1 or 2")


def _version3(packet: bytes) -> Captured:
    values = dict(_chunks(packet))
    data = values.get(DATA, b"")
    if not data and (squeezed := values.get(COMPRESSED)):
        data = _inflate(squeezed)
    data = _unwrapped(data)
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
        _CUT in values,
    )


def _chunks(packet: bytes) -> Iterator[tuple[int, bytes]]:
    """Generic chunks by type, the first of each; vendors' own are skipped."""
    if len(packet) < 6:
        raise HepError("cut short")
    said = int.from_bytes(packet[4:6], "big")
    if said < 6:
        raise HepError(f"says {said} bytes, has {len(packet)}")
    end, at, seen = min(said, len(packet)), 6, set()
    while at < end:
        if at + 6 > end:
            raise HepError("a chunk without header")
        vendor, kind, size = struct.unpack_from(">HHH", packet, at)
        if size < 6 or at + size > said:
            raise HepError(f"chunk {kind} has a length of {size}")
        if vendor == 0 and kind not in seen:
            seen.add(kind)
            yield kind, packet[at + 6 : min(at + size, end)]
            # FreeSWITCH writes at most 16,000 bytes of a message, and all of its length.
            if at + size > end and kind == DATA:
                yield _CUT, b""
                return
        at += size
    if at < said:
        raise HepError(f"says {said} bytes, has {len(packet)}")


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


def _unwrapped(data: bytes) -> bytes:
    """OpenSIPS with homer5_on = 0 writes the message as the text "payload" of a JSON object."""
    if data[:1] != b"{":
        return data
    try:
        inside = json.loads(data.decode("utf-8", "surrogateescape"))["payload"]
        return inside.encode("utf-8", "surrogateescape") if isinstance(inside, str) else data
    except (ValueError, KeyError, TypeError, RecursionError):
        return data


def _version12(packet: bytes) -> Captured:
    """Version, header length, address family, protocol, ports, addresses; version 2 adds time and agent."""
    width = 4 if packet[2] == 2 else 16
    end = 8 + 2 * width
    if len(packet) < end + (12 if packet[0] == 2 else 0):
        raise HepError("cut short")
    version, _, _, protocol, sport, dport = struct.unpack_from(">BBBBHH", packet)
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
    # OpenSIPS counts the addresses twice, and so sends as many zeros behind the message.
    if data.endswith(bytes(2 * width)) and not _reaches(data, len(data) - 2 * width):
        data = data[: -2 * width]
    src, dst = packet[8 : 8 + width], packet[8 + width : end]
    places = str(ip_address(src)), sport, str(ip_address(dst)), dport
    return Captured(version, protocol, *places, ts, SIP, agent, "", "", b"", data)


def _reaches(data: bytes, place: int) -> bool:
    """Whether, by its Content-Length, the message goes on beyond a place."""
    head = data.find(b"\r\n\r\n") + 4
    length = _LENGTH.search(data, 0, head) if head >= 4 else None
    return length is not None and head + int(length[1]) > place


def _sane(seconds: int) -> bool:
    return SANE[0] <= seconds < SANE[1]


@dataclass(slots=True)
class HepStream:
    """HEP 3 over TCP or TLS: packets one behind the other, each squeezed with gzip by some (heplify with payload_zip).

    Bytes that belong to none are counted in `lost`."""

    lost: int = 0
    _buffer: bytearray = field(default_factory=bytearray)
    _unzip: Any = None
    _plain: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> list[bytes]:
        """The packets that these bytes complete."""
        buffer = self._buffer
        buffer += data
        out: list[bytes] = []
        while buffer:
            if self._unzip is not None or buffer[:3] == b"\x1f\x8b\x08":
                if not self._squeezed(out):
                    break
                continue
            if len(buffer) < 6:
                break
            size = int.from_bytes(buffer[4:6], "big")
            if buffer[:4] != b"HEP3" or size < 6:
                self._resynchronise()
                continue
            if len(buffer) < size:
                break
            out.append(bytes(buffer[:size]))
            del buffer[:size]
        return out

    def _squeezed(self, out: list[bytes]) -> bool:
        """Take what is there of a squeezed packet; whether it came to its end, good or bad."""
        buffer = self._buffer
        if self._unzip is None:
            self._unzip = zlib.decompressobj(31)
        try:
            self._plain += self._unzip.decompress(bytes(buffer), MOST_BYTES + 1 - len(self._plain))
            good = len(self._plain) <= MOST_BYTES
        except zlib.error:
            good = False
        if good and not self._unzip.eof:
            buffer.clear()
            return False
        rest = self._unzip.unused_data if good else bytes(buffer[1:])
        if good:
            out.append(bytes(self._plain))
        self.lost += not good
        self._unzip = None
        self._plain.clear()
        buffer[:] = rest
        return True

    def _resynchronise(self) -> None:
        """Drop what belongs to no packet, up to where one may begin."""
        buffer = self._buffer
        places = [at for at in (buffer.find(b"HEP3", 1), buffer.find(b"\x1f\x8b\x08", 1)) if at > 0]
        skip = min(places, default=len(buffer) - 3)
        self.lost += skip
        del buffer[:skip]
