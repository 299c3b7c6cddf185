"""Packets inside packets: every tunnel's own header is stepped over, and nesting has an end."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.careful import CarefulDecoder
from capture.flags import FRAGMENTED, TUNNELLED
from capture.frames import Frame
from capture.limits import Limits
from tests.capture.wire import A6, B6, A, B, decode, ether, frame, ip4, ip6, sip, tcp, texts, udp

MESSAGE = sip("inner")
PLAIN = ip4(17, udp(MESSAGE))
PLAIN6 = ip6(17, udp(MESSAGE))
OUTER = {"src": "192.0.2.1", "dst": "192.0.2.2"}
NEIGHBOUR = frame(ether(ip4(17, udp(sip("neighbour")), src="192.0.2.9")))


def gre(body: bytes, kind: int = 0x0800, bits: int = 0, options: bytes = b"") -> bytes:
    """GRE (RFC 2784, RFC 2890)."""
    return struct.pack(">HH", bits, kind) + options + body


def erspan(body: bytes) -> bytes:
    """ERSPAN type II: GRE with a sequence number, then 8 bytes."""
    return gre(b"\x10\x05\0\0\0\0\0\0" + body, 0x88BE, 0x1000, b"\0\0\0\7")


def erspan3(body: bytes, more: bytes = b"") -> bytes:
    """ERSPAN type III: 12 bytes, and 8 more when the last bit says so."""
    return gre(b"\x20\x05\0\0" + bytes(7) + (b"\1" if more else b"\0") + more + body, 0x22EB, 0x1000, b"\0\0\0\7")


def vxlan(body: bytes) -> bytes:
    return udp(b"\x08\0\0\0\0\0\x2a\0" + body, 50000, 4789)


def geneve(body: bytes, kind: int = 0x6558, options: bytes = b"") -> bytes:
    return udp(struct.pack(">BBHI", len(options) // 4, 0, kind, 0x2A00) + options + body, 50000, 6081)


def gtp(body: bytes, bits: int = 0, extra: bytes = b"", sport: int = 2152) -> bytes:
    return udp(struct.pack(">BBHI", 0x30 | bits, 255, len(extra + body), 1) + extra + body, sport, 2152)


def l2tp(body: bytes, bits: int = 0, head: bytes = b"") -> bytes:
    return udp(struct.pack(">H", bits | 2) + head + struct.pack(">HH", 1, 1) + _tail(bits) + body, 1701, 1701)


def _tail(bits: int) -> bytes:
    return (b"\0\1\0\2" if bits & 0x0800 else b"") + (b"\0\3pad" if bits & 0x0200 else b"")


def mpls(body: bytes, *labels: int) -> bytes:
    """A label stack (RFC 3032); the last one has the bottom bit."""
    ends = [0] * (len(labels) - 1) + [1]
    return b"".join(struct.pack(">I", n << 12 | end << 8 | 64) for n, end in zip(labels, ends, strict=True)) + body


def raw(kind: int, body: bytes) -> Frame:
    """An Ethernet frame of some type."""
    return frame(bytes(12) + struct.pack(">H", kind) + body)


def over(proto: int, body: bytes) -> Frame:
    return frame(ether(ip4(proto, body, **OUTER)))  # type: ignore[arg-type]


PPP4 = b"\xff\x03\0\x21" + PLAIN
TUNNELS = {
    "IP in IP": over(4, PLAIN),
    "IPv6 in IP (6in4)": over(41, PLAIN6),
    "IP in IPv6": frame(ether(ip6(4, PLAIN, src="2001:db8::a", dst="2001:db8::b"))),
    "IPv6 in IPv6": frame(ether(ip6(41, PLAIN6, src="2001:db8::a", dst="2001:db8::b"))),
    "GRE": over(47, gre(PLAIN)),
    "GRE with IPv6": over(47, gre(PLAIN6, 0x86DD)),
    "GRE with checksum, key, sequence": over(47, gre(PLAIN, bits=0xB000, options=bytes(12))),
    "GRE with a key": over(47, gre(PLAIN, bits=0x2000, options=bytes(4))),
    "GRE with Ethernet": over(47, gre(ether(PLAIN), 0x6558)),
    "GRE with a VLAN in it": over(47, gre(ether(PLAIN, 0x8100), 0x6558)),
    "GRE with MPLS": over(47, gre(mpls(PLAIN, 5), 0x8847)),
    "GRE with PPP": over(47, gre(PPP4, 0x880B)),
    "PPTP": over(47, gre(PPP4, 0x880B, 0x3001, bytes(8))),
    "PPTP with acknowledgement": over(47, gre(PPP4, 0x880B, 0x3081, bytes(12))),
    "PPTP, compressed PPP header": over(47, gre(b"\x21" + PLAIN, 0x880B, 0x2001, bytes(4))),
    "ERSPAN I": over(47, gre(ether(PLAIN), 0x88BE)),
    "ERSPAN II": over(47, erspan(ether(PLAIN))),
    "ERSPAN III": over(47, erspan3(ether(PLAIN))),
    "ERSPAN III with subheader": over(47, erspan3(ether(PLAIN), bytes(8))),
    "VXLAN": over(17, vxlan(ether(PLAIN))),
    "VXLAN with a VLAN in it": over(17, vxlan(ether(PLAIN, 0x8100))),
    "VXLAN over IPv6": frame(ether(ip6(17, vxlan(ether(PLAIN))))),
    "GENEVE": over(17, geneve(ether(PLAIN))),
    "GENEVE with options": over(17, geneve(ether(PLAIN), options=bytes(12))),
    "GENEVE with IP": over(17, geneve(PLAIN, 0x0800)),
    "GTP-U": over(17, gtp(PLAIN)),
    "GTP-U with IPv6": over(17, gtp(PLAIN6)),
    "GTP-U with a sequence number": over(17, gtp(PLAIN, 2, b"\0\1\0\0")),
    "GTP-U with extension headers": over(17, gtp(PLAIN, 4, b"\0\0\0\x85\1\x10\0\x85\2" + bytes(6) + b"\0")),
    "GTP-U from another port": over(17, gtp(PLAIN, sport=33333)),
    "L2TP": over(17, l2tp(PPP4)),
    "L2TP with length": over(17, l2tp(PPP4, 0x4000, b"\0\x99")),
    "L2TP with sequence and offset": over(17, l2tp(PPP4, 0x0A00)),
    "MPLS in IP": over(137, mpls(PLAIN, 7)),
}
LINKS = {
    "VLAN": frame(ether(PLAIN, 0x8100)),
    "QinQ": frame(ether(PLAIN, 0x88A8, 0x8100)),
    "old QinQ": frame(ether(PLAIN, 0x9100, 0x8100)),
    "PPPoE": raw(0x8864, b"\x11\0\0\1" + struct.pack(">H", len(PLAIN) + 2) + b"\0\x21" + PLAIN),
    "PPPoE with IPv6": raw(0x8864, b"\x11\0\0\1" + struct.pack(">H", len(PLAIN6) + 2) + b"\0\x57" + PLAIN6),
    "MPLS": raw(0x8847, mpls(PLAIN, 16)),
    "MPLS, three labels": raw(0x8847, mpls(PLAIN6, 16, 17, 18)),
    "MPLS multicast": raw(0x8848, mpls(PLAIN, 16)),
    "Ethernet over MPLS with a control word": raw(0x8847, mpls(b"\0\0\0\1" + ether(PLAIN), 16)),
    "LLC/SNAP": frame(bytes(12) + struct.pack(">H", len(PLAIN) + 8) + b"\xaa\xaa\x03\0\0\0\x08\0" + PLAIN),
}


@pytest.mark.parametrize(("name", "outer"), [*TUNNELS.items(), *LINKS.items()])
def test_the_inner_message_is_found(name: str, outer: Frame) -> None:
    decoder = CarefulDecoder()
    (found,) = decode([outer], decoder)
    assert found.data == MESSAGE
    assert (found.src, found.dst) in ((A, B), (A6, B6)), "addresses are those of the inner packet"
    assert (found.sport, found.dport, found.transport) == (5060, 5060, "udp")
    assert found.frames == (outer,), "the frame as it was on the wire"
    assert found.flags == (TUNNELLED if name in TUNNELS else 0)
    assert sum(decoder.counters.values()) == 0


@pytest.mark.parametrize("outer", [*TUNNELS.values(), *LINKS.values()], ids=[*TUNNELS, *LINKS])
def test_cut_anywhere_a_tunnel_never_raises_and_costs_no_neighbour(outer: Frame) -> None:
    for end in range(len(outer.data)):
        decoder = CarefulDecoder()
        cut = Frame(outer.ts, outer.link_type, outer.interface, outer.original, outer.data[:end])
        found = decode([cut, NEIGHBOUR], decoder, flush=True)
        assert found[-1].data == sip("neighbour")
        assert all(MESSAGE.startswith(p.data) for p in found[:-1])
        counted = decoder.counters["unreadable"] + decoder.counters["not_sip"]
        assert len(found) == 2 or counted == 1, "what shows no message is counted, once"


@pytest.mark.parametrize("outer", [*TUNNELS.values(), *LINKS.values()], ids=[*TUNNELS, *LINKS])
@settings(max_examples=30)
@given(data=st.data())
def test_changed_anywhere_a_tunnel_never_raises_and_costs_no_neighbour(outer: Frame, data: st.DataObject) -> None:
    bent = bytearray(outer.data)
    for place, value in data.draw(
        st.dictionaries(st.integers(0, min(120, len(bent) - 1)), st.integers(0, 255), max_size=6)
    ).items():
        bent[place] = value
    found = decode([frame(bytes(bent)), NEIGHBOUR], flush=True)
    assert sip("neighbour") in texts(found)


NESTING: dict[str, Callable[[bytes], bytes]] = {
    "IP in IP": lambda packet: ip4(4, packet),
    "GRE": lambda packet: ip4(47, gre(packet)),
    "VXLAN": lambda packet: ip4(17, vxlan(ether(packet))),
    "GTP-U": lambda packet: ip4(17, gtp(packet)),
}


@pytest.mark.parametrize("wrap", NESTING.values(), ids=NESTING)
def test_nested_as_deep_as_allowed_and_no_deeper(wrap: Callable[[bytes], bytes]) -> None:
    decoder = CarefulDecoder(limits=Limits(depth=8))
    packet = PLAIN
    for _ in range(8):
        packet = wrap(packet)
    assert texts(decode([frame(ether(packet))], decoder)) == [MESSAGE]
    assert decoder.counters["tunnels_too_deep"] == 0
    assert texts(decode([frame(ether(wrap(packet))), NEIGHBOUR], decoder)) == [sip("neighbour")]
    assert decoder.counters["tunnels_too_deep"] == 1
    for _ in range(300):
        packet = ip4(4, packet)[:65_000]
    assert texts(decode([frame(ether(packet)), NEIGHBOUR], decoder)) == [sip("neighbour")]
    assert decoder.counters["tunnels_too_deep"] == 2


def test_fragments_inside_a_tunnel_and_a_tunnel_in_fragments() -> None:
    data = udp(sip("big", b"x" * 400))
    inside = [over(47, gre(ip4(17, data[:200], more=True))), over(47, gre(ip4(17, data[200:], off=200)))]
    (found,) = decode(inside)
    assert (found.data, found.flags, found.frames) == (data[8:], TUNNELLED | FRAGMENTED, tuple(inside))
    packet = gre(ip4(17, data))
    around = [
        frame(ether(ip4(47, packet[:240], more=True))),
        frame(ether(ip4(47, packet[240:], off=240))),
    ]
    (found,) = decode(around)
    assert (found.data, found.flags, found.frames) == (data[8:], TUNNELLED | FRAGMENTED, tuple(around))


def test_a_stream_inside_a_tunnel() -> None:
    message = sip("stream", b"y" * 100)
    frames = [over(17, vxlan(ether(ip4(6, tcp(message[a:b], 1 + a))))) for a, b in ((0, 90), (90, len(message)))]
    (found,) = decode(frames)
    assert (found.data, found.flags, found.transport) == (message, TUNNELLED, "tcp")
    assert found.frames == tuple(frames)


NOT_TUNNELS = {
    "GTP-U echo": over(17, udp(b"\x32\x01\0\4\0\0\0\0\0\1\0\0", 2152, 2152)),
    "GTP-U end marker": over(17, udp(b"\x30\xfe\0\0\0\0\0\1" + PLAIN, 2152, 2152)),
    "GTP-U, an extension header without length": over(17, gtp(PLAIN, 4, b"\0\0\0\x85" + bytes(4))),
    "L2TP version 3": over(17, udp(struct.pack(">HHH", 3, 1, 1) + PPP4, 1701, 1701)),
    "GTP version 2": over(17, udp(b"\x48\xff" + bytes(6) + PLAIN, 2152, 2152)),
    "L2TP control": over(17, udp(struct.pack(">HHHHHH", 0xC802, 12, 1, 1, 0, 0), 1701, 1701)),
    "VXLAN without its flag": over(17, udp(bytes(8) + ether(PLAIN), 50000, 4789)),
    "GRE version 3": over(47, gre(PLAIN, bits=3)),
    "GRE with routing": over(47, gre(PLAIN, bits=0x4000)),
    "GRE with CDP": over(47, gre(b"\2\xb4", 0x2000)),
    "GENEVE version 1": over(17, udp(b"\x40\0\x65\x58" + bytes(4) + ether(PLAIN), 50000, 6081)),
    "PPP with LCP": over(47, gre(b"\xff\x03\xc0\x21\1\1\0\4", 0x880B)),
    "ESP": over(50, bytes(40)),
}


@pytest.mark.parametrize("outer", NOT_TUNNELS.values(), ids=NOT_TUNNELS)
def test_what_carries_no_packet_is_counted_as_not_sip(outer: Frame) -> None:
    decoder = CarefulDecoder()
    assert decode([outer], decoder) == []
    assert decoder.counters["not_sip"] == 1
    assert decoder.counters["unreadable"] == 0
