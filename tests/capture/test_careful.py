"""The careful path as a whole: links, IP headers, UDP and SCTP, and that nothing raises or costs a neighbour."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture import links
from capture.careful import COUNTERS, CarefulDecoder
from capture.flags import TRUNCATED
from capture.frames import Frame
from capture.limits import Limits
from tests.capture.wire import (
    A6,
    B6,
    SECOND,
    A,
    B,
    decode,
    ether,
    frame,
    ip4,
    ip6,
    ip6_fragment,
    ok,
    sip,
    tcp,
    tcp_frame,
    texts,
    udp,
)

MESSAGE = sip("one", b"v=0\r\n")
PLAIN, PLAIN6 = ip4(17, udp(MESSAGE)), ip6(17, udp(MESSAGE))
NEIGHBOUR = frame(ether(ip4(17, udp(sip("neighbour")), src="192.0.2.9")))


def sll(packet: bytes, kind: int) -> bytes:
    return struct.pack(">HHH8sH", 0, 1, 6, b"", kind) + packet


def sll2(packet: bytes, kind: int) -> bytes:
    return struct.pack(">HHIHBB8s", kind, 0, 3, 1, 0, 6, b"") + packet


LINKS = {
    "Ethernet": (1, ether(PLAIN)),
    "Ethernet, IPv6": (1, ether(PLAIN6)),
    "SLL": (113, sll(PLAIN, 0x0800)),
    "SLL, VLAN": (113, sll(b"\0\5\x86\xdd" + PLAIN6, 0x8100)),
    "SLL2": (276, sll2(PLAIN, 0x0800)),
    "SLL2, IPv6": (276, sll2(PLAIN6, 0x86DD)),
    "NULL, little endian": (0, struct.pack("<I", 2) + PLAIN),
    "NULL, big endian": (0, struct.pack(">I", 2) + PLAIN),
    "NULL, IPv6 on Linux": (0, struct.pack("<I", 10) + PLAIN6),
    "NULL, IPv6 on macOS": (0, struct.pack("<I", 30) + PLAIN6),
    "LOOP": (108, struct.pack(">I", 24) + PLAIN6),
    "raw IP": (101, PLAIN),
    "raw IP, IPv6": (101, PLAIN6),
    "DLT_RAW": (12, PLAIN),
    "DLT_RAW on OpenBSD": (14, PLAIN),
    "IPv4 alone": (228, PLAIN),
    "IPv6 alone": (229, PLAIN6),
}


@pytest.mark.parametrize(("link", "data"), LINKS.values(), ids=LINKS)
def test_each_link_type_leads_to_its_packet(link: int, data: bytes) -> None:
    decoder = CarefulDecoder()
    seen = frame(data, link=link)
    (found,) = decode([seen], decoder)
    assert (found.data, found.transport, found.flags, found.frames) == (MESSAGE, "udp", 0, (seen,))
    assert (found.src, found.dst) in ((A, B), (A6, B6))
    assert link in links.SUPPORTED
    assert sum(decoder.counters.values()) == 0
    for end in range(len(data)):
        decode([frame(data[:end], link=link)], decoder)


def test_an_unknown_link_type_is_named() -> None:
    decoder = CarefulDecoder()
    assert texts(decode([frame(ether(PLAIN), link=147), NEIGHBOUR], decoder)) == [sip("neighbour")]
    assert decoder.unknown_links == {147}
    assert decoder.counters["unknown_link"] == 1
    with pytest.raises(links.UnknownLinkType, match=r"link type 147.*editcap") as error:
        links.network_layer(147, ether(PLAIN))
    assert error.value.exit_code == 3


def test_a_frame_that_is_no_ip_is_counted() -> None:
    decoder = CarefulDecoder()
    arp = frame(bytes(12) + b"\x08\x06" + bytes(28))
    spanning_tree = frame(bytes(12) + b"\0\x26" + b"\x42\x42\x03" + bytes(35))
    assert texts(decode([arp, spanning_tree, NEIGHBOUR], decoder)) == [sip("neighbour")]
    assert decoder.counters["not_sip"] == 2


# ---------------------------------------------------------------- IP


EXTENSIONS = {
    "hop by hop": ip6(0, bytes([17, 0]) + bytes(6) + udp(MESSAGE)),
    "destination, 16 bytes": ip6(60, bytes([17, 1]) + bytes(14) + udp(MESSAGE)),
    "routing and destination": ip6(43, bytes([60, 0]) + bytes(6) + bytes([17, 0]) + bytes(6) + udp(MESSAGE)),
    "authentication": ip6(51, bytes([17, 4]) + bytes(22) + udp(MESSAGE)),
    "mobility": ip6(135, bytes([17, 0]) + bytes(6) + udp(MESSAGE)),
}


@pytest.mark.parametrize("packet", EXTENSIONS.values(), ids=EXTENSIONS)
def test_extension_headers_are_stepped_over(packet: bytes) -> None:
    assert texts(decode([frame(ether(packet))])) == [MESSAGE]


def test_extension_headers_without_end_are_not_followed() -> None:
    chain = bytes([60, 0]) + bytes(6)
    decoder = CarefulDecoder()
    endless = frame(ether(ip6(60, chain * 2000)))
    assert texts(decode([endless, NEIGHBOUR], decoder)) == [sip("neighbour")]
    assert decoder.counters["unreadable"] + decoder.counters["not_sip"] == 1


def test_options_padding_and_offloaded_lengths() -> None:
    options = bytearray(ip4(17, b"\x01\x01\x01\x00" + udp(MESSAGE)))
    options[0] = 0x46
    padded = PLAIN + b"\0" * 18
    offloaded = bytearray(PLAIN)
    offloaded[2:4] = b"\0\0"
    for packet in (bytes(options), padded, bytes(offloaded)):
        (found,) = decode([frame(ether(packet))])
        assert (found.data, found.flags) == (MESSAGE, 0)
    jumbo = bytearray(PLAIN6)
    jumbo[4:6] = b"\0\0"
    assert texts(decode([frame(ether(bytes(jumbo)))])) == [MESSAGE]


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(PLAIN[:19], id="short"),
        pytest.param(b"\x43" + PLAIN[1:], id="header of 12 bytes"),
        pytest.param(PLAIN[:2] + b"\0\x05" + PLAIN[4:], id="total length of 5"),
        pytest.param(b"\x4f" + PLAIN[1:40], id="header longer than the packet"),
        pytest.param(PLAIN6[:39], id="short IPv6"),
        pytest.param(ip6(0, b"\x11"), id="short extension header"),
        pytest.param(ip4(17, b"\0\1\2"), id="short UDP"),
        pytest.param(ip4(6, b"\0\1\2"), id="short TCP"),
        pytest.param(ip4(132, b"\0\1\2"), id="short SCTP"),
    ],
)
def test_a_header_that_cannot_be_is_counted_as_unreadable(packet: bytes) -> None:
    decoder = CarefulDecoder()
    kind = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\0"
    assert texts(decode([frame(bytes(12) + kind + packet), NEIGHBOUR], decoder)) == [sip("neighbour")]
    assert decoder.counters["unreadable"] == 1


# ---------------------------------------------------------------- UDP


def test_a_snap_length_cuts_only_the_message_it_cuts() -> None:
    whole = ether(PLAIN)
    for kept in range(60, len(whole)):
        found = decode([Frame(10**18, 1, "eth0", len(whole), whole[:kept]), NEIGHBOUR])
        assert found[-1].data == sip("neighbour")
        if len(found) == 2:
            assert MESSAGE.startswith(found[0].data) and found[0].flags == TRUNCATED
    assert len(found) == 2


def test_a_udp_length_may_be_shorter_longer_or_missing() -> None:
    for length in (0, 4, 60_000):
        segment = bytearray(udp(MESSAGE))
        segment[4:6] = length.to_bytes(2, "big")
        (found,) = decode([frame(ether(ip4(17, bytes(segment))))])
        assert (found.data, found.flags) == (MESSAGE, 0)
    longer = bytearray(udp(MESSAGE + b"trailer"))
    longer[4:6] = (8 + len(MESSAGE)).to_bytes(2, "big")
    (found,) = decode([frame(ether(ip4(17, bytes(longer))))])
    assert (found.data, found.flags) == (MESSAGE, 0)


def test_line_ends_before_a_message_are_dropped_and_alone_are_no_message() -> None:
    decoder = CarefulDecoder()
    packets = [udp(b"\r\n\r\n" + MESSAGE), udp(b"\r\n\r\n"), udp(b"\0\0\0\0"), udp(b""), udp(b"jaK")]
    assert texts(decode([frame(ether(ip4(17, p))) for p in packets], decoder)) == [MESSAGE]
    assert decoder.counters["not_sip"] == 4


def test_any_port_may_carry_sip() -> None:
    (found,) = decode([frame(ether(ip4(17, udp(MESSAGE, 40001, 40002))))])
    assert (found.sport, found.dport, found.data) == (40001, 40002, MESSAGE)


# ---------------------------------------------------------------- SCTP


def sctp(*chunks: bytes, sport: int = 5060, dport: int = 5060) -> bytes:
    """RFC 9260 section 3: chunks are padded to four bytes."""
    return struct.pack(">HHII", sport, dport, 7, 0) + b"".join(c + bytes(-len(c) % 4) for c in chunks)


def data_chunk(payload: bytes, bits: int = 3) -> bytes:
    return struct.pack(">BBHIHHI", 0, bits, 16 + len(payload), 1, 0, 0, 0) + payload


def test_sctp_data_chunks() -> None:
    sack = struct.pack(">BBHIIHH", 3, 0, 16, 1, 65535, 0, 0)
    seen = frame(ether(ip4(132, sctp(sack, data_chunk(MESSAGE), data_chunk(ok("two", b"x"))))))
    found = decode([seen])
    assert [(p.data, p.transport, p.sport, p.frames) for p in found] == [
        (MESSAGE, "sctp", 5060, (seen,)),
        (ok("two", b"x"), "sctp", 5060, (seen,)),
    ]
    assert texts(decode([frame(ether(ip6(132, sctp(data_chunk(MESSAGE)))))])) == [MESSAGE]


def test_sctp_that_is_cut_or_lies_about_lengths() -> None:
    whole = ether(ip4(132, sctp(data_chunk(MESSAGE))))
    (found,) = decode([Frame(10**18, 1, "eth0", len(whole), whole[:-20])])
    assert found.flags == TRUNCATED and MESSAGE.startswith(found.data)
    empty = struct.pack(">BBH", 0, 3, 0)
    lying = frame(ether(ip4(132, sctp(empty, empty, data_chunk(MESSAGE)))))
    assert texts(decode([lying, NEIGHBOUR])) == [MESSAGE, sip("neighbour")]
    other = CarefulDecoder()
    assert decode([frame(ether(ip4(132, sctp(data_chunk(b"diameter!"), sport=3868, dport=3868))))], other) == []
    assert other.counters["not_sip"] == 1


# ---------------------------------------------------------------- hostile bytes


SEEDS = [
    ether(PLAIN, 0x8100, 0x88A8),
    ether(ip4(17, udp(MESSAGE)[:64], more=True)),
    ether(ip6_fragment(17, udp(MESSAGE)[:64], 1, 0, True)),
    ether(ip4(6, tcp(MESSAGE, 1))),
    ether(ip4(6, tcp(b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", 1, dport=8080))),
    ether(ip4(132, sctp(data_chunk(MESSAGE)))),
    ether(ip4(132, sctp(data_chunk(MESSAGE[:80], 2)))),
    ether(ip4(47, b"\x30\0\x88\xbe" + bytes(16) + ether(PLAIN))),
    ether(ip4(17, udp(b"\x08\0\0\0\0\0\x2a\0" + ether(PLAIN), 1, 4789))),
    ether(EXTENSIONS["routing and destination"]),
    ether(ip4(4, ip4(41, PLAIN6))),
]


@settings(max_examples=300)
@given(data=st.data())
def test_random_and_mutated_frames_never_raise_and_never_lose_a_neighbour(data: st.DataObject) -> None:
    decoder = CarefulDecoder(limits=Limits(datagrams=4, streams=4, segments=8, held_bytes=6000, fragment_bytes=6000))
    found, sent = [], 0
    for n in range(data.draw(st.integers(1, 6))):
        bent = bytearray(data.draw(st.one_of(st.sampled_from(SEEDS), st.binary(max_size=120))))
        if bent:
            places = st.integers(0, min(len(bent), 90) - 1)
            for place, value in data.draw(st.dictionaries(places, st.integers(0, 255), max_size=5)).items():
                bent[place] = value
            del bent[data.draw(st.integers(0, len(bent))) :]
        link = data.draw(st.sampled_from([1, 0, 101, 108, 113, 276, 147]))
        ts = n * data.draw(st.sampled_from([0, SECOND, 40 * SECOND]))
        found += decoder.feed(frame(bytes(bent), ts, link, original=len(bent) + data.draw(st.integers(0, 50))))
        near = decoder.feed(Frame(10**18 + ts, *_rest(NEIGHBOUR)))
        sent += [p.data for p in near].count(sip("neighbour"))
    found += decoder.flush()
    assert sent == n + 1
    assert decoder.pending_frames() == []
    assert set(decoder.counters) == set(COUNTERS) and min(decoder.counters.values()) >= 0
    for p in found:
        assert p.frames and 0 <= p.sport < 65536 and 0 <= p.dport < 65536


def _rest(f: Frame) -> tuple[int, str, int, bytes]:
    return f.link_type, f.interface, f.original, f.data


def test_pending_frames_are_those_of_all_open_reassembly_oldest_first() -> None:
    decoder = CarefulDecoder()
    stream = tcp_frame(MESSAGE[:50], 1, ts=1)
    fragment = frame(ether(ip4(17, udp(MESSAGE)[:64], more=True)), 2)
    other = frame(ether(ip4(6, tcp(MESSAGE[:50], 1, sport=41000))), 3)
    decode([stream, fragment, NEIGHBOUR, other], decoder)
    assert decoder.pending_frames() == [stream, fragment, other]
    rest = [tcp_frame(MESSAGE[50:], 51, ts=4), frame(ether(ip4(17, udp(MESSAGE)[64:], off=64)), 5)]
    assert texts(decode(rest, decoder)) == [MESSAGE, MESSAGE]
    assert decoder.pending_frames() == [other]
