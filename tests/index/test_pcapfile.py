"""Capture files that give every frame back byte for byte, with its nanoseconds, to our readers and to everybody's."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.frames import Frame
from index.pcapfile import write_capture

T = 1_767_607_200_123_456_789
ETHERNET, RAW, SLL2 = 1, 101, 276
SIP = b"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n"


def udp(payload: bytes = SIP) -> bytes:
    datagram = dpkt.udp.UDP(sport=5060, dport=5060, data=payload, ulen=len(payload) + 8)
    return bytes(dpkt.ip.IP(src=b"\xc0\x00\x02\x01", dst=b"\xc0\x00\x02\x02", p=17, id=9, data=datagram))


def on_link(link: int) -> bytes:
    heads = {ETHERNET: bytes(12) + b"\x08\x00", RAW: b"", SLL2: b"\x08\x00" + bytes(18)}
    return heads[link] + udp()


def frame(link: int = ETHERNET, ts: int = T, interface: str = "eth0", data: bytes | None = None, cut: int = 0) -> Frame:
    data = on_link(link) if data is None else data
    return Frame(ts, link, interface, len(data) + cut, data)


def read_pcap(written: bytes) -> tuple[int, list[tuple[int, int, bytes]]]:
    """Link type, and (ns, original length, data) of each frame: by the letter of the format, without any library."""
    assert written[:4] == b"\x4d\x3c\xb2\xa1", "little-endian, nanoseconds"
    link, at, out = int.from_bytes(written[20:24], "little"), 24, []
    while at < len(written):
        seconds, ns, size, original = (int.from_bytes(written[at + i : at + i + 4], "little") for i in (0, 4, 8, 12))
        out.append((seconds * 10**9 + ns, original, written[at + 16 : at + 16 + size]))
        at += 16 + size
    return link, out


def read_pcapng(written: bytes) -> list[tuple[str, int, int, int, bytes]]:
    """(interface, link type, ns, original length, data) of each frame."""
    out: list[tuple[str, int, int, int, bytes]] = []
    interfaces: list[tuple[str, int]] = []
    at = 0
    while at < len(written):
        kind, size = (int.from_bytes(written[at + i : at + i + 4], "little") for i in (0, 4))
        assert size % 4 == 0 and written[at + size - 4 : at + size] == written[at + 4 : at + 8]
        body = written[at + 8 : at + size - 4]
        word = [int.from_bytes(body[i : i + 4], "little") for i in range(0, 20, 4)]
        if kind == 1:
            options = dict(_options(body[8:]))
            assert options[9] == b"\x09", "nanoseconds"
            interfaces.append((options[2].decode(), word[0] & 0xFFFF))
        elif kind == 6:
            name, link = interfaces[word[0]]
            out.append((name, link, word[1] << 32 | word[2], word[4], body[20 : 20 + word[3]]))
        at += size
    assert at == len(written)
    return out


def _options(rest: bytes) -> list[tuple[int, bytes]]:
    out = []
    while rest:
        code, size = int.from_bytes(rest[:2], "little"), int.from_bytes(rest[2:4], "little")
        if code:
            out.append((code, rest[4 : 4 + size]))
        rest = rest[4 + (size + 3) // 4 * 4 :]
    return out


@pytest.mark.parametrize("link", [ETHERNET, RAW, SLL2])
def test_one_link_type_is_a_pcap(link: int) -> None:
    frames = [frame(link), frame(link, T + 1, "eth1", b"\x00", cut=99), frame(link, T + 2, data=b"")]
    assert read_pcap(write_capture(frames)) == (link, [(f.ts, f.original, f.data) for f in frames])


def test_several_link_types_are_a_pcapng() -> None:
    frames = [frame(ETHERNET), frame(SLL2, T + 1, "any"), frame(RAW, T + 2, "tun0"), frame(ETHERNET, T + 3, "eth0")]
    written = write_capture(frames)
    assert written[:4] == b"\x0a\x0d\x0d\x0a"
    assert read_pcapng(written) == [(f.interface, f.link_type, f.ts, f.original, f.data) for f in frames]
    assert written.count(b"eth0") == 1, "one description an interface"


def test_a_clock_beyond_32_bits_of_seconds() -> None:
    edge = 2**32 * 10**9
    assert read_pcap(write_capture([frame(ts=edge - 1)]))[1][0][0] == edge - 1
    assert read_pcapng(write_capture([frame(ts=edge)]))[0][2] == edge


def test_nothing_is_an_empty_pcap() -> None:
    assert read_pcap(write_capture([])) == (1, [])


def test_a_length_smaller_than_the_frame_is_mended() -> None:
    """A reader would reject a frame of which more was captured than there was."""
    assert read_pcap(write_capture([Frame(T, 1, "x", 3, b"12345")]))[1] == [(T, 5, b"12345")]


@pytest.mark.parametrize("text", ["why: a \x00 \x1b comment", "ä" * 40_000, "\ud800", "x"])
def test_comments_of_any_kind(text: str) -> None:
    written = write_capture([frame()], text)
    assert read_pcapng(written)[0][4] == on_link(ETHERNET)
    comment = dict(_options(written[24 : int.from_bytes(written[4:8], "little") - 4]))[1]
    assert comment and text.encode("utf-8", "replace").startswith(comment)
    comment.decode()


def test_long_interface_names_end_with_a_whole_character() -> None:
    name = read_pcapng(write_capture([frame(interface="é" * 200)], "c"))[0][0]
    assert name == "é" * 127


_frames = st.lists(
    st.builds(
        lambda ts, link, name, data, cut: Frame(ts, link, name, len(data) + cut, data),
        st.integers(0, 2**62),
        st.sampled_from([ETHERNET, RAW, SLL2]),
        st.sampled_from(["", "eth0", "wlan0"]),
        st.binary(max_size=50),
        st.integers(0, 2000),
    ),
    max_size=6,
)


@given(_frames, st.sampled_from(["", "a comment"]))
def test_every_frame_comes_back(frames: list[Frame], comment: str) -> None:
    written = write_capture(frames, comment)
    if written[:4] == b"\x0a\x0d\x0d\x0a":
        assert read_pcapng(written) == [(f.interface, f.link_type, f.ts, f.original, f.data) for f in frames]
    else:
        assert read_pcap(written)[1] == [(f.ts, f.original, f.data) for f in frames]


def test_dpkt_reads_both() -> None:
    reader = dpkt.pcap.Reader(io.BytesIO(write_capture([frame(RAW), frame(RAW, T + 10**9)])))
    assert reader.datalink() == RAW
    assert [(int(ts * 10**9), data) for ts, data in reader] == [(T, on_link(RAW)), (T + 10**9, on_link(RAW))]
    mixed = dpkt.pcapng.Reader(io.BytesIO(write_capture([frame(), frame(RAW, T + 1)])))
    assert [data for _, data in mixed] == [on_link(ETHERNET), on_link(RAW)]


@pytest.mark.needs("tshark")
@pytest.mark.parametrize(
    ("frames", "kind"),
    [
        ([frame(), frame(ts=T + 1), frame(ts=T + 2, cut=5)], "pcap"),
        ([frame(SLL2), frame(SLL2, T + 1, "eth1")], "pcap"),
        ([frame(), frame(RAW, T + 1, "tun0"), frame(SLL2, T + 2, "any")], "pcapng"),
    ],
)
def test_tshark_reads_the_same(tmp_path: Path, frames: list[Frame], kind: str) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(write_capture(frames))
    fields = ("frame.time_epoch", "frame.len", "frame.cap_len", "sip.Call-ID", "frame.interface_name")
    run = subprocess.run(
        ["tshark", "-r", str(path), "-Tfields", *(x for f in fields for x in ("-e", f))],
        capture_output=True,
        text=True,
        check=True,
    )
    told = [line.split("\t") for line in run.stdout.splitlines()]
    assert [row[:4] for row in told] == [
        [f"{f.ts // 10**9}.{f.ts % 10**9:09d}", str(f.original), str(len(f.data)), "c"] for f in frames
    ]
    if kind == "pcapng":
        assert [row[4] for row in told] == [f.interface for f in frames]
