"""The fast path of TCP against the careful one: the same messages, in the same order, however the stream is cut."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.careful import CarefulDecoder
from capture.frames import Frame, FrameBlock, Interface
from capture.pipeline import TRANSPORTS, Decoder, MessageBlock, from_payloads
from capture.tcpfast import ReadyStreams, whole_message
from tests.capture.wire import SECOND, A, B, ether, frame, ip4, ip6, ok, sip, tcp

SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nm=audio 4000 RTP/AVP 8\r\n"
PLAIN = [sip("a", SDP), sip("b", method="BYE"), ok("a", SDP), ok("c"), sip("d", extra=b"Subject: one\r\n two\r\n")]
HEAD = b"INVITE sip:b@h SIP/2.0\r\nCall-ID: x\r\n"
PLAIN += [HEAD + b"l:0\n\n", b"SIP/2.0 200\r\nl: 0\r\n\r\n"]
ODD = [
    HEAD + b"\r\n",  # no Content-Length
    HEAD + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabc\n",
    HEAD + b"Content-Length: 4\r\n\r\nabcd",  # a body without a line feed
    HEAD + b"Content-Length: 30\r\n\r\nabc\r\nBYE sip:b@h SIP/2.0\r\n\r\n",
    HEAD + b"Content-Length: 2\r\n\r\nmore\r\n",
    HEAD + b"Content-Length: 900\r\n\r\nless\r\n",
    HEAD + b"Content-Length:\r\n 4\r\n\r\nabc\n",
    HEAD + b"Content-Length: 4\r\n 4\r\n\r\nabc\n",
    HEAD + b"Content-Length : 4\r\n\r\nabc\n",
    HEAD + b"Content-Length: -4\r\n\r\n",
    HEAD + b"Content-Length: 4x\r\n\r\nabc\n",
    HEAD + b"no colon here\r\nContent-Length: 0\r\n\r\n",
    HEAD + b"OPTIONS sip:b@h SIP/2.0\r\nl: 0\r\n\r\n",
    b"INVITE sip:b@h SIP/2.0 \r\nl: 0\r\n\r\n",
    b"INVITE sip:b@h SIP/2.0\rx\r\nl: 0\r\n\r\n",
    b"SIP/2.0 20 OK\r\nl: 0\r\n\r\n",
    b"SIP/x.0 200 OK\r\nl: 0\r\n\r\n",
    HEAD + b"Content-Length: 11\r\n\r\nab\nBYE sip:x y SIP/2.0\r\nl: 0\r\n\r\n",  # the body ends inside a start line
    b"\r\n\r\n",
    b"\0",
    b"garbage\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
]


def in_blocks(frames: list[Frame], *cuts: int) -> list[FrameBlock]:
    """Frames as a source hands them out, a new block at each of the cuts."""
    out = []
    for a, b in pairwise([0, *sorted(cuts), len(frames)]):
        some = frames[a:b]
        sizes = np.array([len(f.data) for f in some], np.int32)
        out.append(
            FrameBlock(
                np.frombuffer(b"".join(f.data for f in some), np.uint8),
                np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)[:-1])) if some else np.empty(0, np.int64),
                sizes,
                np.array([f.original for f in some], np.int32),
                np.array([f.ts for f in some], np.int64),
                np.zeros(len(some), np.int32),
                (Interface("eth0", 1),),
            )
        )
    return out


@pytest.mark.parametrize("tiny", [b"A b SIP/2.0\nl:0\n\n", b"A SIP/2.0\nl:0\n\n", b"SIP/2.0 200\nl:0\n\n"])
def test_a_block_of_nothing_but_the_shortest_messages(tiny: bytes) -> None:
    first, many = sip("first"), tiny * 85
    frames = [frame(ether(ip4(6, tcp(data, seq)))) for data, seq in ((first, 1), (many, 1 + len(first)))]
    decoder = Decoder()
    found = [m for b in in_blocks(frames, 1) for m in decoder.feed(b)] + decoder.flush()
    careful = CarefulDecoder()
    expected = [p for f in frames for p in careful.feed(f)] + careful.flush()
    assert sum(map(len, found)) == len(expected)


Row = tuple[bytes, int, str, int, int, int]


def rows(blocks: list[MessageBlock]) -> list[Row]:
    """What the messages are, in their order."""
    found = [
        (
            int(b.seq[i]),
            (
                b.data[b.start[i] : b.start[i] + b.length[i]].tobytes(),
                int(b.flags[i]),
                TRANSPORTS[b.transport[i]],
                int(b.sport[i]),
                int(b.dport[i]),
                int(b.ip_id[i]),
            ),
        )
        for b in blocks
        for i in range(len(b))
    ]
    return [row for _, row in sorted(found, key=lambda pair: pair[0])]


def fast(frames: list[Frame], *cuts: int) -> tuple[list[Row], int]:
    """What comes out of the decoder, and how many messages took the fast path."""
    decoder = Decoder()
    found = [m for block in in_blocks(frames, *cuts) for m in decoder.feed(block)]
    simple = sum(len(m) for m in found if not m.reassembled)
    return rows(found + decoder.flush()), simple


def careful(frames: list[Frame]) -> list[Row]:
    """The same from the careful path alone, which takes each frame on its own."""
    decoder = CarefulDecoder()
    payloads = [p for f in frames for p in decoder.feed(f)] + decoder.flush()
    return rows([from_payloads(payloads, np.arange(len(payloads)))]) if payloads else []


def test_whole_messages_in_order_take_the_fast_path() -> None:
    frames, seq = [], 100
    for n in range(40):
        data = PLAIN[n % 5] + (PLAIN[0] if n % 3 == 0 else b"")
        frames.append(frame(ether(ip4(6, tcp(data, seq))), n))
        frames.append(frame(ether(ip4(6, tcp(b"", 7, 0x10, 5060, 40000), src=B, dst=A)), n))
        seq += len(data)
    found, simple = fast(frames, 4)
    assert found == careful(frames)
    assert simple == len(found) - 2 - 1  # all but those of the first block, 2 segments


def test_as_many_messages_as_frames_though_one_has_two_and_one_has_none() -> None:
    first, two = sip("first"), PLAIN[0] + PLAIN[1]
    frames = [
        frame(ether(ip4(6, tcp(first, 1))), 0),
        frame(ether(ip4(6, tcp(b"", 7, 0x10, 5060, 40000), src=B, dst=A)), 1),
        frame(ether(ip4(6, tcp(two, 1 + len(first)))), 2),
    ]
    decoder = Decoder()
    found = [m for block in in_blocks(frames, 1) for m in decoder.feed(block)]
    assert rows(found) == careful(frames)
    (last,) = found[1:]
    assert not last.reassembled and set(last.ts.tolist()) == {frames[2].ts}
    assert set(last.frame_length.tolist()) == {len(frames[2].data)}, "each with the frame that it came in"


def test_ipv6_and_a_sequence_number_that_wraps() -> None:
    seq = (1 << 32) - 700
    frames = []
    for n in range(12):
        frames.append(frame(ether(ip6(6, tcp(PLAIN[0], seq))), n))
        seq += len(PLAIN[0])
    found, simple = fast(frames, 3)
    assert [r[0] for r in found] == [PLAIN[0]] * 12 and simple == 9
    assert found == careful(frames)


def test_a_message_over_two_segments_between_whole_ones() -> None:
    pieces = [PLAIN[0], PLAIN[1], PLAIN[2][:50], PLAIN[2][50:], PLAIN[3], PLAIN[0], PLAIN[1]]
    frames, seq = [], 1
    for n, data in enumerate(pieces):
        frames.append(frame(ether(ip4(6, tcp(data, seq))), n))
        seq += len(data)
    found, simple = fast(frames, 1, 5)
    assert [r[0] for r in found] == [PLAIN[i] for i in (0, 1, 2, 3, 0, 1)]
    assert simple == 3  # the second, and those after the block in which the stream was whole again


def test_a_hole_is_given_up_while_another_stream_goes_on() -> None:
    """Time passes for the careful path too when every frame is simple."""
    lost = [frame(ether(ip4(6, tcp(PLAIN[1], seq, sport=41000))), n) for n, seq in ((0, 1), (1, 1000))]
    frames, seq = lost, 1
    for n in range(9):
        frames.append(frame(ether(ip4(6, tcp(PLAIN[1], seq))), 2 + n * SECOND))
        seq += len(PLAIN[1])
    decoder = Decoder()
    before_the_end = [m for block in in_blocks(frames, 3) for m in decoder.feed(block)]
    assert len(rows(before_the_end)) == len(frames)


def test_many_streams_and_streams_that_are_forgotten() -> None:
    ready = ReadyStreams()
    keys = [bytes([n >> 8, n & 255, 0, 1, 10, 0, 0, 1, 0, 80, 19, 196]) for n in range(5000)]
    for n, key in enumerate(keys):
        ready.set(key, n)
        if n >= 1000:
            ready.set(keys[n - 1000], None)
    data = b"".join(ether(ip4(6, tcp(PLAIN[1], n, sport=80), src=f"{n >> 8}.{n & 255}.0.1", dst="10.0.0.1")) for n in
                    range(5000))  # fmt: skip
    each = len(data) // 5000
    decoder = Decoder()
    decoder._careful._ready = ready
    offsets = np.arange(5000, dtype=np.int64) * each
    sizes = np.full(5000, each, np.int32)
    from capture.decode import TAKEN, decode, port_table

    block = FrameBlock(np.frombuffer(data, np.uint8), offsets, sizes, sizes, np.arange(5000, dtype=np.int64),
                       np.zeros(5000, np.int32), (Interface("eth0", 1),))  # fmt: skip
    d = decode(block, port_table(frozenset({5060})))
    taken, _, _ = ready.take(
        block.data, d.payload, d.length, (d.src_hi, d.src_lo), (d.dst_hi, d.dst_lo), d.sport, d.dport, d.kind
    )
    assert taken.tolist() == list(range(4000, 5000))
    assert (d.kind == TAKEN).sum() == 1000
    assert dict(ready.advanced()) == {keys[n]: len(PLAIN[1]) for n in range(4000, 5000)}
    assert dict(ready.advanced()) == {}


@pytest.mark.parametrize("message", PLAIN, ids=range(len(PLAIN)))
def test_what_is_whole(message: bytes) -> None:
    data = np.frombuffer(message + b"x", np.uint8)
    assert whole_message(data, 0, len(message)) == len(message)
    for end in range(len(message)):
        assert whole_message(data, 0, end) == -1


@pytest.mark.parametrize("message", ODD, ids=range(len(ODD)))
def test_what_is_not_beyond_doubt(message: bytes) -> None:
    assert whole_message(np.frombuffer(message, np.uint8), 0, len(message)) != len(message)


@st.composite
def wires(draw: st.DrawFn) -> tuple[list[Frame], list[int]]:
    """Two directions of a connection whose segments are lost, repeated, exchanged; and where blocks end."""
    frames: list[Frame] = []
    streams = []
    for sport, dport in ((40000, 5060), (5060, 40000)):
        messages = draw(st.lists(st.sampled_from([*PLAIN, *PLAIN, *PLAIN, *ODD]), min_size=1, max_size=12))
        whole = b"".join(messages)
        places = {0, len(whole)}
        at = 0
        for m in messages:
            at += len(m)
            if draw(st.integers(0, 4)):
                places.add(at)
        places |= set(draw(st.lists(st.integers(0, len(whole)), max_size=3)))
        first = draw(st.sampled_from([1, (1 << 32) - 300]))
        streams.append([tcp(whole[a:b], first + a, 0x18, sport, dport) for a, b in pairwise(sorted(places))])
    for sport, dport, bits in draw(st.lists(st.sampled_from([(40000, 5060, 0x10), (5060, 40000, 0x11)]), max_size=2)):
        streams[sport == 5060].insert(draw(st.integers(0, 3)), tcp(b"", draw(st.integers(1, 900)), bits, sport, dport))
    while any(streams):
        stream = streams[draw(st.integers(0, 1))] or streams[0] or streams[1]
        segment = stream.pop(0)
        fate = draw(st.integers(0, 15))
        if fate == 1:
            continue
        if fate == 2 and stream:
            segment, stream[0] = stream[0], segment
        way = (A, B) if segment[:2] == b"\x9c\x40" else (B, A)
        for _ in range(2 if fate == 3 else 1):
            frames.append(frame(ether(ip4(6, segment, src=way[0], dst=way[1])), len(frames)))
    return frames, draw(st.lists(st.integers(0, len(frames)), max_size=4))


@settings(max_examples=300, deadline=None)
@given(wires())
def test_both_paths_agree(wire: tuple[list[Frame], list[int]]) -> None:
    frames, cuts = wire
    assert fast(frames, *cuts)[0] == careful(frames)
