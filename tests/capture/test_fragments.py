"""IP fragments: any order, copies, overlaps, losses; never more held than the limits say."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.careful import CarefulDecoder
from capture.flags import FRAGMENT_LOST, FRAGMENTED, TRUNCATED
from capture.frames import Frame
from capture.ipfragments import Fragments, Key
from capture.limits import Limits
from tests.capture.wire import (
    A6,
    SECOND,
    A,
    decode,
    ether,
    frame,
    ip4,
    ip6,
    ip6_fragment,
    sip,
    tcp,
    texts,
    udp,
)

MESSAGE = sip("fragmented", b"v=0\r\n" + b"a=x:" + b"abcdefgh" * 60 + b"\r\n")
DATAGRAM = udp(MESSAGE)
NEIGHBOUR = frame(ether(ip4(17, udp(sip("neighbour")), src="192.0.2.9")))
LIFETIME = {4: 30 * SECOND, 6: 60 * SECOND}


def piece(version: int, start: int, end: int, *, body: bytes = DATAGRAM, ident: int = 77, ts: int = 0) -> Frame:
    """Bytes start to end of a datagram, as one captured fragment."""
    data, more = body[start:end], end < len(body)
    if version == 4:
        return frame(ether(ip4(17, data, ident=ident, off=start, more=more)), ts)
    return frame(ether(ip6_fragment(17, data, ident, start, more)), ts)


def cut(version: int, *places: int, body: bytes = DATAGRAM, ident: int = 77, ts: int = 0) -> list[Frame]:
    """A datagram cut at these places."""
    ends = [*places, len(body)]
    return [piece(version, a, b, body=body, ident=ident, ts=ts) for a, b in zip([0, *places], ends, strict=True)]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_any_order(version: int, order: tuple[int, ...]) -> None:
    frames = [f for n, f in enumerate(cut(version, 104, 208, 304))]
    arriving = [Frame(f.ts + n, *_rest(f)) for n, f in enumerate(frames[i] for i in order)]
    decoder = CarefulDecoder()
    assert decode(arriving[:-1], decoder) == []
    assert decoder.pending_frames() == arriving[:-1]
    (found,) = decode(arriving[-1:], decoder)
    assert found.data == MESSAGE
    assert found.flags == FRAGMENTED
    assert found.frames == tuple(arriving), "every fragment, as it came"
    assert found.ts == arriving[-1].ts
    assert found.src == (A if version == 4 else A6)
    assert found.ip_id == (77 if version == 4 else -1)
    assert decoder.pending_frames() == []


def _rest(f: Frame) -> tuple[int, str, int, bytes]:
    return f.link_type, f.interface, f.original, f.data


@pytest.mark.parametrize("version", [4, 6])
@given(data=st.data())
def test_any_cut_with_copies_and_neighbours(version: int, data: st.DataObject) -> None:
    places = sorted(data.draw(st.sets(st.integers(1, len(DATAGRAM) // 8).map(lambda n: n * 8), max_size=12)))
    frames = cut(version, *(p for p in places if p < len(DATAGRAM)))
    if len(frames) == 1:
        return
    copies = data.draw(st.lists(st.sampled_from(frames), max_size=6))
    arriving = data.draw(st.permutations([*frames, *copies, NEIGHBOUR]))
    found = decode(arriving, flush=True)
    assert sorted(texts(found)) == sorted([MESSAGE, sip("neighbour")])


@pytest.mark.parametrize("version", [4, 6])
def test_of_overlapping_fragments_the_first_copy_counts(version: int) -> None:
    forged = bytearray(DATAGRAM)
    forged[96:304] = b"!" * 208
    first, last = piece(version, 0, 200), piece(version, 304, len(DATAGRAM))
    between = piece(version, 96, 304, body=bytes(forged))
    (found,) = decode([first, between, last])
    assert found.data == DATAGRAM[8:200] + b"!" * 104 + DATAGRAM[304:]
    around = [piece(version, 200, 304), piece(version, 0, 400), piece(version, 104, len(DATAGRAM))]
    assert texts(decode(around)) == [MESSAGE]


@pytest.mark.parametrize("version", [4, 6])
def test_copies_are_dropped_before_and_after_a_datagram_is_done(version: int) -> None:
    frames, decoder = cut(version, 104, 208), CarefulDecoder()
    again = cut(version, 104, 208)[0]
    (found,) = decode([frames[0], again, *frames[1:]], decoder)
    assert found.frames == tuple(frames) and not any(f is again for f in found.frames)
    assert decode([f for f in frames for _ in range(2)], decoder) == []
    assert decoder.pending_frames() == []
    assert decode([], decoder, flush=True) == []
    assert decoder.counters["fragments_lost"] == 0


@pytest.mark.parametrize("version", [4, 6])
def test_an_identification_used_again_is_another_datagram(version: int) -> None:
    other = sip("other", b"y" * 300)
    decoder = CarefulDecoder()
    frames = cut(version, 104) + cut(version, 104, body=udp(other)) + cut(version, 104)
    assert texts(decode(frames, decoder)) == [MESSAGE, other, MESSAGE]
    # The very same bytes much later are sent anew.
    late = cut(version, 104, ts=LIFETIME[version] + SECOND)
    assert texts(decode(late, decoder)) == [MESSAGE]


def test_datagrams_are_told_apart_by_addresses_identification_and_protocol() -> None:
    others: list[dict[str, Any]] = [{}, {"src": "192.0.2.1"}, {"dst": "192.0.2.1"}, {"ident": 78}]
    bodies = [sip(f"m{n}", b"z" * 200) for n in range(4)]
    halves: list[list[Frame]] = []
    for body, keys in zip(bodies, others, strict=True):
        data = udp(body)
        halves.append(
            [
                frame(ether(ip4(17, data[:104], more=True, **keys))),
                frame(ether(ip4(17, data[104:], off=104, **keys))),
            ]
        )
    wrong_protocol = frame(ether(ip4(6, DATAGRAM[104:], off=104)))
    arriving = [h[0] for h in halves] + [wrong_protocol] + [h[1] for h in halves]
    assert texts(decode(arriving)) == bodies


@pytest.mark.parametrize("version", [4, 6])
def test_of_a_lost_fragment_the_beginning_is_kept(version: int) -> None:
    decoder = CarefulDecoder()
    first, second, _, last = cut(version, 104, 208, 304)
    assert decode([first, second, last], decoder) == []
    just = LIFETIME[version]
    assert texts(decode([Frame(NEIGHBOUR.ts + just, *_rest(NEIGHBOUR))], decoder)) == [sip("neighbour")]
    found = decode([Frame(NEIGHBOUR.ts + just + 1, *_rest(NEIGHBOUR))], decoder)
    assert texts(found) == [DATAGRAM[8:208], sip("neighbour")]
    assert found[0].flags == FRAGMENTED | FRAGMENT_LOST | TRUNCATED
    assert found[0].frames == (first, second, last)
    assert found[0].ip_id == (77 if version == 4 else -1)
    assert decoder.counters["fragments_lost"] == 1
    assert decoder.pending_frames() == []


def test_the_end_of_a_capture_gives_what_is_there() -> None:
    decoder = CarefulDecoder()
    (found,) = decode(cut(4, 104)[:1], decoder, flush=True)
    assert (found.data, found.flags) == (DATAGRAM[8:104], FRAGMENTED | FRAGMENT_LOST | TRUNCATED)


def test_without_the_first_fragment_there_is_nothing_to_show_but_a_count() -> None:
    decoder = CarefulDecoder()
    assert decode(cut(4, 104, 208)[1:], decoder, flush=True) == []
    assert decoder.counters["fragments_lost"] == 1


def test_a_fragment_that_the_snap_length_cut_leaves_a_hole() -> None:
    first, last = cut(4, 304)
    short = Frame(first.ts, first.link_type, first.interface, len(first.data), first.data[:200])
    (found,) = decode([short, last], flush=True)
    assert found.flags & FRAGMENT_LOST
    assert MESSAGE.startswith(found.data) and len(found.data) > 100


def test_an_atomic_fragment_is_whole() -> None:
    # RFC 6946: offset zero and no more to come.
    (found,) = decode([frame(ether(ip6_fragment(17, DATAGRAM, 5, 0, False)))])
    assert (found.data, found.flags) == (MESSAGE, 0)


def test_behind_other_extension_headers() -> None:
    hop_by_hop = bytes([44, 0, 1, 4, 0, 0, 0, 0])
    frames = []
    for start, end in ((0, 104), (104, len(DATAGRAM))):
        data = ip6_fragment(17, DATAGRAM[start:end], 9, start, end < len(DATAGRAM))[40:]
        frames.append(frame(ether(ip6(0, hop_by_hop + data))))
    (found,) = decode(frames)
    assert (found.data, found.flags) == (MESSAGE, FRAGMENTED)


def test_a_fragmented_tcp_segment_continues_its_stream() -> None:
    segment = tcp(sip("stream", b"x" * 400), 1)
    frames = [
        frame(ether(ip4(6, segment[:200], more=True))),
        frame(ether(ip4(6, segment[200:], off=200))),
    ]
    (found,) = decode(frames)
    assert (found.data, found.flags, found.transport) == (sip("stream", b"x" * 400), FRAGMENTED, "tcp")
    assert found.frames == tuple(frames)


# ---------------------------------------------------------------- bounds


def flood(count: int, version: int = 4) -> list[Frame]:
    """Beginnings of so many datagrams that never go on."""
    return [piece(version, 0, 104, ident=1000 + n) for n in range(count)]


@pytest.mark.parametrize("version", [4, 6])
def test_of_too_many_datagrams_the_oldest_goes(version: int) -> None:
    decoder = CarefulDecoder(limits=Limits(datagrams=10))
    found = decode(flood(50, version), decoder)
    assert len(decoder.pending_frames()) <= 11
    assert len(found) == decoder.counters["fragments_lost"] == 50 - len(decoder.pending_frames())
    assert all(p.flags & FRAGMENT_LOST for p in found)
    whole = cut(version, 104)
    assert MESSAGE in texts(decode(whole, decoder)), "new ones are still put together"


def test_frames_held_are_bounded_in_bytes() -> None:
    decoder = CarefulDecoder(limits=Limits(fragment_bytes=20_000))
    decode(flood(500), decoder)
    held = sum(len(f.data) + 200 for f in decoder.pending_frames())
    assert 10_000 < held <= 20_000 + 400


def test_a_datagram_of_endless_fragments_is_given_up() -> None:
    decoder = CarefulDecoder(limits=Limits(fragments=16))
    many = [piece(4, at, at + 8) for at in range(0, 400, 8)]
    assert decode(many, decoder) == []
    assert len(decoder.pending_frames()) <= 16
    assert texts(decode([NEIGHBOUR], decoder)) == [sip("neighbour")]


def test_a_datagram_cannot_be_longer_than_ip_allows() -> None:
    # The "ping of death": an offset that puts the end behind 65,535.
    decoder = CarefulDecoder()
    huge = frame(ether(ip4(17, b"x" * 1400, off=65_528)))
    first, last = cut(4, 104)
    assert texts(decode([first, huge, NEIGHBOUR, last], decoder)) == [sip("neighbour")], "nothing of it is believed"
    assert decoder.pending_frames() == [first]
    assert texts(decode([], decoder, flush=True)) == [DATAGRAM[8:104]]


def test_what_is_done_is_remembered_in_bounds_too() -> None:
    fragments = Fragments(Limits(datagrams=5))
    for n in range(40):
        key = Key(b"\1\2\3\4", b"\5\6\7\x08", n, 17)
        f = piece(4, 0, 8)
        assert fragments.add(key, 0, True, b"a" * 8, (f,)) is None
        assert fragments.add(key, 8, False, b"b" * 8, (f,)) is not None
    assert len(fragments._done) <= 5
    assert fragments.frames() == []
    assert fragments._weight == 0
