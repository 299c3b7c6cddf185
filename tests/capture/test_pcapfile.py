"""Capture files: both formats, either byte order, every resolution, gzip, standard input, and all kinds of damage."""

from __future__ import annotations

import gzip
import io
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.links import UnknownLinkType
from capture.sources import pcapfile
from capture.sources.pcapfile import PcapFile
from capture.walk import LATEST
from sip.errors import Unreachable
from tests.capture.wire import ether, ip4, sip, udp

FIRST = 1_700_000_000_123_456_789
FRAMES = [(FIRST + n * 1_000_000_007, ether(ip4(17, udp(sip(f"c{n}", b"x" * n))))) for n in range(7)]


class Seen(NamedTuple):
    """What a reader sees of a frame."""

    ts: int
    data: bytes
    original: int
    interface: str
    link: int


def read(path: Path | str) -> tuple[list[Seen], str | None]:
    """All frames of a file, and what it says of damage."""
    file = PcapFile(str(path))
    seen = []
    try:
        for block in file.blocks():
            for n in range(len(block)):
                at, where = int(block.offset[n]), block.interfaces[int(block.interface[n])]
                data = block.data[at : at + int(block.captured[n])].tobytes()
                seen.append(Seen(int(block.ts[n]), data, int(block.original[n]), where.name, where.link_type))
    finally:
        file.close()
    assert file.frames == len(seen)
    return seen, file.damage


def plain(order: str = "<", nano: bool = True, link: int = 1, cut: int = 0) -> bytes:
    """The frames as a classic pcap."""
    out = struct.pack(order + "IHHiIII", 0xA1B23C4D if nano else 0xA1B2C3D4, 2, 4, 0, 0, 262144, link)
    unit = 1 if nano else 1000
    for ts, data in FRAMES:
        out += struct.pack(order + "IIII", ts // 10**9, ts % 10**9 // unit, len(data), len(data) + cut) + data
    return out


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A pcapng block."""
    body += bytes(-len(body) % 4)
    total = len(body) + 12
    return struct.pack(order + "II", kind, total) + body + struct.pack(order + "I", total)


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def interface(link: int = 1, *options: bytes, order: str = "<", snap: int = 0) -> bytes:
    tail = b"".join(options) + (option(0, b"", order) if options else b"")
    return block(1, struct.pack(order + "HHI", link, 0, snap) + tail, order)


def packet(stamp: int, data: bytes, which: int = 0, order: str = "<", original: int | None = None) -> bytes:
    size = len(data) if original is None else original
    head = struct.pack(order + "IIIII", which, stamp >> 32, stamp & 0xFFFFFFFF, len(data), size)
    return block(6, head + data + bytes(-len(data) % 4), order)


def nanoseconds(order: str = "<") -> bytes:
    return option(9, b"\x09", order)


def modern(order: str = "<") -> bytes:
    """The frames as a pcapng."""
    head = section(order) + interface(1, option(2, b"eth7", order), nanoseconds(order), order=order)
    return head + b"".join(packet(ts, data, order=order) for ts, data in FRAMES)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("nano", [True, False], ids=["ns", "us"])
def test_pcap(tmp_path: Path, order: str, nano: bool) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(plain(order, nano, cut=5))
    seen, damage = read(path)
    unit = 1 if nano else 1000
    assert damage is None
    assert seen == [Seen(ts // unit * unit, data, len(data) + 5, "a.pcap", 1) for ts, data in FRAMES]


@pytest.mark.parametrize("order", "<>")
def test_pcapng(tmp_path: Path, order: str) -> None:
    path = tmp_path / "a.pcapng"
    path.write_bytes(modern(order))
    assert read(path) == ([Seen(ts, data, len(data), "eth7", 1) for ts, data in FRAMES], None)


@pytest.mark.parametrize("data", [plain(), modern()], ids=["pcap", "pcapng"])
def test_gzip_and_standard_input(tmp_path: Path, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(data[:300]) + gzip.compress(data[300:]) + bytes(50_000))
    seen, damage = read(path)
    assert [(s.ts, s.data) for s in seen] == FRAMES and damage is None
    for content in (data, gzip.compress(data)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        seen, damage = read("-")
        assert [(s.ts, s.data) for s in seen] == FRAMES and damage is None


def test_standard_input_that_comes_in_drops() -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        data = modern()
        for n in range(0, len(data), 37):
            os.write(writer, data[n : n + 37])
        os._exit(0)
    os.close(writer)
    with open(reader, "rb", buffering=0) as pipe, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(pipe)))
        assert [(s.ts, s.data) for s in read("-")[0]] == FRAMES
    os.waitpid(child, 0)


def test_small_chunks_give_the_same_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    for data in (plain(), plain(">", False), modern(), modern(">") + modern()):
        path.write_bytes(data)
        whole = read(path)
        for chunk in (512, 777):
            for most in (1, 3, 65536):
                with monkeypatch.context() as patch:
                    patch.setattr(pcapfile, "CHUNK", chunk)
                    patch.setattr(pcapfile, "FRAMES", most)
                    assert read(path) == whole


# ---------------------------------------------------------------- pcapng in detail


@pytest.mark.parametrize(
    ("options", "stamp", "ts"),
    [
        ([], 1_700_000_000_123_456, 1_700_000_000_123_456_000),
        ([option(9, b"\x06")], 1_700_000_000_123_456, 1_700_000_000_123_456_000),
        ([option(9, b"\x03")], 1_700_000_000_123, 1_700_000_000_123_000_000),
        ([option(9, b"\x00")], 1_700_000_000, 1_700_000_000_000_000_000),
        ([option(9, b"\x09")], FIRST, FIRST),
        ([option(9, b"\x8a")], (1_700_000_000 << 10) + 512, 1_700_000_000_500_000_000),
        ([option(9, b"\x0c"), option(14, struct.pack("<q", 1_700_000_000))], 123_999, 1_700_000_000_000_000_123),
        ([option(9, b"\xa8")], (1_700 << 40) + (1 << 39), 1_700_500_000_000),
        ([option(9, b"\xff")], 1 << 61, 0),
        ([option(9, b"\xff")], (1 << 64) - 1, 0),
        ([option(9, b"\x80")], 1_700_000_000, 1_700_000_000_000_000_000),
        ([option(9, b"\x7f")], 1 << 61, 2),
        ([], (1 << 64) - 1, LATEST),
        ([option(9, b"\x00")], 1 << 63, LATEST),
        ([option(9, b"\x8a")], (1 << 64) - 1, LATEST),
        ([option(14, struct.pack("<q", 1 << 62))], 5, LATEST),
        ([option(14, struct.pack("<q", -1 << 62))], 5, 0),
        ([option(9, b"\x09"), option(14, struct.pack("<q", 1_700_000_000))], 123, 1_700_000_000_000_000_123),
    ],
    ids=[
        "microseconds unless told",
        "us",
        "ms",
        "s",
        "ns",
        "2**-10 s",
        "ps",
        "2**-40 s",
        "2**-127 s",
        "all of it",
        "2**0 s",
        "10**-127 s",
        "far",
        "farther",
        "far in halves",
        "far offset",
        "before 1970",
        "offset",
    ],
)
def test_resolutions(tmp_path: Path, options: list[bytes], stamp: int, ts: int) -> None:
    path = tmp_path / "a.pcapng"
    path.write_bytes(section() + interface(1, *options) + packet(stamp, b"x" * 20))
    assert read(path)[0][0].ts == ts


def test_interfaces_and_sections_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "many.pcapng"
    path.write_bytes(
        section()
        + interface(1, option(2, b"eth0"), nanoseconds())
        + packet(1, b"a" * 20)
        + interface(113, option(2, b"any"), nanoseconds())
        + packet(2, b"b" * 21, 1)
        + packet(3, b"c" * 22, 0)
        + section(">")
        + interface(101, order=">")
        + packet(4, b"d" * 23, order=">")
    )
    seen, damage = read(path)
    assert damage is None
    assert [(s.data[:1], len(s.data), s.interface, s.link) for s in seen] == [
        (b"a", 20, "eth0", 1),
        (b"b", 21, "any", 113),
        (b"c", 22, "eth0", 1),
        (b"d", 23, "many.pcapng", 101),
    ]
    assert [s.ts for s in seen] == [1, 2, 3, 4000]


def test_interfaces_without_number_end_a_file_early(tmp_path: Path) -> None:
    path = tmp_path / "many.pcapng"
    first = section() + interface(1) * 2000 + packet(1, b"a" * 20, 1999)
    path.write_bytes(first + section() + interface(1) * 2097 + packet(2, b"b" * 20, 0))
    seen, damage = read(path)
    assert damage == "it has more than 4,096 interfaces; what follows is left out"
    assert [s.data for s in seen] == [b"a" * 20]
    path.write_bytes(section() + interface(1) * 4096 + packet(1, b"a" * 20, 4095))
    assert [s.data for s in read(path)[0]] == [b"a" * 20]


def test_blocks_that_are_not_packets_are_stepped_over(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    names, statistics, secrets, custom = (block(kind, bytes(24)) for kind in (4, 5, 10, 0xBAD))
    simple = block(3, struct.pack("<I", 18) + b"s" * 18)
    old = block(2, struct.pack("<HHIIII", 0, 9, 0, 77, 5, 9) + b"o" * 5)
    path.write_bytes(
        section() + names + interface() + statistics + packet(5, b"e" * 20) + secrets + simple + custom + old
    )
    seen, damage = read(path)
    assert damage is None
    assert [(s.data, s.original, s.ts) for s in seen] == [
        (b"e" * 20, 20, 5000),
        (b"s" * 18, 18, 5000),
        (b"o" * 5, 9, 77_000),
    ]


def test_a_simple_packet_is_cut_at_the_snap_length(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    path.write_bytes(section() + interface(snap=10) + block(3, struct.pack("<I", 18) + b"s" * 10))
    assert [(s.data, s.original) for s in read(path)[0]] == [(b"s" * 10, 18)]


def test_frames_without_bytes_are_frames(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    path.write_bytes(section() + interface() + packet(1, b"") + packet(2, b"x"))
    assert [s.data for s in read(path)[0]] == [b"", b"x"]
    path.write_bytes(plain()[:24] + struct.pack("<IIII", 1, 0, 0, 60) + struct.pack("<IIII", 2, 0, 1, 1) + b"x")
    assert [(s.data, s.original) for s in read(path)[0]] == [(b"", 60), (b"x", 1)]


# ---------------------------------------------------------------- link types


def test_the_link_type_is_in_the_lower_bits(tmp_path: Path) -> None:
    # The upper four bits may tell of a frame check sequence.
    path = tmp_path / "a.pcap"
    path.write_bytes(plain(link=0x5000_0001))
    assert {s.link for s in read(path)[0]} == {1}


@pytest.mark.parametrize(
    "data",
    [plain(link=147), section() + interface(147, nanoseconds()) + packet(1, b"x") + packet(2, b"y")],
    ids=["pcap", "pcapng"],
)
def test_a_file_of_an_unknown_link_type_is_an_error_that_names_it(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "usb.pcap"
    path.write_bytes(data)
    with pytest.raises(UnknownLinkType, match=r"usb\.pcap has link type 147") as error:
        read(path)
    assert error.value.exit_code == 3


def test_frames_of_an_unknown_link_type_among_others_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    some = section() + interface() + interface(147) + interface(220)
    path.write_bytes(some + packet(1, b"x") + packet(2, b"y", 1) + packet(3, b"z", 1))
    seen, damage = read(path)
    assert len(seen) == 3
    assert damage == "frames that siptrail cannot decode are left out: 2 of link type 147"
    path.write_bytes(section() + interface(147) + interface() + packet(1, b"x", 1))
    assert read(path)[1] is None, "an interface that saw nothing is no matter"


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("make", [plain, modern], ids=["pcap", "pcapng"])
def test_cut_anywhere_the_whole_frames_are_there_and_the_rest_is_told(
    tmp_path: Path, make: Callable[[], bytes]
) -> None:
    path, data = tmp_path / "a", make()
    ends = {len(data) - sum(len(s) for s in _records(data, make is plain)[n:]): n for n in range(len(FRAMES) + 1)}
    for end in range(min(ends), len(data) + 1):
        path.write_bytes(data[:end])
        seen, damage = read(path)
        assert [(s.ts, s.data) for s in seen] == FRAMES[: max(n for at, n in ends.items() if at <= end)]
        assert (damage is None) == (end in ends), end


def _records(data: bytes, classic: bool) -> list[bytes]:
    return [(b" " * 16 + d) if classic else packet(ts, d) for ts, d in FRAMES]


@pytest.mark.parametrize("data", [plain(), modern()], ids=["pcap", "pcapng"])
def test_a_record_of_absurd_length_ends_the_file(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a"
    if data[:4] == pcapfile.PCAPNG_MAGIC:
        broken = data + struct.pack("<II", 6, 0x7FFF_FFF0) + bytes(40)
    else:
        broken = data + struct.pack("<IIII", 1, 1, 0x7FFF_FFFF, 60) + bytes(40)
    path.write_bytes(broken)
    seen, damage = read(path)
    assert [(s.ts, s.data) for s in seen] == FRAMES
    assert damage is not None and "after frame 7 is damaged" in damage


@pytest.mark.parametrize(
    "tail",
    [
        pytest.param(packet(1, b"x", which=9), id="an interface that is not there"),
        pytest.param(block(6, bytes(8)), id="a packet block without a head"),
        pytest.param(struct.pack("<II", 6, 41) + bytes(40), id="a length that is no multiple of four"),
        pytest.param(block(6, struct.pack("<IIIII", 0, 0, 1, 999, 999) + b"abcd"), id="more captured than there is"),
        pytest.param(struct.pack("<II", 1, 8) + bytes(8), id="a short interface block"),
        pytest.param(struct.pack("<II", 0x0A0D0D0A, 28) + bytes(20), id="a section without its magic"),
    ],
)
def test_pcapng_damage_keeps_what_came_before(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(modern() + tail + packet(1, b"lost"))
    seen, damage = read(path)
    assert [(s.ts, s.data) for s in seen] == FRAMES
    assert damage is not None and "after frame 7 is damaged" in damage


def test_compressed_data_that_is_cut_or_bent(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    packed = gzip.compress(plain(), compresslevel=0)
    path.write_bytes(packed[:-60])
    seen, damage = read(path)
    assert [(s.ts, s.data) for s in seen] == FRAMES[: len(seen)] and 3 <= len(seen) <= 7
    assert damage is not None and "compressed data" in damage
    path.write_bytes(packed[:-6] + b"\0\0" + packed[-4:])
    assert "compressed data" in (read(path)[1] or "")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"\xd4", "no pcap or pcapng"),
        (b"hello world", "68 65 6c 6c"),
        (gzip.compress(b"hello world", mtime=0), "68 65 6c 6c"),
        (b"\x1f\x8b\x08", "ends too early"),
    ],
)
def test_what_is_no_capture_is_an_error(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "nothing.pcap"
    path.write_bytes(data)
    with pytest.raises(Unreachable, match=reason) as error:
        PcapFile(str(path))
    assert "nothing.pcap" in str(error.value) and "\n" not in str(error.value)


def test_a_header_alone_is_an_empty_capture(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(plain()[:24])
    assert read(path) == ([], None)
    path.write_bytes(plain()[:20])
    assert read(path) == ([], "the file header is cut short")
    path.write_bytes(section() + interface())
    assert read(path) == ([], None)


def test_progress_goes_from_start_to_end(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(plain())
    file = PcapFile(str(path))
    assert file.position() is not None and file.position() < 1.0  # type: ignore[operator]
    list(file.blocks())
    assert file.position() == 1.0
    file.close()


@pytest.mark.parametrize("make", [plain, modern], ids=["pcap", "pcapng"])
@given(data=st.data())
def test_bent_anywhere_it_never_raises(
    tmp_path_factory: pytest.TempPathFactory, make: Callable[[], bytes], data: st.DataObject
) -> None:
    bent = bytearray(make())
    for place, value in data.draw(
        st.dictionaries(st.integers(4, len(bent) - 1), st.integers(0, 255), min_size=1, max_size=8)
    ).items():
        bent[place] = value
    path = tmp_path_factory.getbasetemp() / "bent"
    path.write_bytes(bent)
    try:
        seen, _ = read(path)
    except UnknownLinkType:
        return
    assert all(len(s.data) <= s.original for s in seen)
