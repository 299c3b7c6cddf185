"""HEP of all versions: what agents write is read, what is hostile is refused, what is rebuilt says so."""

from __future__ import annotations

import gzip
import io
import zlib

import dpkt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.hep import Captured, HepError, HepStream, parse_hep, rebuilt_packet, to_payload
from capture.pipeline import from_payloads
from diagnose.local import LocalDesk
from index.archive import Archive
from index.columns import to_rows
from tests.capture.heppackets import MICROS, SECONDS, chunk, hep3, hep12
from tests.capture.wire import sip

OPTIONS = sip("hep-1", method="OPTIONS")
TS = SECONDS * 1_000_000_000 + MICROS * 1000


def test_version_3_gives_every_generic_chunk() -> None:
    packet = parse_hep(hep3(OPTIONS, chunk(17, b"corr-1"), chunk(19, b"sbc-1"), chunk(14, b"secret")))
    assert packet == Captured(
        3, 17, "192.0.2.1", 5060, "198.51.100.2", 5080, TS, 1, 2001, "sbc-1", "corr-1", b"secret", OPTIONS
    )


def test_chunks_of_vendors_and_unknown_ones_are_skipped() -> None:
    packet = parse_hep(hep3(OPTIONS, chunk(15, b"not the payload", vendor=2), chunk(200, b"?"), chunk(19, b"n")))
    assert (packet.data, packet.node) == (OPTIONS, "n")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("pair", [("192.0.2.1", "198.51.100.2"), ("2001:db8::1", "2001:db8::2")])
def test_versions_1_and_2(version: int, pair: tuple[str, str]) -> None:
    packet = parse_hep(hep12(OPTIONS, version, src=pair[0], dst=pair[1]))
    assert (packet.src, packet.sport, packet.dst, packet.dport) == (pair[0], 5060, pair[1], 5080)
    assert (packet.ts, packet.agent) == ((TS, 7) if version == 2 else (0, 0))
    assert packet.data == OPTIONS


def test_version_2_in_either_byte_order_and_without_padding() -> None:
    assert parse_hep(hep12(OPTIONS, 2, ">")).ts == TS
    whole = hep12(OPTIONS, 2)
    assert parse_hep(whole[:26] + whole[28:]).data == OPTIONS


@pytest.mark.parametrize("squeeze", [zlib.compress, gzip.compress, lambda d: zlib.compress(d, wbits=-15)])
def test_compressed_payloads(squeeze: object) -> None:
    packet = hep3(b"", chunk(16, squeeze(OPTIONS)))  # type: ignore[operator]
    assert parse_hep(packet).data == OPTIONS


def test_a_payload_that_inflates_without_end_is_bounded() -> None:
    assert len(parse_hep(hep3(bytes(50_000_000), compress=True)).data) == 256 << 10


@pytest.mark.parametrize(
    ("packet", "words"),
    [
        (b"", "neither"),
        (b"HEP3", "cut short"),
        (b"HEP3\x00\x09abc", "without header"),
        (b"HEP3\xff\xff", "says 65535"),
        (hep3(OPTIONS)[:-1], "says"),
        (b"HEP3\x00\x0c\0\0\0\x01\0\x02", "length of 2"),
        (b"HEP3\x00\x0d\0\0\0\x0f\0\x07x", "no addresses"),
        (hep3(b""), "no payload"),
        (hep3(b"", chunk(16, b"garbage")), "inflated"),
        (hep12(OPTIONS, 1)[:15], "cut short"),
        (b"\x01\x20" + bytes(40), "neither"),
    ],
)
def test_what_is_no_hep_says_why(packet: bytes, words: str) -> None:
    with pytest.raises(HepError, match=words):
        parse_hep(packet)


@given(
    st.binary(max_size=80), st.integers(0, 200), st.sampled_from([hep3(OPTIONS), hep12(OPTIONS, 1), hep12(OPTIONS, 2)])
)
def test_hostile_bytes_give_a_packet_or_a_hep_error(junk: bytes, at: int, packet: bytes) -> None:
    try:
        found = parse_hep(packet[:at] + junk + packet[at + len(junk) :])
    except HepError:
        return
    to_payload(found, TS)


@given(
    st.lists(st.sampled_from([hep3(OPTIONS), hep3(b"x" * 300), hep3(OPTIONS, kind=100)]), max_size=6),
    st.integers(1, 97),
)
def test_a_stream_is_cut_the_same_however_it_arrives(packets: list[bytes], size: int) -> None:
    whole = b"".join(packets)
    stream = HepStream()
    assert [p for i in range(0, len(whole), size) for p in stream.feed(whole[i : i + size])] == packets
    assert stream.lost == 0


def test_a_stream_finds_the_next_packet_behind_junk_and_counts_the_junk() -> None:
    stream = HepStream()
    assert stream.feed(b"GET / HTTP/1.1\r\n\r\n" + hep3(OPTIONS) + b"HEP3\0\1" + hep3(OPTIONS)) == [hep3(OPTIONS)] * 2
    assert stream.lost == 18 + 6


@pytest.mark.parametrize("pair", [("192.0.2.1", "198.51.100.2"), ("2001:db8::1", "2001:db8::2")])
def test_a_rebuilt_frame_is_a_valid_packet(pair: tuple[str, str]) -> None:
    raw = rebuilt_packet(parse_hep(hep3(OPTIONS, src=pair[0], dst=pair[1])), OPTIONS)
    packet = dpkt.ip.IP(raw) if ":" not in pair[0] else dpkt.ip6.IP6(raw)
    assert (packet.data.sport, packet.data.dport, packet.data.data) == (5060, 5080, OPTIONS)
    again = type(packet)(bytes(packet))
    again.data.sum = 0
    if hasattr(again, "sum"):
        again.sum = 0
    assert bytes(again) == raw, "the checksums are those that dpkt computes"


@pytest.mark.parametrize(
    ("protocol", "via", "expected"),
    [
        (17, "UDP", "udp"),
        (6, "TCP", "tcp"),
        (132, "SCTP", "sctp"),
        (22, "TLS", "tls"),
        (22, "WSS", "wss"),
        (22, "TCP", "tls"),
    ],
)
def test_the_transport_is_the_one_on_the_wire(protocol: int, via: str, expected: str) -> None:
    message = OPTIONS.replace(b"SIP/2.0/TCP", b"SIP/2.0/" + via.encode())
    payload = to_payload(parse_hep(hep3(message, protocol=protocol)), 0)
    assert payload is not None
    assert payload.transport == expected


def test_a_message_carries_its_agent_and_its_time() -> None:
    payload = to_payload(parse_hep(hep3(OPTIONS, chunk(19, b"sbc-1"))), 5)
    assert payload is not None
    assert (payload.ts, payload.frames[0].interface, payload.frames[0].link_type) == (TS, "hep:sbc-1", 101)
    without_clock = to_payload(parse_hep(hep12(OPTIONS, 1)), 5)
    assert without_clock is not None
    assert (without_clock.ts, without_clock.frames[0].interface) == (5, "hep:0")


@pytest.mark.parametrize("kind", [5, 34, 100])
def test_what_is_no_sip_is_kept_apart(kind: int) -> None:
    assert to_payload(parse_hep(hep3(OPTIONS, kind=kind)), 0) is None


def test_an_exported_capture_of_hep_says_that_it_was_rebuilt() -> None:
    payloads = [to_payload(parse_hep(hep3(OPTIONS, chunk(19, b"sbc-1"))), 0)]
    archive = Archive(None, lambda: TS)
    block = from_payloads([p for p in payloads if p is not None], np.zeros(1, np.int64))
    archive.add(to_rows(block, "node"))
    desk = LocalDesk(archive)
    exported = desk.pcap("hep-1")
    assert b"rebuilt from what hep:sbc-1 sent in HEP" in exported
    (packet,) = [data for _, data in dpkt.pcapng.Reader(io.BytesIO(exported))]
    assert dpkt.ip.IP(packet).data.data == OPTIONS
    desk.close()
