"""The fast path against the careful parser: what the kernels see is what `sip.message` sees."""

from __future__ import annotations

import os
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture import flags
from capture.decode import CAREFUL, NOISE, OTHER, SIP_UDP, TCP, UNREADABLE, decode, port_table, starts_sip
from capture.frames import FrameBlock, Interface
from capture.pipeline import Decoder
from capture.scan import CALL_ID, FROM_USER, METHOD, REASON, RURI_USER, SLICES, TO_USER, USER_AGENT
from sip.message import parse_message

INVITE = (
    b"INVITE sip:+4930123@198.51.100.10:5060;user=phone SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 203.0.113.5:5060;branch=z9hG4bK1\r\n"
    b'From: "A <b>" <sip:alice@203.0.113.5>;tag=1\r\nTo: <sip:+4930123@198.51.100.10>\r\n'
    b"Call-ID: one@x\r\nCSeq: 7 INVITE\r\n"
    b"User-Agent: phone 1\r\nContent-Length: 0\r\n\r\n"
)


def udp4(
    payload: bytes, sport: int = 5060, dport: int = 5060, *, frag: int = 0, proto: int = 17, cut: int | None = None
) -> bytes:
    udp = struct.pack(">HHHH", sport, dport, len(payload) + 8, 0) + payload
    ip = (
        struct.pack(
            ">BBHHHBBH4s4s",
            0x45,
            0,
            len(udp) + 20,
            77,
            frag,
            64,
            proto,
            0,
            bytes((203, 0, 113, 5)),
            bytes((198, 51, 100, 10)),
        )
        + udp
    )
    return ip[:cut]


def ethernet(ip: bytes, *tags: int) -> bytes:
    kind = 0x86DD if ip[:1] and ip[0] >> 4 == 6 else 0x0800
    head = bytes(12)
    for tag in tags:
        head += struct.pack(">HH", tag, 5)
    return head + struct.pack(">H", kind) + ip


def block(*frames: bytes, link: int = 1, original: int | None = None) -> FrameBlock:
    data = np.frombuffer(b"".join(frames) or b"\0", np.uint8)
    sizes = np.array([len(f) for f in frames], np.int32)
    offset = np.concatenate(([0], np.cumsum(sizes)[:-1])).astype(np.int64)
    wire = sizes if original is None else np.full(len(frames), original, np.int32)
    return FrameBlock(
        data,
        offset,
        sizes,
        wire,
        np.arange(len(frames), dtype=np.int64) + 10**18,
        np.zeros(len(frames), np.int32),
        (Interface("eth0", link),),
    )


PORTS = port_table(frozenset({5060}))


@pytest.mark.parametrize(
    ("frame", "link", "kind"),
    [
        (ethernet(udp4(INVITE)), 1, SIP_UDP),
        (ethernet(udp4(INVITE), 0x8100), 1, SIP_UDP),
        (ethernet(udp4(INVITE), 0x88A8, 0x8100), 1, SIP_UDP),
        (ethernet(udp4(INVITE, 40000, 40001)), 1, SIP_UDP),
        (bytes(14) + b"\x08\x00" + udp4(INVITE), 113, SIP_UDP),
        (b"\x08\x00" + bytes(18) + udp4(INVITE), 276, SIP_UDP),
        (udp4(INVITE), 101, SIP_UDP),
        (ethernet(udp4(b"\r\n\r\n" + INVITE)), 1, SIP_UDP),
        (ethernet(udp4(b"\x80\x00" + bytes(160), 40000, 40001)), 1, OTHER),
        (ethernet(udp4(b"\r\n\r\n")), 1, NOISE),
        (ethernet(udp4(INVITE, frag=0x2000)), 1, CAREFUL),
        (ethernet(udp4(INVITE, frag=0x00B9)), 1, CAREFUL),
        (ethernet(udp4(INVITE, proto=6)), 1, TCP),
        (ethernet(udp4(INVITE, proto=47)), 1, CAREFUL),
        (ethernet(udp4(INVITE, dport=4789)), 1, CAREFUL),
        (b"", 1, UNREADABLE),
        (ethernet(udp4(INVITE))[:20], 1, UNREADABLE),
        (ethernet(udp4(INVITE, cut=24)), 1, UNREADABLE),
        (b"x" * 60, 147, CAREFUL),
    ],
)
def test_kind_of_frame(frame: bytes, link: int, kind: int) -> None:
    assert int(decode(block(frame, link=link), PORTS).kind[0]) == kind


@pytest.mark.parametrize(
    ("text", "is_sip"),
    [
        (b"SIP/2.0 200 OK\r\n", True),
        (b"INVITE sip:a SIP/2.0\r\n", True),
        (b"!odd-Method_* x SIP/2.0\r\n", True),
        (b"SIP/7.0 200 OK\r\n", True),
        (b"GET / HTTP/1.1\r\n SIP/2.0", False),
        (b"INVITE", False),
        (b"", False),
        (b"\x00\x01\x00\x00\x21\x12\xa4\x42", False),
        (b" INVITE x SIP/2.0", False),
    ],
)
def test_start_line(text: bytes, is_sip: bool) -> None:
    assert bool(starts_sip(np.frombuffer(text + b"\0", np.uint8), 0, len(text))) == is_sip


def scan(payload: bytes) -> tuple[dict[str, bytes], int, int, bool, int]:
    got = Decoder().feed(block(ethernet(udp4(payload))))[0]
    data = got.data.tobytes()
    texts = {
        name: data[got.slices[k, 0, 0] : got.slices[k, 0, 0] + got.slices[k, 0, 1]] for k, name in enumerate(SLICES)
    }
    return texts, int(got.code[0]), int(got.cseq[0]), bool(got.in_dialog[0]), int(got.flags[0])


def test_request_pieces() -> None:
    texts, code, cseq, in_dialog, found = scan(INVITE)
    assert (texts[SLICES[METHOD]], code, cseq, in_dialog, found) == (b"INVITE", 0, 7, False, 0)
    assert texts[SLICES[CALL_ID]] == b"one@x"
    assert texts[SLICES[FROM_USER]] == b"alice"
    assert texts[SLICES[TO_USER]] == texts[SLICES[RURI_USER]] == b"+4930123"
    assert texts[SLICES[USER_AGENT]] == b"phone 1"


def test_response_pieces_compact_and_folded() -> None:
    texts, code, cseq, in_dialog, found = scan(
        b"SIP/2.0 503 Server at max cps/channels\r\nv: SIP/2.0/UDP h\r\n"
        b"f: tel:+44123;tag=a\r\nt: <sip:0800@h>\r\n ;tag=2\r\n"
        b"i:\r\n  folded@id  \r\nCSEQ  : 12  INVITE \r\nserver: x\r\nl: 0\r\n\r\n"
    )
    assert (texts[SLICES[METHOD]], code, cseq, in_dialog, found) == (b"INVITE", 503, 12, True, 0)
    assert texts[SLICES[REASON]] == b"Server at max cps/channels"
    assert texts[SLICES[CALL_ID]] == b"folded@id"
    assert texts[SLICES[FROM_USER]] == b"+44123"


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        ((b"Content-Length: 0", b"Content-Length: 9"), flags.LENGTH_LIES),
        ((b"Call-ID: one@x\r\n", b""), flags.NO_CALL_ID),
        ((b"Call-ID: one@x\r\n", b"Call-ID: one@x\r\ni: two@x\r\n"), flags.TWO_CALL_IDS),
        ((b"\r\n\r\n", b"\r\n"), flags.HEADERS_CUT),
    ],
)
def test_flags(change: tuple[bytes, bytes], flag: int) -> None:
    assert scan(INVITE.replace(*change))[4] == flag


def test_snap_length_is_flagged() -> None:
    whole = ethernet(udp4(INVITE))
    got = Decoder().feed(block(whole[:-100], original=len(whole)))[0]
    assert int(got.flags[0]) & flags.TRUNCATED
    assert not int(got.flags[0]) & flags.LENGTH_LIES, "a cut message does not lie about its length"


def test_neighbours_of_hostile_frames_survive() -> None:
    hostile = [
        b"",
        b"\xff" * 14,
        ethernet(b"\x4f" + bytes(30)),
        ethernet(udp4(INVITE[:30])),
        ethernet(udp4(INVITE, cut=27)),
        bytes(3),
    ]
    frames = [f for h in hostile for f in (h, ethernet(udp4(INVITE)))]
    decoder = Decoder()
    got = decoder.feed(block(*frames))
    assert sum(int((m.length == len(INVITE)).sum()) for m in got) == len(hostile)
    assert decoder.counters.packets == len(frames)
    assert decoder.counters.unreadable >= 3


def at(seconds: float, *frames: bytes) -> FrameBlock:
    """A block whose last frame came then."""
    got = block(*frames)
    got.ts[:] = 10**18 + int(seconds * 1e9)
    return got


def beginning() -> list[bytes]:
    """The first of two IP fragments of a message."""
    packet = udp4(INVITE, frag=0x2000)[:156]
    return [ethernet(packet[:2] + struct.pack(">H", len(packet)) + packet[4:])]


def test_a_lost_fragment_is_told_without_any_other_fragment_or_stream() -> None:
    """By plain UDP that goes by later, or by nothing but time."""
    for later in ("traffic", "silence"):
        decoder = Decoder()
        assert decoder.feed(at(0, *beginning())) == []
        if later == "traffic":
            assert [int(m.flags[0]) for m in decoder.feed(at(20, ethernet(udp4(INVITE))))] == [0]
            found = decoder.feed(at(31, ethernet(udp4(INVITE))))[1:]
        else:
            assert decoder.tick(10**18 + 29 * 10**9) == []
            found = decoder.tick(10**18 + 31 * 10**9)
        assert [int(m.flags[0]) & flags.FRAGMENT_LOST for m in found] == [flags.FRAGMENT_LOST]
        assert decoder.counters.careful["fragments_lost"] == 1
        assert decoder.flush() == []


def test_llc_snap_reaches_the_careful_path() -> None:
    packet = udp4(INVITE)
    snap = bytes(12) + struct.pack(">H", len(packet) + 8) + b"\xaa\xaa\x03\0\0\0\x08\0" + packet
    (found,) = Decoder().feed(block(snap))
    assert found.data[: int(found.length[0])].tobytes() == INVITE


@given(st.binary(max_size=300), st.sampled_from([1, 101, 113, 276]))
def test_random_frames_never_raise(frame: bytes, link: int) -> None:
    Decoder().feed(block(frame, frame[::-1], link=link))


_line = st.sampled_from(
    [
        b"Call-ID: a",
        b"i: b",
        b"From: <sip:x@y>;tag=1",
        b't: "q <" <sip:u:pw@h;p>',
        b"To: sip:z@h;tag=5",
        b"CSeq: 3 BYE",
        b" folded",
        b"l: 3",
        b"User-Agent: u",
        b"",
        b"\x00\xff: \x1b[2J",
        b"Content-Length:",
        b"CSeq: 99999999999999999999 X",
    ]
)


@given(
    st.sampled_from([b"BYE sip:a@b SIP/2.0", b"SIP/2.0 180 Ringing", b"SIP/2.0 999999999 x"]),
    st.lists(_line, max_size=12),
    st.binary(max_size=40),
)
def test_scan_agrees_with_the_parser(start: bytes, lines: list[bytes], body: bytes) -> None:
    raw = b"\r\n".join([start, *lines, b"", body])
    texts, code, cseq, _, _ = scan(raw)
    parsed = parse_message(raw)
    if code < 32767:
        assert code == parsed.code
    # Folding joins lines with one space in the parser and keeps the line ends in a slice.
    assert b" ".join(texts[SLICES[CALL_ID]].split()) == b" ".join(parsed.call_id.encode().split())
    if parsed.cseq is not None and parsed.cseq < 10**17:
        assert cseq == parsed.cseq


@pytest.mark.skipif(bool(os.environ.get("NUMBA_DISABLE_JIT")), reason="this is the interpreted run itself")
def test_the_same_tests_pass_interpreted() -> None:
    """Interpreted, NumPy checks every index that the kernels use."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", __file__],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-3000:]
