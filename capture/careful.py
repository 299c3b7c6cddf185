"""The careful path: whatever the fast kernels leave (fragments, TCP, tunnels, odd links), one frame at a time.

Sans-IO: time comes with the frames. Hostile bytes are counted, never raised. Payloads are those of the fast path.
It owns the walk from link to transport layer; reassembly is `ipfragments` and `tcpstream`.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import NamedTuple

from capture.decode import Decoded
from capture.flags import FRAGMENT_LOST, FRAGMENTED, QUOTED, TRUNCATED, TUNNELLED
from capture.frames import Frame, FrameBlock, Payload
from capture.hep import HepError, looks_like_hep, parse_hep
from capture.hepframes import to_payload
from capture.ipfragments import Datagram, Fragments, Key
from capture.limits import DEFAULT_LIMITS, Limits
from capture.links import IPV4, IPV6, UnknownLinkType, Unreadable, by_version, mpls, network_layer
from capture.ports import DEFAULT_SIP_PORTS, DEFAULT_WS_PORTS
from capture.sctp import SctpMessages
from capture.sipstream import looks_like_sip
from capture.tcpdirection import Found, Segment
from capture.tcpfast import I32, I64, ReadyStreams
from capture.tcprefused import Refused
from capture.tcpstream import TcpStreams
from capture.tlspeers import TlsPeer
from capture.tunnels import Inner, gre, inside_udp

__all__ = ["CarefulDecoder", "Limits", "looks_like_sip"]

COUNTERS = (
    "unreadable",
    "fragments_lost",
    "stream_gaps",
    "tunnels_too_deep",
    "not_sip",
    "evicted",
    "encrypted",
    "unknown_link",
)
TCP, UDP, SCTP, GRE = 6, 17, 132, 47
_IN_IP = {4: IPV4, 41: IPV6}
_ICMP_ERRORS = {1: (3,), 58: (1, 2)}
"""By protocol: types that say that a packet was not delivered (RFC 792; RFC 4443 sections 3.1 and 3.2)."""
_EXTENSIONS = frozenset({0, 43, 44, 51, 60, 135, 139, 140})
"""IPv6 extension headers with a length (RFC 8200 section 4, RFC 7045)."""


class _Packet(NamedTuple):
    """What an IP packet carries, and how it came."""

    src: bytes
    dst: bytes
    ip_id: int
    frames: tuple[Frame, ...]
    flags: int
    depth: int
    missing: int
    """Bytes that its header promises beyond those captured."""


class CarefulDecoder:
    """Open fragments and streams of one capture."""

    def __init__(
        self,
        sip_ports: frozenset[int] = DEFAULT_SIP_PORTS,
        ws_ports: frozenset[int] = DEFAULT_WS_PORTS,
        limits: Limits = DEFAULT_LIMITS,
        hep: bool = True,
    ) -> None:
        """`hep`: read what goes by in HEP, too."""
        self._limits = limits
        self._hep = hep
        self._fragments = Fragments(limits)
        self._streams = TcpStreams(sip_ports, ws_ports, limits)
        self._sctp_messages = SctpMessages(sip_ports, limits)
        self._ready = ReadyStreams()
        self._datagrams_lost = 0
        self.counters: dict[str, int] = dict.fromkeys(COUNTERS, 0)
        self.unknown_links: set[int] = set()

    def feed(self, frame: Frame) -> list[Payload]:
        """The messages that this frame completes."""
        out: list[Payload] = []
        # Before: an identification may be used anew. Streams go after: this very segment may fill a hole.
        self._give_up_fragments(frame.ts, out)
        try:
            kind, at = network_layer(frame.link_type, frame.data)
            if not (kind and self._network(kind, frame.data[at:], (frame,), 0, 0, out)):
                self.counters["not_sip"] += 1
        except UnknownLinkType:
            self.unknown_links.add(frame.link_type)
            self.counters["unknown_link"] += 1
        except (Unreadable, struct.error, IndexError, ValueError):
            self.counters["unreadable"] += 1
        self._give_up_streams(frame.ts, out)
        return out

    def simple_segments(self, block: FrameBlock, d: Decoded) -> tuple[I64, I64, I32]:
        """Of the frames of kind TCP, take those that need no care: (frame, start, size) of the messages in them."""
        found = self._ready.take(
            block.data, d.payload, d.length, (d.src_hi, d.src_lo), (d.dst_hi, d.dst_lo), d.sport, d.dport, d.kind
        )
        for key, count in self._ready.advanced():
            self._streams.advance(key, count)
        return found

    def tick(self, now: int) -> list[Payload]:
        """Time has come to `now`, though no frame brought it here."""
        out: list[Payload] = []
        self._give_up_fragments(now, out)
        self._give_up_streams(now, out)
        return out

    def note_streams(self) -> None:
        """After a block: which streams stand between two messages again."""
        for key in self._streams.touched:
            self._ready.set(key, self._streams.between(key))
        self._streams.touched.clear()

    def flush(self) -> list[Payload]:
        """At the end: what can still be read of open streams and fragments."""
        out: list[Payload] = []
        self._give_up_fragments(None, out)
        self._give_up_streams(None, out)
        return sorted(out, key=lambda p: p.ts)

    def tls_peers(self) -> tuple[TlsPeer, ...]:
        """Who speaks TLS to whom on SIP ports, the latest first."""
        return self._streams.tls.peers()

    def refused(self) -> tuple[Refused, ...]:
        """Who turns TCP connections on SIP ports away."""
        return self._streams.refusals.rows()

    def pending_frames(self) -> list[Frame]:
        """Frames that open reassembly still needs, oldest first."""
        held = {id(f): f for f in [*self._fragments.frames(), *self._sctp_messages.frames(), *self._streams.frames()]}
        return sorted(held.values(), key=lambda f: f.ts)

    # Each step returns whether the frame may lead to SIP; one that leads nowhere is counted as not SIP.

    def _network(
        self, kind: int, data: bytes, frames: tuple[Frame, ...], flags: int, depth: int, out: list[Payload]
    ) -> bool:
        if depth > self._limits.depth:
            self.counters["tunnels_too_deep"] += 1
            return False
        return (self._ipv4 if kind == IPV4 else self._ipv6)(data, frames, flags, depth, out)

    def _ipv4(self, data: bytes, frames: tuple[Frame, ...], flags: int, depth: int, out: list[Payload]) -> bool:
        if len(data) < 20 or data[0] >> 4 != 4:
            raise Unreadable("short IPv4 header")
        head = (data[0] & 15) * 4
        total, ident, offset = struct.unpack_from(">HHH", data, 2)
        total = total or len(data)  # segmentation offload leaves it zero
        if head < 20 or total < head or len(data) < head:
            raise Unreadable("bad IPv4 length")
        packet = _Packet(data[12:16], data[16:20], ident, frames, flags, depth, max(0, total - len(data)))
        if offset & 0x3FFF and not flags & QUOTED:
            key = Key(packet.src, packet.dst, ident, data[9])
            return self._fragment(key, packet, (offset & 0x1FFF) * 8, bool(offset & 0x2000), data[head:total], out)
        return self._transport(data[9], data[head:total], packet, out)

    def _ipv6(self, data: bytes, frames: tuple[Frame, ...], flags: int, depth: int, out: list[Payload]) -> bool:
        if len(data) < 40 or data[0] >> 4 != 6:
            raise Unreadable("short IPv6 header")
        total = 40 + (int.from_bytes(data[4:6], "big") or len(data) - 40)
        packet = _Packet(data[8:24], data[24:40], -1, frames, flags, depth, max(0, total - len(data)))
        proto, at, end = data[6], 40, min(len(data), total)
        for _ in range(16):
            if proto not in _EXTENSIONS:
                break
            if at + 8 > end:
                raise Unreadable("short IPv6 extension header")
            if proto == 44:
                offset, ident = struct.unpack_from(">HI", data, at + 2)
                # An "atomic" fragment (RFC 6946) is whole.
                if offset & 0xFFF9 and not packet.flags & QUOTED:
                    key = Key(packet.src, packet.dst, ident, data[at])
                    return self._fragment(key, packet, offset & 0xFFF8, bool(offset & 1), data[at + 8 : end], out)
                proto, at = data[at], at + 8
            else:
                proto, at = data[at], at + ((data[at + 1] + 2) * 4 if proto == 51 else (data[at + 1] + 1) * 8)
        return self._transport(proto, data[at:end], packet, out)

    def _fragment(self, key: Key, packet: _Packet, offset: int, more: bool, body: bytes, out: list[Payload]) -> bool:
        whole = self._fragments.add(key, offset, more, body, packet.frames, packet.flags)
        if whole is not None:
            packet = packet._replace(frames=whole.frames, flags=whole.flags | FRAGMENTED, missing=0)
            self._transport(key.proto, whole.data, packet, out)
        return True

    def _transport(self, proto: int, body: bytes, packet: _Packet, out: list[Payload]) -> bool:
        if packet.flags & QUOTED:  # a stream or a tunnel must not take what only stands in an error
            return proto == UDP and self._udp(body, packet, out)
        if proto in _ICMP_ERRORS:
            return self._icmp_error(proto, body, packet, out)
        if proto == TCP:
            return self._tcp(body, packet, out)
        if proto == UDP:
            return self._udp(body, packet, out)
        if proto == SCTP:
            return self._sctp(body, packet, out)
        inner: Inner | None = None
        if proto in _IN_IP:
            inner = Inner(_IN_IP[proto], body)
        elif proto == GRE:
            inner = gre(body)
        elif proto == 137:  # RFC 4023
            kind, at = mpls(body, 0)
            inner = Inner(kind, body[at:]) if kind in (IPV4, IPV6) else None
        return inner is not None and self._inside(inner, packet, out)

    def _inside(self, inner: Inner, packet: _Packet, out: list[Payload]) -> bool:
        flags = packet.flags | TUNNELLED
        return self._network(inner.kind, inner.data, packet.frames, flags, packet.depth + 1, out)

    def _icmp_error(self, proto: int, body: bytes, packet: _Packet, out: list[Payload]) -> bool:
        """The beginning of the packet that was not delivered stands behind eight bytes."""
        if body[:1] not in [bytes([kind]) for kind in _ICMP_ERRORS[proto]]:
            return False
        kind = by_version(body, 8)
        return bool(kind) and self._network(kind, body[8:], packet.frames, packet.flags | QUOTED, packet.depth + 1, out)

    def _udp(self, body: bytes, packet: _Packet, out: list[Payload]) -> bool:
        if len(body) < 8:
            raise Unreadable("short UDP header")
        sport, dport, size = struct.unpack_from(">HHH", body)
        promised = len(body) + packet.missing
        if size >= 8:
            promised = min(size, promised)
        data = body[8:promised]
        inner = None if packet.flags & QUOTED else inside_udp(sport, dport, data)
        if inner is not None:
            return self._inside(inner, packet, out)
        message = data.lstrip(b"\r\n")
        if looks_like_sip(message):
            flags = packet.flags | (TRUNCATED if promised > len(body) else 0)
            out.append(_payload(packet, "udp", sport, dport, message, flags))
            return True
        if self._hep and not packet.flags & QUOTED and looks_like_hep(data):
            return _inside_hep(data, packet, out)
        return False  # keep-alives too, as on the fast path

    def _tcp(self, body: bytes, packet: _Packet, out: list[Payload]) -> bool:
        # Loaded with the first segment that needs it: a tenth of the time that a command takes to start.
        from dpkt import UnpackError
        from dpkt.tcp import TCP as TcpHeader

        try:
            tcp = TcpHeader(body)
        except UnpackError as error:
            raise Unreadable("bad TCP header") from error
        key, found = packet.src + packet.dst + body[:4], list[Found]()
        led = self._streams.segment(
            Segment(
                key, tcp.seq, tcp.flags, bytes(tcp.data), packet.missing, packet.frames, packet.flags, packet.ip_id
            ),
            found,
        )
        out += map(from_stream, found)
        self._copy_counters()
        return led

    def _sctp(self, body: bytes, packet: _Packet, out: list[Payload]) -> bool:
        found: list[Found] = []
        led = self._sctp_messages.packet(
            packet.src + packet.dst, body, packet.frames, packet.flags, packet.ip_id, found
        )
        out += map(from_stream, found)
        return led

    def _give_up_fragments(self, now: int | None, out: list[Payload]) -> None:
        for lost in self._fragments.expired(now):
            self._datagrams_lost += 1
            if (payload := _beginning(lost)) is not None:
                out.append(payload)
        found: list[Found] = []
        self._sctp_messages.expired(now, found)
        out += map(from_stream, found)
        self.counters["fragments_lost"] = self._datagrams_lost + self._sctp_messages.lost

    def _give_up_streams(self, now: int | None, out: list[Payload]) -> None:
        found: list[Found] = []
        if now is None:
            self._streams.flush(found)
        else:
            self._streams.tick(now, found)
        if found or now is None:
            out += map(from_stream, found)
            self._copy_counters()

    def _copy_counters(self) -> None:
        streams, counters = self._streams, self.counters
        counters["stream_gaps"], counters["evicted"] = streams.gaps, streams.evicted
        counters["encrypted"] = streams.tls.segments


def _payload(packet: _Packet, transport: str, sport: int, dport: int, data: bytes, flags: int) -> Payload:
    return Payload(
        packet.frames[-1].ts,
        transport,
        _address(packet.src),
        sport,
        _address(packet.dst),
        dport,
        data,
        packet.frames,
        packet.ip_id,
        flags,
    )


def from_stream(found: Found) -> Payload:
    """A stream's message with its addresses and its time."""
    key, size = found.key, (len(found.key) - 4) // 2
    sport, dport = struct.unpack_from(">HH", key, 2 * size)
    # The frame that completed the message is the latest, not always the one with its last bytes.
    ts = max((f.ts for f in found.frames), default=0)
    return Payload(
        ts,
        found.transport,
        _address(key[:size]),
        sport,
        _address(key[size : 2 * size]),
        dport,
        found.cut.data,
        found.frames,
        found.ip_id,
        found.cut.flags | found.flags,
    )


def _inside_hep(data: bytes, packet: _Packet, out: list[Payload]) -> bool:
    """What an agent hands over to somebody: addresses, transport and time are those that it tells."""
    try:
        payload = to_payload(parse_hep(data), packet.frames, packet.ip_id, packet.flags)
    except HepError:
        return False
    if payload is not None:
        out.append(payload)
    return payload is not None


def _beginning(lost: Datagram) -> Payload | None:
    """The first fragment shows whose message is incomplete: keep what came, flagged."""
    if lost.key.proto != UDP or len(lost.data) < 16:
        return None
    sport, dport = struct.unpack_from(">HH", lost.data)
    data = lost.data[8:].lstrip(b"\r\n")
    if not looks_like_sip(data):
        return None
    return Payload(
        lost.frames[-1].ts,
        "udp",
        _address(lost.key.src),
        sport,
        _address(lost.key.dst),
        dport,
        data,
        lost.frames,
        lost.key.ident if lost.key.version == 4 else -1,
        lost.flags | FRAGMENTED | FRAGMENT_LOST | TRUNCATED,
    )


def _address(packed: bytes) -> str:
    return str(ip_address(packed))
