"""HEP of all versions: what agents write is read, what is hostile is refused, what is rebuilt says so."""

from __future__ import annotations

import gzip
import io
import struct
import subprocess
import zlib
from pathlib import Path

import dpkt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.careful import CarefulDecoder
from capture.decode import may_be_hep
from capture.flags import TUNNELLED
from capture.frames import Frame, Payload
from capture.hep import Captured, HepError, HepStream, looks_like_hep, parse_hep
from capture.hepframes import kept, rebuild, to_payload
from capture.pipeline import Decoder, from_payloads
from diagnose.local import LocalDesk
from index.archive import Archive
from index.columns import to_rows
from tests.capture.heppackets import MICROS, SECONDS, chunk, hep3, hep12
from tests.capture.test_fast_path import block
from tests.capture.wire import decode, ether, frame, ip4, ip6, ok, sip, udp

OPTIONS = sip("hep-1", method="OPTIONS")
TS = SECONDS * 1_000_000_000 + MICROS * 1000


def received(raw: bytes, now: int = 5) -> Payload | None:
    """What the receiver makes of a packet."""
    packet = parse_hep(raw)
    return to_payload(packet, (kept(raw, packet, now, "192.0.2.77", "192.0.2.5"),))


def message(raw: bytes) -> Payload:
    """The same where there must be one."""
    payload = received(raw)
    assert payload is not None
    return payload


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
        (b"HEP3\0\5", "says 5"),
        (hep3(OPTIONS, chunk(19, b"cut"))[:100], "says"),
        (b"\x1f\x8b\x08garbage", "inflated"),
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
    to_payload(found, (Frame(TS, 1, "eth0", 0, b""),))
    kept(packet, found, TS, "192.0.2.1", "::1")


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


@given(st.binary(max_size=12))
def test_the_fast_path_and_the_careful_one_agree_on_what_may_be_hep(start: bytes) -> None:
    for known in (b"HEP3", b"\x1f\x8b\x08", b"\1\x10\2", b"\1\x28\x0a", b"\2\x1c\2", b"\2\x34\x1e", b"\2\x10\x0a", b""):
        data = known + start + bytes(8)
        assert bool(may_be_hep(np.frombuffer(data, np.uint8), 0, len(data))) == looks_like_hep(data)


WIRE = {
    "UDP": (frame(ether(ip4(17, udp(hep3(OPTIONS, protocol=6), 50000, 9060)))), 0),
    "over IPv6": (frame(ether(ip6(17, udp(hep3(OPTIONS, protocol=6), 50000, 9060)))), 0),
    "squeezed": (frame(ether(ip4(17, udp(gzip.compress(hep3(OPTIONS, protocol=6)), 50000, 9060)))), 0),
    "version 2": (frame(ether(ip4(17, udp(hep12(OPTIONS, 2), 50000, 9060)))), 0),
    "in a tunnel": (frame(ether(ip4(4, ip4(17, udp(hep3(OPTIONS, protocol=6), 50000, 9060))))), TUNNELLED),
}


@pytest.mark.parametrize(("seen", "flags"), WIRE.values(), ids=WIRE)
def test_hep_that_goes_by_on_the_wire_is_read(seen: Frame, flags: int) -> None:
    (found,) = decode([seen])
    assert (found.data, found.src, found.dst, found.ts, found.flags) == (
        OPTIONS,
        "192.0.2.1",
        "198.51.100.2",
        TS,
        flags,
    )
    assert found.frames == (seen,), "the frame as it was on the wire"
    (fast,) = Decoder().feed(block(seen.data))
    assert fast.data[: int(fast.length[0])].tobytes() == OPTIONS
    assert decode([seen], CarefulDecoder(hep=False)) == []
    assert Decoder(hep=False).feed(block(seen.data)) == []


def test_hep_on_the_wire_that_holds_no_sip_is_counted_as_such() -> None:
    for raw in (hep3(b"{}", kind=5), b"HEP3garbage.", b"\2\x10\2garbage."):
        decoder = CarefulDecoder()
        assert decode([frame(ether(ip4(17, udp(raw, 50000, 9060))))], decoder) == []
        assert (decoder.counters["not_sip"], decoder.counters["unreadable"]) == (1, 0)


@pytest.mark.parametrize("agent", ["192.0.2.77", "2001:db8::77", "::ffff:192.0.2.77", "fe80::1%eth0"])
@pytest.mark.parametrize("here", ["192.0.2.5", "::", "2001:db8::5"])
def test_what_is_kept_says_the_same_again(agent: str, here: str) -> None:
    """As after a crash, when it is read back."""
    for raw in (
        hep3(OPTIONS, chunk(19, b"sbc-1"), protocol=22),
        hep12(OPTIONS, 1),
        hep3(b"A b SIP/2.0\r\n" + b"x" * 65_000),
    ):
        packet = parse_hep(raw)
        stored = kept(raw, packet, 5, agent, here)
        first = to_payload(packet, (stored,))
        assert first is not None
        (again,) = decode([stored])
        assert again == Payload(*(getattr(first, name) for name in first.__slots__[:8]), again.ip_id, first.flags)
        assert again.frames[0].interface in ("hep:sbc-1", "hep:0", "hep:2001")


def crc32c(data: bytes) -> int:
    """By division of polynomials (RFC 9260 appendix A), bit by bit from the first."""
    bits = [(byte >> n) & 1 for byte in data for n in range(8)] + [0] * 32
    rest = [bit ^ (at < 32) for at, bit in enumerate(bits)]
    polynomial = [int(c) for c in f"{0x11EDC6F41:b}"]
    for at in range(len(rest) - 32):
        if rest[at]:
            for n, bit in enumerate(polynomial):
                rest[at + n] ^= bit
    return sum((bit ^ 1) << n for n, bit in enumerate(rest[-32:]))


def test_the_reference_checksum_is_right() -> None:
    assert crc32c(b"123456789") == 0xE3069283


PAIRS = [("192.0.2.1", "198.51.100.2"), ("2001:db8::1", "2001:db8::2")]


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("protocol", [17, 6, 132])
def test_a_rebuilt_frame_is_a_valid_packet_of_its_transport(pair: tuple[str, str], protocol: int) -> None:
    (made,) = rebuild(message(hep3(OPTIONS, src=pair[0], dst=pair[1], protocol=protocol)).frames).frames
    packet = dpkt.ip.IP(made.data) if ":" not in pair[0] else dpkt.ip6.IP6(made.data)
    assert (packet.data.sport, packet.data.dport, packet.p if ":" not in pair[0] else packet.nxt) == (
        5060,
        5080,
        protocol,
    )
    (again,) = decode([made])
    assert (again.data, again.transport) == (OPTIONS, {17: "udp", 6: "tcp", 132: "sctp"}[protocol])
    if protocol == 132:
        at = made.data.index(struct.pack(">HHI", 5060, 5080, 1))
        head, check, chunks = made.data[at : at + 8], made.data[at + 8 : at + 12], made.data[at + 12 :]
        assert check == struct.pack("<I", crc32c(head + bytes(4) + chunks))
        return
    assert packet.data.data == OPTIONS
    other = type(packet)(bytes(packet))
    other.data.sum = 0
    if hasattr(other, "sum"):
        other.sum = 0
    assert bytes(other) == made.data, "the checksums are those that dpkt computes"


def test_frames_of_other_interfaces_and_of_earlier_versions_stay_as_they_are() -> None:
    plain = frame(ether(ip4(17, udp(OPTIONS))))
    early = Frame(TS, 101, "hep:7", 0, ip4(17, udp(OPTIONS)))
    odd = [Frame(TS, link, "hep:7", 0, data) for link in (1, 101) for data in (b"", b"\x45", bytes(60))]
    done = rebuild([plain, early, *odd])
    assert done.frames == [plain, early, *odd]
    assert done.comment == "Not captured, but rebuilt from what hep:7 sent in HEP"
    assert rebuild([plain]).comment == ""


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
    request = OPTIONS.replace(b"SIP/2.0/TCP", b"SIP/2.0/" + via.encode())
    assert message(hep3(request, protocol=protocol)).transport == expected


def test_a_message_carries_its_agent_and_its_time() -> None:
    payload = message(hep3(OPTIONS, chunk(19, b"sbc-1")))
    assert (payload.ts, payload.frames[0].interface, payload.frames[0].link_type) == (TS, "hep:sbc-1", 101)
    without_clock = message(hep12(OPTIONS, 1))
    assert (without_clock.ts, without_clock.frames[0].interface) == (5, "hep:0")


@pytest.mark.parametrize("kind", [5, 34, 100])
def test_what_is_no_sip_is_kept_apart(kind: int) -> None:
    assert received(hep3(OPTIONS, kind=kind)) is None


def exported(packets: list[bytes]) -> bytes:
    """The capture file of the only call in these packets."""
    archive = Archive(None, lambda: TS)
    block = from_payloads([message(p) for p in packets], np.arange(len(packets)))
    archive.add(to_rows(block, "node"))
    desk = LocalDesk(archive)
    capture = desk.pcap("hep-1")
    desk.close()
    return capture


def test_an_exported_capture_of_hep_says_that_it_was_rebuilt() -> None:
    capture = exported([hep3(OPTIONS, chunk(19, b"sbc-1"))])
    assert b"rebuilt from what hep:sbc-1 sent in HEP\0" in capture
    (packet,) = [data for _, data in dpkt.pcapng.Reader(io.BytesIO(capture))]
    assert dpkt.ip.IP(packet).data.data == OPTIONS


LONG = b"x" * 130_000


@pytest.mark.needs("tshark")
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize(
    ("number", "via", "port"),
    [(17, "UDP", 5060), (6, "TCP", 5060), (22, "TLS", 5061), (22, "WSS", 443), (132, "SCTP", 5060)],
)
def test_tshark_reads_the_call_in_an_exported_capture(
    number: int, via: str, port: int, pair: tuple[str, str], tmp_path: Path
) -> None:
    """Each message once, in order, in its transport; no gap, no retransmission, no bad checksum."""
    talk = [sip("hep-1", b"v=0\r\n"), ok("hep-1", b"v=0\r\n"), sip("hep-1", method="ACK"), sip("hep-1", method="BYE")]
    if number in (6, 22):
        talk[1] = ok("hep-1", LONG)
    talk = [
        m.replace(b"SIP/2.0/TCP", b"SIP/2.0/" + via.encode()).replace(
            b"OK\r\n", b"OK\r\nVia: SIP/2.0/" + via.encode() + b" h\r\n"
        )
        for m in talk
    ]
    packets = []
    for n, text in enumerate(talk):
        ends = pair if n != 1 else pair[::-1]
        ports = (40000, port) if n != 1 else (port, 40000)
        squeezed = len(text) > 60_000
        packets.append(hep3(text, src=ends[0], dst=ends[1], ports=ports, protocol=number, compress=squeezed, later=n))
    path = tmp_path / "call.pcapng"
    path.write_bytes(exported(packets))
    fields = ["_ws.col.protocol", "sip.Method", "sip.Status-Code", "tcp.analysis.flags", "_ws.expert.message"]
    checks = ["tcp.check_checksum", "udp.check_checksum", "ip.check_checksum"]
    command = [
        "tshark",
        "-r",
        str(path),
        "-Y",
        "sip",
        "-T",
        "fields",
        "-E",
        "separator=;",
        "-o",
        "sctp.checksum:CRC32C",
    ]
    command += [a for f in fields for a in ("-e", f)] + [a for c in checks for a in ("-o", f"{c}:TRUE")]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [line.split(";") for line in out]
    assert [r[1] or r[2] for r in rows] == ["INVITE", "200", "ACK", "BYE"]
    assert not [
        line for line in out if "hecksum" in line or "lost" in line or "etransmission" in line or "not captured" in line
    ]
    comment = subprocess.run(["capinfos", "-k", str(path)], capture_output=True, text=True, check=False).stdout
    if comment:
        assert ("came over" in comment) == (number == 22)
        assert number != 22 or f"messages that came over {via} are written as plain TCP" in comment
