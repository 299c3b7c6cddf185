"""SIP over TCP: however segments cut it, in whatever order they come, lost, repeated or joined midway."""

from __future__ import annotations

from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.careful import CarefulDecoder
from capture.flags import CLOSED, HEADERS_CUT, RESET, STREAM_GAP, TRUNCATED
from capture.frames import Frame, Payload
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
    ok,
    sip,
    syn,
    tcp,
    tcp_frame,
    texts,
    udp,
)

SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nm=audio 4000 RTP/AVP 8\r\n"
INV, BYE, OK = sip("a", SDP), sip("b", method="BYE"), ok("a", SDP)
ALL = INV + BYE + OK
NEIGHBOUR = frame(ether(ip4(17, udp(sip("neighbour")), src="192.0.2.9")))
FIN, RST = 0x11, 0x14


def segments(data: bytes, *cuts: int, seq: int = 1) -> list[Frame]:
    """The bytes of a stream as captured segments, cut at these places."""
    places = [0, *cuts, len(data)]
    return [tcp_frame(data[a:b], seq + a, ts=n) for n, (a, b) in enumerate(pairwise(places))]


def at(f: Frame, ts: int) -> Frame:
    """The same frame at another time."""
    return Frame(10**18 + ts, f.link_type, f.interface, f.original, f.data)


def summary(payloads: list[Payload]) -> list[tuple[bytes, int]]:
    """Messages; that a connection ends is another matter."""
    return [(p.data, p.flags) for p in payloads if not p.flags & (CLOSED | RESET)]


# ---------------------------------------------------------------- whole streams


def test_several_messages_in_a_segment() -> None:
    (one,) = segments(ALL)
    found = decode([one])
    assert summary(found) == [(INV, 0), (BYE, 0), (OK, 0)]
    for p in found:
        assert (p.transport, p.src, p.sport, p.dst, p.dport) == ("tcp", A, 40000, B, 5060)
        assert p.frames == (one,) and p.ts == one.ts and p.ip_id == 77


def test_cut_anywhere_a_message_has_exactly_its_frames() -> None:
    for place in range(1, len(ALL)):
        frames = segments(ALL, place)
        found = decode(frames)
        assert texts(found) == [INV, BYE, OK]
        start = 0
        for p in found:
            end = start + len(p.data)
            carried = [
                f for f, (a, b) in zip(frames, ((0, place), (place, len(ALL))), strict=True) if a < end > start < b
            ]
            assert list(p.frames) == carried, (place, p.data[:10])
            assert p.ts == carried[-1].ts
            start = end


def test_over_ipv6() -> None:
    (found,) = decode([frame(ether(ip6(6, tcp(INV, 1))))])
    assert (found.data, found.transport, found.src, found.dst, found.ip_id) == (INV, "tcp", A6, B6, -1)


def test_both_directions_and_other_connections_are_streams_of_their_own() -> None:
    def other(payload: bytes, seq: int, sport: int) -> Frame:
        return frame(ether(ip4(6, tcp(payload, seq, sport=sport))))

    back = [
        frame(ether(ip4(6, tcp(OK[a:b], 1 + a, sport=5060, dport=40000), src=B, dst=A)))
        for a, b in ((0, 60), (60, len(OK)))
    ]
    there = segments(INV, 60)
    third = [other(BYE[:60], 1, 40001), other(BYE[60:], 61, 40001)]
    found = decode([f for trio in zip(there, back, third, strict=True) for f in trio])
    assert sorted(texts(found)) == sorted([INV, OK, BYE])
    assert {(p.src, p.sport) for p in found} == {(A, 40000), (B, 5060), (A, 40001)}


# ---------------------------------------------------------------- order and copies


@pytest.mark.parametrize("order", list(permutations(range(5))))
def test_segments_out_of_order(order: tuple[int, ...]) -> None:
    frames = segments(ALL, 50, len(INV) + 3, len(INV) + 40, len(INV) + len(BYE) + 9)
    found = decode([syn(1), *(frames[n] for n in order[:2]), NEIGHBOUR, *(frames[n] for n in order[2:])])
    assert sorted(texts(found)) == sorted([INV, BYE, OK, sip("neighbour")])
    assert not any(p.flags for p in found)


@given(data=st.data())
def test_any_cut_order_and_copy(data: st.DataObject) -> None:
    places = sorted(data.draw(st.sets(st.integers(1, len(ALL) - 1), max_size=9)))
    frames = segments(ALL, *places)
    copies = data.draw(st.lists(st.sampled_from(frames), max_size=5))
    arriving = data.draw(st.permutations(frames + copies))
    decoder = CarefulDecoder()
    assert summary(decode([syn(1), *arriving], decoder)) == [(INV, 0), (BYE, 0), (OK, 0)]
    assert decoder.pending_frames() == []


@given(data=st.data())
def test_any_overlap(data: st.DataObject) -> None:
    # Segments that may begin before the end of the one before them, as after a loss with a changed segment size.
    frames, end = [], 0
    while end < len(ALL):
        start = data.draw(st.integers(max(0, end - 60), end))
        end = data.draw(st.integers(end + 1, min(len(ALL), end + 200)))
        frames.append(tcp_frame(ALL[start:end], 1 + start))
    assert texts(decode([syn(1), *frames])) == [INV, BYE, OK]


def test_of_overlapping_bytes_the_first_copy_counts() -> None:
    forged = INV[:40] + b"!" * 60
    frames = [syn(1), tcp_frame(INV[:100], 1), tcp_frame(forged[20:100] + INV[100:], 21)]
    assert texts(decode(frames)) == [INV]


def test_of_segments_that_wait_at_one_place_the_longer_counts() -> None:
    short, long = tcp_frame(ALL[80:120], 81), tcp_frame(ALL[80:], 81)
    for waiting in ([short, long], [long, short]):
        assert texts(decode([syn(1), *waiting, tcp_frame(ALL[:80], 1)])) == [INV, BYE, OK]


def test_a_retransmission_is_no_second_message() -> None:
    (one,) = segments(ALL)
    decoder = CarefulDecoder()
    assert len(decode([syn(1), one], decoder)) == 3
    assert decode([at(one, SECOND), at(one, 2 * SECOND)], decoder, flush=True) == []


@pytest.mark.parametrize("seq", [0xFFFFFFFF, 0x100000000 - 50, 0x100000000 - len(INV), 0x7FFFFFFF - 20])
def test_sequence_numbers_wrap(seq: int) -> None:
    frames = segments(ALL, 30, 90, len(INV), seq=seq)
    assert texts(decode([syn(seq), *frames])) == [INV, BYE, OK]
    assert texts(decode([syn(seq), *reversed(frames)])) == [INV, BYE, OK]
    assert texts(decode([syn(seq), *frames, *frames])) == [INV, BYE, OK]


def test_keep_alive_probes_change_nothing() -> None:
    # RFC 9293 section 3.8.4: one byte, or none, before the next one.
    first, second = segments(ALL, len(INV) + 30)
    place = len(INV) + 30
    probes = [tcp_frame(b"\0", place), tcp_frame(b"", place, bits=0x10), tcp_frame(b"\0", place)]
    decoder = CarefulDecoder()
    found = decode([syn(1), first, *probes * 20, second, *probes], decoder)
    assert summary(found) == [(INV, 0), (BYE, 0), (OK, 0)]
    assert decoder.counters["stream_gaps"] == 0


def test_a_connection_on_the_same_ports_begins_anew() -> None:
    again = sip("again")
    frames = [syn(1), *segments(INV + BYE[:50]), syn(900_000_000), tcp_frame(again, 900_000_000)]
    assert summary(decode(frames)) == [(INV, 0), (BYE[:50], TRUNCATED | HEADERS_CUT), (again, 0)]
    # Without its SYN in the capture it is told by a sequence number far from all that was seen, and some patience.
    far = [tcp_frame(sip(f"n{n}"), 2_000_000_000 + n * len(sip("n0"))) for n in range(4)]
    found = texts(decode([syn(1), *segments(INV), *far]))
    assert found[0] == INV and found[-1] == sip("n3") and sip("n2") in found


# ---------------------------------------------------------------- joined midway, ended early


def test_joined_in_a_body_or_a_header_it_begins_at_the_next_start_line() -> None:
    # Inside the first word nothing tells that it is not a method.
    for place in range(len("INVITE"), len(INV)):
        found = decode([tcp_frame(ALL[place:], 5000 + place)])
        assert texts(found)[-2:] == [BYE, OK], place
        assert len(found) == 2


def test_joined_with_a_segment_that_overtook_the_first() -> None:
    # As long as nothing was found, an earlier segment is still welcome.
    first, second, third, fourth = segments(ALL, 30, 70, len(INV) + 20)
    assert texts(decode([second, first, third, fourth])) == [INV, BYE, OK]
    assert texts(decode([third, first, second, fourth])) == [INV, BYE, OK]
    assert texts(decode([third, second, first, fourth])) == [INV, BYE, OK]


@pytest.mark.parametrize("bits", [FIN, RST, None], ids=["FIN", "RST", "end of capture"])
def test_what_was_begun_is_given_when_the_stream_ends(bits: int | None) -> None:
    begun = INV[:-10]
    ending = [] if bits is None else [tcp_frame(b"", 1 + len(begun), bits=bits)]
    decoder = CarefulDecoder()
    found = decode([syn(1), *segments(begun), *ending], decoder)
    if bits is None:
        assert found == []
        found = decode([], decoder, flush=True)
    assert summary(found) == [(begun, TRUNCATED)]
    assert decode([], decoder, flush=True) == [], "given once"


def test_a_fin_that_overtakes_data_waits_for_it() -> None:
    first, second = segments(INV, 80)
    fin = tcp_frame(b"", 1 + len(INV), bits=FIN)
    assert summary(decode([syn(1), first, fin, second])) == [(INV, 0)]
    with_data = tcp_frame(INV[80:], 81, bits=FIN | 8)
    assert summary(decode([syn(1), with_data, first])) == [(INV, 0)]


def test_a_message_that_never_ends_is_given_up_after_a_while() -> None:
    decoder = CarefulDecoder()
    begun = tcp_frame(INV[:-10], 1)
    assert decode([syn(1), begun, at(NEIGHBOUR, 31 * SECOND)], decoder)[0].data == sip("neighbour")
    assert decoder.pending_frames() == [begun]
    found = decode([at(NEIGHBOUR, 33 * SECOND)], decoder)
    assert (INV[:-10], TRUNCATED) in summary(found) and len(found) == 2
    assert decoder.pending_frames() == []


# ---------------------------------------------------------------- losses


def test_a_hole_that_stays_is_skipped_flagged_and_counted() -> None:
    first, _, third = segments(INV + BYE + OK + BYE, 100, len(INV) + 20)
    decoder = CarefulDecoder()
    assert decode([syn(1), first, third], decoder) == []
    assert decoder.pending_frames() == [first, third]
    assert texts(decode([at(NEIGHBOUR, 2 * SECOND)], decoder)) == [sip("neighbour")], "it may still come"
    found = decode([at(NEIGHBOUR, 4 * SECOND)], decoder)
    assert summary(found) == [(sip("neighbour"), 0), (INV[:100], STREAM_GAP | HEADERS_CUT), (OK, STREAM_GAP), (BYE, 0)]
    assert found[1].frames == (first,)
    assert decoder.counters["stream_gaps"] == 1
    assert decoder.pending_frames() == []


def test_a_hole_between_messages_costs_none() -> None:
    first, _, third = segments(INV + BYE + OK, len(INV), len(INV) + len(BYE))
    found = decode([syn(1), first, third], flush=True)
    assert summary(found) == [(INV, 0), (OK, STREAM_GAP)]


def test_a_hole_is_skipped_when_too_much_waits_behind_it() -> None:
    decoder = CarefulDecoder(limits=Limits(hole_bytes=2000))
    later = b"".join(sip(f"m{n:02}") for n in range(40))
    size = len(sip("m00"))
    frames = [tcp_frame(later[a : a + size], 1001 + a) for a in range(0, len(later), size)]
    found = decode([syn(1), *frames], decoder)
    assert texts(found) == [sip(f"m{n:02}") for n in range(40)]
    assert [p.flags for p in found] == [STREAM_GAP] + [0] * 39
    assert decoder.counters["stream_gaps"] == 1


def test_bytes_that_the_snap_length_cut_are_known_to_be_missing() -> None:
    whole = ether(ip4(6, tcp(INV, 1)))
    short = Frame(10**18, 1, "eth0", len(whole), whole[: len(whole) - 30])
    found = decode([syn(1), short, tcp_frame(BYE, 1 + len(INV))])
    assert summary(found) == [(INV[:-30], TRUNCATED), (BYE, 0)]


@pytest.mark.parametrize("lost", range(6))
@given(data=st.data())
def test_a_lost_segment_costs_only_what_it_carried(lost: int, data: st.DataObject) -> None:
    messages = [sip(f"m{n}", SDP) for n in range(6)]
    stream = b"".join(messages)
    size = len(messages[0])
    cuts = sorted({data.draw(st.integers(n * size, (n + 1) * size - 1)) for n in range(1, 6)})
    frames = segments(stream, *cuts)
    places = [0, *cuts, len(stream)]
    gone = (places[lost], places[lost + 1])
    found = texts(decode([syn(1), *frames[:lost], *frames[lost + 1 :]], flush=True))
    for n, message in enumerate(messages):
        if n * size >= gone[1] or (n + 1) * size <= gone[0]:
            assert message in found


# ---------------------------------------------------------------- not ours, and bounds


def test_tls_is_left_alone_and_counted_on_our_ports() -> None:
    hello = b"\x16\x03\x01\x00\x05hello"
    decoder = CarefulDecoder()
    assert (
        decode(
            [syn(1, 5061), tcp_frame(hello, 1, dport=5061), tcp_frame(b"\x17\x03\x03" + INV, 12, dport=5061)], decoder
        )
        == []
    )
    assert decoder.counters["encrypted"] == 2
    assert decode([tcp_frame(hello, 1, dport=443)], decoder) == []
    assert decoder.counters["encrypted"] == 2


def test_on_another_port_sip_is_found_and_other_traffic_soon_left_alone() -> None:
    assert texts(decode([tcp_frame(INV + BYE, 1, dport=7777)])) == [INV, BYE]
    decoder = CarefulDecoder()
    junk = [tcp_frame(b"junk " * 200, 1 + n * 1000, dport=7777) for n in range(50)]
    assert decode([syn(1, 7777), *junk], decoder) == []
    assert decoder.counters["not_sip"] > 40
    assert decoder.pending_frames() == []


def test_streams_are_bounded_in_number_and_the_silent_goes_first() -> None:
    decoder = CarefulDecoder(limits=Limits(streams=10))

    def opening(n: int) -> Frame:
        return frame(ether(ip4(6, tcp(INV[:100], 1, sport=1000 + n))))

    kept = [frame(ether(ip4(6, tcp(sip("kept") if n == 39 else b"\r\n", 1 + 2 * n, sport=999)))) for n in range(40)]
    found: list[Payload] = []
    for n in range(40):
        found += decode([kept[n], opening(n)], decoder)
    assert sip("kept") in texts(found), "a stream that goes on is not thrown out"
    assert decoder.counters["evicted"] == 31
    assert len([p for p in found if p.data == INV[:100]]) == 31, "what was begun is given, not dropped"
    assert len(decoder.pending_frames()) == 9


def test_frames_held_are_bounded_in_bytes() -> None:
    decoder = CarefulDecoder(limits=Limits(held_bytes=50_000))
    for n in range(200):
        decode([frame(ether(ip4(6, tcp(INV[:-5], 1, sport=1000 + n))))], decoder)
    assert sum(len(f.data) + 200 for f in decoder.pending_frames()) <= 50_000
    assert decoder.counters["evicted"] > 50


def test_a_message_in_countless_segments_is_given_up() -> None:
    decoder = CarefulDecoder(limits=Limits(segments=20))
    drops = [tcp_frame(INV[:40], 1), *(tcp_frame(INV[n : n + 1], 1 + n) for n in range(40, 80))]
    found = decode([syn(1), *drops], decoder)
    assert summary(found) == [(INV[:60], TRUNCATED | HEADERS_CUT)]
    assert len(decoder.pending_frames()) <= 21
    end = tcp_frame(b"\r\n\r\n" + BYE, 81)
    assert texts(decode([end], decoder)) == [BYE], "the stream itself goes on"


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3000),
            st.sampled_from(
                [b"", INV, INV[:80], INV[80:], BYE, b"\r\n\r\n", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"]
            ),
            st.sampled_from([0x10, 0x18, 2, 0x12, FIN, RST, 0xFF]),
            st.integers(0, 40),
        ),
        max_size=25,
    )
)
def test_nonsense_never_raises_and_costs_no_neighbour(moves: list[tuple[int, bytes, int, int]]) -> None:
    decoder = CarefulDecoder(limits=Limits(streams=4, segments=8, hole_bytes=500, held_bytes=4000))
    frames = [tcp_frame(data, seq, ts * SECOND, bits) for seq, data, bits, ts in moves]
    apart = [
        frame(ether(ip4(6, tcp(BYE[a:b], 1 + a), src="192.0.2.77")), 41 * SECOND) for a, b in ((0, 60), (60, len(BYE)))
    ]
    found = decode([*frames, *apart], decoder, flush=True)
    assert [p.data for p in found if p.src == "192.0.2.77"] == [BYE]
    assert decoder.pending_frames() == []
    assert decoder._streams._weight == 0
