"""The careful path: whatever the fast kernels leave (fragments, TCP, tunnels, odd links), one frame at a time, on dpkt.

Sans-IO: time comes with the frames. Hostile bytes are counted, never raised. It gives the same payloads as the fast path.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address

import dpkt
import numpy as np

from capture.decode import starts_sip
from capture.flags import FRAGMENT_LOST, FRAGMENTED, TRUNCATED, TUNNELLED
from capture.frames import Frame, Payload
from capture.ipfragments import Fragments
from capture.links import IPV4, IPV6, UnknownLinkType, Unreadable, network_layer
from capture.tcpstream import TcpStreams
from capture.tunnels import Inner, gre, inside_udp

MAX_DEPTH = 8
_NEXT = {0, 43, 44, 51, 60}
"""IPv6 extension headers (RFC 8200 section 4)."""


class CarefulDecoder:
    """Open fragments and streams of one capture."""

    def __init__(self, sip_ports: frozenset[int] = frozenset({5060, 5061, 5080})) -> None:
        self._ports = sip_ports
        self._fragments = Fragments()
        self._streams = TcpStreams(sip_ports)
        self.counters: dict[str, int] = dict.fromkeys(
            ("unreadable", "fragments_lost", "stream_gaps", "tunnels_too_deep", "not_sip", "evicted", "unknown_link"), 0)
        self.unknown_links: set[int] = set()

    def feed(self, frame: Frame) -> list[Payload]:
        """The messages that this frame completes."""
        out: list[Payload] = []
        try:
            kind, at = network_layer(frame.link_type, frame.data)
            found = self._packet(kind, frame.data[at:], frame, (frame,), 0, frame.original > len(frame.data), 0, out) if kind else False
            if not found:
                self.counters["not_sip"] += 1
        except UnknownLinkType:
            self.unknown_links.add(frame.link_type)
            self.counters["unknown_link"] += 1
        except (Unreadable, dpkt.Error, struct.error, IndexError, ValueError):
            self.counters["unreadable"] += 1
        out += self._expire(frame.ts)
        self.counters["stream_gaps"] = self._streams.gaps
        self.counters["evicted"] = self._streams.evicted
        return out

    def flush(self) -> list[Payload]:
        """At the end: what can still be read of open streams and fragments."""
        out = self._expire(None)
        for key, cut, frames in self._streams.flush():
            out.append(self._tcp_payload(key, cut.data, cut.flags, frames))
        self.counters["stream_gaps"] = self._streams.gaps
        return sorted(out, key=lambda p: p.ts)

    def pending_frames(self) -> list[Frame]:
        """Frames that open reassembly still needs, oldest first."""
        seen = {id(f): f for f in [*self._fragments.frames(), *self._streams.frames()]}
        return sorted(seen.values(), key=lambda f: f.ts)

    # Each step returns whether it may lead to SIP; a frame that leads nowhere is counted as not SIP.

    def _packet(self, kind: int, data: bytes, frame: Frame, frames: tuple[Frame, ...], flags: int, cut: bool, depth: int,
                out: list[Payload]) -> bool:
        if depth > MAX_DEPTH:
            self.counters["tunnels_too_deep"] += 1
            return False
        if kind == IPV4:
            if len(data) < 20 or data[0] >> 4 != 4:
                raise Unreadable("short IPv4 header")
            head = (data[0] & 15) * 4
            total, ident, off = struct.unpack(">HHH", data[2:8])
            total = total or len(data)
            if head < 20 or total < head:
                raise Unreadable("bad IPv4 length")
            src, dst = str(ip_address(data[12:16])), str(ip_address(data[16:20]))
            body = data[head:total]
            cut = cut and total > len(data)
            if off & 0x3FFF:
                return self._fragment((src, dst, ident, data[9], 4), (off & 0x1FFF) * 8, bool(off & 0x2000), body, frame, flags, depth, out)
            return self._transport(data[9], body, src, dst, ident, frame, frames, flags, cut, depth, out)
        if kind == IPV6:
            return self._ipv6(data, frame, frames, flags, cut, depth, out)
        return False

    def _ipv6(self, data: bytes, frame: Frame, frames: tuple[Frame, ...], flags: int, cut: bool, depth: int, out: list[Payload]) -> bool:
        if len(data) < 40 or data[0] >> 4 != 6:
            raise Unreadable("short IPv6 header")
        size = int.from_bytes(data[4:6], "big") or len(data) - 40
        src, dst = str(ip_address(data[8:24])), str(ip_address(data[24:40]))
        proto, at, end = data[6], 40, min(len(data), 40 + size)
        cut = cut and 40 + size > len(data)
        for _ in range(16):
            if proto not in _NEXT:
                break
            if at + 8 > end:
                raise Unreadable("short IPv6 extension header")
            if proto == 44:
                off = int.from_bytes(data[at + 2:at + 4], "big")
                ident = int.from_bytes(data[at + 4:at + 8], "big")
                if off & 0xFFF9:
                    return self._fragment((src, dst, ident, data[at], 6), off & 0xFFF8, bool(off & 1), data[at + 8:end], frame, flags, depth, out)
                proto, at = data[at], at + 8
            else:
                proto, at = data[at], at + ((data[at + 1] + 2) * 4 if proto == 51 else (data[at + 1] + 1) * 8)
        return self._transport(proto, data[at:end], src, dst, -1, frame, frames, flags, cut, depth, out)

    def _fragment(self, key: tuple[str, str, int, int, int], offset: int, more: bool, body: bytes, frame: Frame, flags: int, depth: int,
                  out: list[Payload]) -> bool:
        whole = self._fragments.add(key, offset, more, body, frame)
        if whole is None:
            return True
        data, frames = whole
        self._transport(key[3], data, key[0], key[1], key[2] if key[4] == 4 else -1, frame, frames, flags | FRAGMENTED, False, depth, out)
        return True

    def _transport(self, proto: int, body: bytes, src: str, dst: str, ident: int, frame: Frame, frames: tuple[Frame, ...], flags: int, cut: bool,
                   depth: int, out: list[Payload]) -> bool:
        if proto == 17:
            return self._udp(body, src, dst, ident, frame, frames, flags, cut, depth, out)
        if proto == 6:
            tcp = dpkt.tcp.TCP(body)
            key = (src, tcp.sport, dst, tcp.dport)
            for message, used in self._streams.segment(key, tcp.seq, tcp.flags, bytes(tcp.data), frame):
                out.append(self._tcp_payload(key, message.data, message.flags | flags, used))
            return bool(out) or tcp.sport in self._ports or tcp.dport in self._ports
        inner: Inner | None = None
        if proto in (4, 41):
            inner = Inner(IPV4 if proto == 4 else IPV6, body)
        elif proto == 47:
            inner = gre(body)
        if inner is None or not inner.kind:
            return False
        return self._packet(inner.kind, inner.data, frame, frames, flags | TUNNELLED, cut, depth + 1, out)

    def _udp(self, body: bytes, src: str, dst: str, ident: int, frame: Frame, frames: tuple[Frame, ...], flags: int, cut: bool, depth: int,
             out: list[Payload]) -> bool:
        if len(body) < 8:
            raise Unreadable("short UDP header")
        sport, dport, size = struct.unpack(">HHH", body[:6])
        data = body[8:size] if size >= 8 else body[8:]
        inner = inside_udp(sport, dport, data)
        if inner is not None and inner.kind:
            return self._packet(inner.kind, inner.data, frame, frames, flags | TUNNELLED, cut, depth + 1, out)
        data = data.lstrip(b"\r\n")
        if not looks_like_sip(data):
            return False
        out.append(Payload(frame.ts, "udp", src, sport, dst, dport, data, frames, ident, flags | (TRUNCATED if cut and size > len(body) else 0)))
        return True

    def _tcp_payload(self, key: tuple[str, int, str, int], data: bytes, flags: int, frames: tuple[Frame, ...]) -> Payload:
        return Payload(frames[-1].ts if frames else 0, "tcp", key[0], key[1], key[2], key[3], data, frames, -1, flags)

    def _expire(self, now: int | None) -> list[Payload]:
        out = []
        for key, start, frames in self._fragments.expired(now):
            self.counters["fragments_lost"] += 1
            data = start[8:].lstrip(b"\r\n")
            # The first fragment shows whose message is incomplete: keep what came, flagged.
            if key[3] == 17 and len(start) > 16 and looks_like_sip(data):
                sport, dport = struct.unpack(">HH", start[:4])
                out.append(Payload(frames[-1].ts, "udp", key[0], sport, key[1], dport, data, frames, key[2] if key[4] == 4 else -1,
                                   FRAGMENTED | FRAGMENT_LOST | TRUNCATED))
        return out


def looks_like_sip(data: bytes) -> bool:
    """Whether a payload begins with a SIP start line."""
    return bool(data) and bool(starts_sip(np.frombuffer(data, np.uint8), 0, len(data)))
