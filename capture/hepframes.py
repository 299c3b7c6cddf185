"""Frames that stand for packets nobody captured: what an agent sent in HEP, as it is kept and as it is handed out.

Kept is the HEP packet itself in a made UDP packet, so that nothing which the agent said is lost, and a capture file
of it says the same again. Handed out are frames in the transport that its chunks name, readable by any tool.
"""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address

from capture.flags import TRUNCATED
from capture.frames import Frame, Payload
from capture.hep import SIP, Captured, HepError, looks_like_hep, parse_hep
from capture.links import IPV4, IPV6, UnknownLinkType, Unreadable, network_layer
from capture.sipstream import looks_like_sip
from sip.address import parse_via
from sip.errors import Unreachable
from sip.text import text_of

LINKTYPE_RAW = 101
PREFIX = "hep:"
"""What interface names of frames begin with that came over HEP."""
PORT = 9060
UDP, TCP, SCTP = 17, 6, 132
LEAVES_OPEN = {TCP: "tcp", 22: "tls", 50: "ws"}
"""Protocol numbers that say no more than "a connection", and what is meant where the Via says nothing either.

Kamailio writes 22 (XNS IDP) for TLS; so does OpenSIPS, and 50 (ESP) for WS and WSS. FreeSWITCH writes 6 for WS and WSS,
Asterisk for TLS too."""
_VIA = re.compile(rb"\n(?:via|v)[ \t]*:([^\r\n]*)", re.IGNORECASE)
_OVER_TCP = ("tls", "ws", "wss")
_MOST = 65_535
_SEGMENT = 60_000
"""Bytes of a message in one made packet; longer ones take several where the transport can cut."""


def transport_of(packet: Captured) -> str:
    """udp, tcp, tls, ws, wss or sctp; what the number leaves open stands in the message's top Via."""
    if packet.protocol not in LEAVES_OPEN:
        return "sctp" if packet.protocol == SCTP else "udp"
    found = _VIA.search(packet.data, 0, 4096)
    via = parse_via(text_of(found[1]).strip()) if found else None
    said = via.transport.lower() if via is not None else ""
    return said if said in _OVER_TCP else LEAVES_OPEN[packet.protocol]


def interface_of(packet: Captured) -> str:
    """How the agent is named in lists: 'hep:' and its node name, or its number."""
    return f"{PREFIX}{packet.node or packet.agent}"


def to_payload(packet: Captured, frames: tuple[Frame, ...], ip_id: int = -1, flags: int = 0) -> Payload | None:
    """The SIP message of a packet that came in these frames; None where it holds no SIP.

    Where the agent gave no time, the time is that of the last frame."""
    data = packet.data.lstrip(b"\r\n\0")
    if packet.kind != SIP or not looks_like_sip(data):
        return None
    places = packet.src, packet.sport, packet.dst, packet.dport
    flags |= TRUNCATED if packet.cut else 0
    return Payload(packet.ts or frames[-1].ts, transport_of(packet), *places, data, frames, ip_id, flags)


def kept(raw: bytes, packet: Captured, received: int, agent: str, here: str) -> Frame:
    """The frame that is kept of a HEP packet: `raw`, as if it had come in one UDP packet from `agent` to `here`."""
    data = _ip(UDP, *_same_family(agent, here), _udp(PORT, PORT, raw))
    return Frame(packet.ts or received, LINKTYPE_RAW, interface_of(packet), len(data), data)


def correlation_in(link: int, data: bytes) -> str:
    """The correlation id of a frame that holds a HEP packet, kept or as it went by; '' of all others."""
    try:
        kind, at = network_layer(link, data)
        if kind == IPV4 and data[at + 9] == UDP:
            at += (data[at] & 15) * 4 + 8
        elif kind == IPV6 and data[at + 6] == UDP:
            at += 48
        else:
            return ""
        return parse_hep(data[at:]).correlation if looks_like_hep(data[at : at + 64]) else ""
    except (HepError, Unreachable, Unreadable, UnknownLinkType, IndexError):
        return ""


@dataclass(slots=True)
class Rebuilt:
    """Frames made from what agents said, and what the reader must know of them."""

    frames: list[Frame] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)
    encrypted: set[str] = field(default_factory=set)
    """Transports (tls, ws, wss) whose messages stand in plain TCP now."""

    @property
    def comment(self) -> str:
        """For the capture file; '' where every frame was captured."""
        if not self.agents:
            return ""
        text = f"Not captured, but rebuilt from what {', '.join(sorted(self.agents))} sent in HEP"
        names = ", ".join(name.upper() for name in sorted(self.encrypted))
        return text + (f"; messages that came over {names} are written as plain TCP" if names else "")


def rebuild(frames: Iterable[Frame]) -> Rebuilt:
    """Replace what is kept of HEP packets by frames in the messages' own transport; other frames stay as they are.

    TCP and SCTP numbers go on from message to message in each direction, and acknowledge those of the other one."""
    out = Rebuilt()
    sent: dict[tuple[str, int, str, int], int] = defaultdict(int)
    for frame in frames:
        if not frame.interface.startswith(PREFIX):
            out.frames.append(frame)
            continue
        out.agents.add(frame.interface)
        packet = _unkept(frame)
        if packet is None:  # kept by an earlier version: SIP in UDP already
            out.frames.append(frame)
            continue
        transport = transport_of(packet)
        if transport in _OVER_TCP:
            out.encrypted.add(transport)
        way, back = (
            (packet.src, packet.sport, packet.dst, packet.dport),
            (packet.dst, packet.dport, packet.src, packet.sport),
        )
        data = packet.data.lstrip(b"\r\n\0")
        for made in _packets(transport, packet, data, sent[way], sent[back]):
            out.frames.append(Frame(frame.ts, LINKTYPE_RAW, frame.interface, len(made), made))
        sent[way] += 1 if transport == "sctp" else len(data)
    return out


def _unkept(frame: Frame) -> Captured | None:
    at = 28 if frame.data[:1] and frame.data[0] >> 4 == 4 else 48
    if frame.link_type != LINKTYPE_RAW:
        return None
    try:
        return parse_hep(frame.data[at:])
    except HepError:
        return None


def _packets(transport: str, packet: Captured, data: bytes, sent: int, answered: int) -> list[bytes]:
    """IP packets with a message in the transport; `sent` and `answered` are the bytes (or chunks) before it."""
    ends = packet.src, packet.dst
    ports = packet.sport, packet.dport
    if transport == "udp":
        return [_ip(UDP, *ends, _udp(*ports, data[: _MOST - 28]))]
    pieces = [data[at : at + _SEGMENT] for at in range(0, max(1, len(data)), _SEGMENT)]
    if transport == "sctp":
        return [_ip(SCTP, *ends, _sctp(*ports, sent, pieces[0]))]
    return [
        _ip(TCP, *ends, _tcp(*ports, 1 + sent + n * _SEGMENT, 1 + answered, piece)) for n, piece in enumerate(pieces)
    ]


def _udp(sport: int, dport: int, data: bytes) -> bytes:
    size = len(data) + 8
    return struct.pack(">HHHH", sport, dport, size if size <= _MOST else 0, 0) + data


def _tcp(sport: int, dport: int, number: int, acknowledged: int, data: bytes) -> bytes:
    head = (sport, dport, number & 0xFFFFFFFF, acknowledged & 0xFFFFFFFF, 0x5018, _MOST, 0, 0)
    return struct.pack(">HHIIHHHH", *head) + data


def _sctp(sport: int, dport: int, chunks: int, data: bytes) -> bytes:
    """One DATA chunk that is a whole message (RFC 9260 section 3.3.1)."""
    chunk = struct.pack(">BBHIHHI", 0, 3, len(data) + 16, (chunks + 1) & 0xFFFFFFFF, 0, chunks & 0xFFFF, 0) + data
    chunk += bytes(-len(chunk) % 4)
    head = struct.pack(">HHI", sport, dport, 1)
    return head + struct.pack("<I", _crc32c(head + bytes(4) + chunk)) + chunk


def _same_family(agent: str, here: str) -> tuple[str, str]:
    """Two addresses for one header: a dual-stack socket names IPv4 hosts in IPv6."""
    a, b = ip_address(agent.partition("%")[0]), ip_address(here.partition("%")[0])
    return (str(a), str(b)) if a.version == b.version else (str(a), str(a))


def _ip(protocol: int, src: str, dst: str, body: bytes) -> bytes:
    """An IP packet around a transport's; checksums are right, but for SCTP's own, which is there already.

    What is longer than its length field says has length 0, as packets of segmentation offload have."""
    a, b = ip_address(src).packed, ip_address(dst).packed
    if protocol != SCTP:
        at = 6 if protocol == UDP else 16
        check = _checksum(a + b + struct.pack(">II", len(body), protocol) + body)
        body = body[:at] + (check or 0xFFFF).to_bytes(2, "big") + body[at + 2 :]
    if len(a) == 16:
        size = len(body) if len(body) <= _MOST else 0
        return struct.pack(">IHBB", 6 << 28, size, protocol, 64) + a + b + body
    size = len(body) + 20 if len(body) + 20 <= _MOST else 0
    ip = struct.pack(">BBHHHBB", 0x45, 0, size, 0, 0x4000, 64, protocol)
    return ip + _checksum(ip + b"\0\0" + a + b).to_bytes(2, "big") + a + b + body


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) & 1)
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _crc32c(data: bytes) -> int:
    """SCTP's checksum (RFC 9260 appendix A)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
