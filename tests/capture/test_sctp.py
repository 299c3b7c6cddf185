"""SCTP: messages cut into DATA chunks, in any order, sent again, lost; never more held than the limits say."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.careful import CarefulDecoder
from capture.flags import STREAM_GAP, TRUNCATED
from capture.frames import Frame
from capture.limits import Limits
from tests.capture.wire import SECOND, A, decode, ether, frame, ip4, ip6, ok, sip, texts, udp

MESSAGE = sip("sctp", b"v=0\r\n" + b"a=x:" + b"abcdefgh" * 60 + b"\r\n")
WHOLE = 3
MS = SECOND // 1000


def packet(
    *chunks: tuple[int, int, bytes], ts: int = 0, port: int = 5060, tag: int = 7, version: int = 4, ident: int = 1
) -> Frame:
    """An SCTP packet of DATA chunks, each (TSN, flags, bytes), padded to four bytes (RFC 9260 section 3)."""
    body = struct.pack(">HHII", port, port, tag, 0)
    for tsn, bits, data in chunks:
        body += (
            struct.pack(">BBHIHHI", 0, bits, 16 + len(data), tsn & 0xFFFFFFFF, 0, 0, 0) + data + bytes(-len(data) % 4)
        )
    return frame(ether(ip4(132, body, ident=ident) if version == 4 else ip6(132, body)), ts)


def cut(message: bytes, places: list[int], first: int) -> list[tuple[int, int, bytes]]:
    """A message as DATA chunks: B on the first, E on the last (RFC 9260 section 6.9)."""
    ends = [*places, len(message)]
    return [
        (first + n, (2 if a == 0 else 0) | (1 if b == len(message) else 0), message[a:b])
        for n, (a, b) in enumerate(zip([0, *places], ends, strict=True))
    ]


@pytest.mark.parametrize("version", [4, 6])
@given(data=st.data())
def test_any_cut_in_any_order_with_copies_and_neighbours(version: int, data: st.DataObject) -> None:
    first = data.draw(st.sampled_from([1, 0xFFFFFFFE]))
    chunks, sent = list[tuple[int, int, bytes]](), list[bytes]()
    for n in range(data.draw(st.integers(1, 3))):
        message = sip(f"call-{n}", b"x" * 300)
        places = sorted(data.draw(st.sets(st.integers(1, len(message) - 1), max_size=5)))
        chunks += cut(message, places, first + len(chunks))
        sent.append(message)
    order = data.draw(st.permutations(chunks))
    again = data.draw(st.lists(st.sampled_from(chunks), max_size=4)) if chunks else []
    frames = [packet(c, ts=n * MS, version=version, ident=n + 1) for n, c in enumerate(order)]
    # A second later: the sender missed an acknowledgement.
    frames += [packet(c, ts=SECOND + n * MS, version=version, ident=99) for n, c in enumerate(again)]
    decoder = CarefulDecoder()
    assert sorted(texts(decode(frames, decoder))) == sorted(sent)
    assert decoder.pending_frames() == [] and decoder.flush() == []
    assert decoder.counters["fragments_lost"] == 0


def test_the_frames_and_the_time_of_a_message_in_chunks() -> None:
    one, two, three = (packet(c, ts=n * MS) for n, c in enumerate(cut(MESSAGE, [100, 200], 5)))
    decoder = CarefulDecoder()
    assert decode([three, one], decoder) == []
    assert decoder.pending_frames() == [one, three]
    (found,) = decode([two], decoder)
    assert (found.data, found.transport, found.src, found.sport, found.flags) == (MESSAGE, "sctp", A, 5060, 0)
    assert set(found.frames) == {one, two, three} and found.ts == three.ts


def test_several_messages_and_pieces_in_one_packet() -> None:
    a, b = cut(MESSAGE, [300], 2)
    assert texts(decode([packet((1, WHOLE, ok("before")), a), packet(b, (4, WHOLE, ok("behind")))])) == [
        ok("before"),
        MESSAGE,
        ok("behind"),
    ]


def test_associations_do_not_mix() -> None:
    mine, other = cut(MESSAGE, [300], 1), cut(sip("other", b"y" * 400), [300], 1)
    frames = [packet(mine[0]), packet(other[0], tag=8), packet(other[1], tag=8), packet(mine[1])]
    assert texts(decode(frames)) == [sip("other", b"y" * 400), MESSAGE]


def test_a_chunk_sent_again_is_no_second_message_and_a_mirrored_one_is() -> None:
    chunk = (1, WHOLE, MESSAGE)
    assert texts(decode([packet(chunk), packet(chunk, ts=SECOND)])) == [MESSAGE]
    assert texts(decode([packet(chunk), packet(chunk, ts=MS)])) == [MESSAGE, MESSAGE], "told as a copy further on"
    assert len(decode([packet(chunk), packet((2, WHOLE, MESSAGE), ts=SECOND)])) == 2


def test_a_lost_chunk_is_counted_and_the_beginning_is_kept() -> None:
    head, _, tail = cut(MESSAGE, [200, 300], 1)
    decoder = CarefulDecoder()
    assert decode([packet(head), packet(tail)], decoder) == []
    neighbour = frame(ether(ip4(17, udp(sip("neighbour")))), 40 * SECOND)
    given_up, other = sorted(decode([neighbour], decoder), key=lambda p: p.transport)
    assert (given_up.data, given_up.flags) == (head[2], STREAM_GAP | TRUNCATED)
    assert other.data == sip("neighbour")
    assert decoder.pending_frames() == []
    assert decoder.counters["fragments_lost"] == 1


def test_a_message_whose_first_chunk_never_came_is_counted_on_sip_ports_only() -> None:
    for port, lost in ((5060, 1), (3868, 0)):
        decoder = CarefulDecoder()
        decode([packet(*cut(MESSAGE, [200, 300], 1)[1:], port=port)], decoder)
        assert decoder.flush() == [] and decoder.counters["fragments_lost"] == lost


def test_no_more_is_held_than_the_limits_say() -> None:
    decoder = CarefulDecoder(limits=Limits(datagrams=16, fragment_bytes=20_000))
    for n in range(100):
        decode([packet((n * 2, 2, sip(f"call-{n}", b"x" * 900)[:-10]), ts=n)], decoder)
        assert len(decoder.pending_frames()) <= 17
    assert decoder.counters["fragments_lost"] >= 80
    endless = CarefulDecoder()
    decode([packet(*((n, 0, b"xxxx") for n in range(2000)))], endless)
    assert len(endless.pending_frames()) <= 1
