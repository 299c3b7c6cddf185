"""SIP messages in a stream: where they begin and end, and what lengths that lie do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from capture.decode import starts_sip
from capture.flags import HEADERS_CUT, LENGTH_LIES, STREAM_GAP, TRUNCATED
from capture.sipstream import SipStream, looks_like_sip
from tests.capture.wire import ok, sip

SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nm=audio 4000 RTP/AVP 8\r\n"
SIPFRAG = b"Content-Type: message/sipfrag;version=2.0\r\n"
QUOTED = b"c: message/sip\r\n"
INV, BYE = sip("a", SDP), sip("b", method="BYE")


def long_by(message: bytes, more: int) -> bytes:
    """The message with a Content-Length that is wrong by `more`."""
    head, _, body = message.partition(b"Content-Length: ")
    size, _, rest = body.partition(b"\r\n")
    return head + b"Content-Length: " + str(int(size) + more).encode() + b"\r\n" + rest


def run(*pieces: bytes) -> list[tuple[bytes, int]]:
    stream = SipStream()
    return [(cut.data, cut.flags) for piece in pieces for cut in stream.feed(piece)]


HONEST = [
    ("one", INV, [INV]),
    ("several in a segment", INV + BYE + ok("a"), [INV, BYE, ok("a")]),
    ("keep-alives between", b"\r\n\r\n" + INV + b"\r\n\r\n" + BYE + b"\0\0\0\0" + BYE, [INV, BYE, BYE]),
    ("joined in a body", SDP[7:] + BYE, [BYE]),
    ("joined in a header", b"rt: 1\r\nTo: x\r\n\r\n" + BYE, [BYE]),
    ("binary first", b"\x80\x01\x02\xff\n" + BYE, [BYE]),
    ("line ends are LF", BYE.replace(b"\r\n", b"\n") * 2, [BYE.replace(b"\r\n", b"\n")] * 2),
    ("body runs into a start line", sip("t", b"hello") + BYE, [sip("t", b"hello"), BYE]),
    ("body is a message", sip("q", BYE, extra=QUOTED) + ok("a"), [sip("q", BYE, extra=QUOTED), ok("a")]),
    (
        "sipfrag",
        sip("n", b"SIP/2.0 200 OK\r\n", "NOTIFY", SIPFRAG) + BYE,
        [sip("n", b"SIP/2.0 200 OK\r\n", "NOTIFY", SIPFRAG), BYE],
    ),
    (
        "short sipfrag",
        sip("n", b"SIP/2.0 200 OK", "NOTIFY", SIPFRAG) + BYE,
        [sip("n", b"SIP/2.0 200 OK", "NOTIFY", SIPFRAG), BYE],
    ),
    (
        "compact length",
        b"BYE sip:a SIP/2.0\r\ni: 1\r\nl:3\r\n\r\nabc" + BYE,
        [b"BYE sip:a SIP/2.0\r\ni: 1\r\nl:3\r\n\r\nabc", BYE],
    ),
    (
        "folded length",
        b"BYE sip:a SIP/2.0\r\nL :\r\n 3\r\n\r\nabc" + BYE,
        [b"BYE sip:a SIP/2.0\r\nL :\r\n 3\r\n\r\nabc", BYE],
    ),
    (
        "no length, no body",
        BYE.replace(b"Content-Length: 0\r\n", b"") + INV,
        [BYE.replace(b"Content-Length: 0\r\n", b""), INV],
    ),
    ("method not known", sip("u", SDP, "X-odd~Method") + BYE, [sip("u", SDP, "X-odd~Method"), BYE]),
]


@pytest.mark.parametrize(("data", "expected"), [(d, e) for _, d, e in HONEST], ids=[n for n, _, _ in HONEST])
def test_honest_streams_are_cut_the_same_in_one_piece_and_byte_by_byte(data: bytes, expected: list[bytes]) -> None:
    assert run(data) == [(m, 0) for m in expected]
    assert run(*(data[i : i + 1] for i in range(len(data)))) == [(m, 0) for m in expected]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(
            long_by(INV, 7) + BYE + BYE, [(long_by(INV, 7), LENGTH_LIES), (BYE, 0), (BYE, 0)], id="too long by a little"
        ),
        pytest.param(
            long_by(INV, 5000) + BYE + BYE,
            [(long_by(INV, 5000), LENGTH_LIES), (BYE, 0), (BYE, 0)],
            id="too long by much",
        ),
        pytest.param(long_by(BYE, 5) + INV, [(long_by(BYE, 5), LENGTH_LIES), (INV, 0)], id="ends within a method"),
        pytest.param(long_by(INV, -9) + BYE, [(long_by(INV, -9), LENGTH_LIES), (BYE, 0)], id="too short"),
        pytest.param(
            INV.replace(b"Content-Length", b"X-Length") + BYE,
            [(INV.replace(b"Content-Length", b"X-Length"), LENGTH_LIES), (BYE, 0)],
            id="missing with a body",
        ),
        pytest.param(long_by(INV, 10**12) + BYE, [(long_by(INV, 10**12), LENGTH_LIES), (BYE, 0)], id="absurd"),
        pytest.param(
            sip().replace(b"Length: 0", b"Length: -3") + BYE,
            [(sip().replace(b"Length: 0", b"Length: -3"), LENGTH_LIES), (BYE, 0)],
            id="no number",
        ),
        pytest.param(
            INV.partition(b"\r\n\r\n")[0] + b"\r\n" + BYE,
            [(INV.partition(b"\r\n\r\n")[0] + b"\r\n", HEADERS_CUT), (BYE, 0)],
            id="no blank line",
        ),
    ],
)
def test_a_length_that_lies_costs_no_neighbour(data: bytes, expected: list[tuple[bytes, int]]) -> None:
    assert run(data) == expected


@pytest.mark.parametrize("wrong", [-40, -9, 7, 200, 5000])
@given(size=st.integers(1, 200))
def test_after_a_lie_the_stream_is_found_again_however_it_is_cut(wrong: int, size: int) -> None:
    # Where nothing follows yet, a Content-Length is believed: there is nothing that could contradict it.
    assume((len(long_by(INV, wrong)) + wrong) % size)
    data = long_by(INV, wrong) + BYE + ok("c", b"x") + BYE
    found = [m for m, _ in run(*(data[i : i + size] for i in range(0, len(data), size)))]
    assert found[-2:] == [ok("c", b"x"), BYE]


def test_positions_are_those_of_the_stream() -> None:
    stream = SipStream()
    cuts = stream.feed(b"\r\n\r\n" + INV + b"\r\n" + BYE)
    assert [(c.start, c.end) for c in cuts] == [(4, 4 + len(INV)), (6 + len(INV), 6 + len(INV) + len(BYE))]
    assert stream.needed_from == 6 + len(INV) + len(BYE)


def test_a_gap_gives_what_was_begun_and_flags_the_next() -> None:
    stream = SipStream()
    assert stream.feed(INV[:-10]) == []
    assert [(c.data, c.flags) for c in stream.gap(10)] == [(INV[:-10], STREAM_GAP)]
    after = stream.feed(b"junk\r\n" + BYE + BYE)
    assert [(c.data, c.flags) for c in after] == [(BYE, STREAM_GAP), (BYE, 0)]
    assert after[0].start == len(INV) + 6


def test_the_end_gives_what_was_begun() -> None:
    for cut, flags in ((len(INV) - 5, TRUNCATED), (60, TRUNCATED | HEADERS_CUT)):
        stream = SipStream()
        stream.feed(INV[:cut])
        assert [(c.data, c.flags) for c in stream.finish()] == [(INV[:cut], flags)]


def test_headers_without_end_are_bounded() -> None:
    stream = SipStream(limit=4096)
    cuts = [
        c
        for _ in range(100)
        for c in stream.feed(b"INVITE sip:a SIP/2.0\r\n" if _ == 0 else b"X: " + b"y" * 97 + b"\r\n")
    ]
    assert [c.flags for c in cuts] == [HEADERS_CUT]
    assert stream.received - stream.needed_from == 0, "nothing is held of what follows"
    assert [c.data for c in stream.feed(BYE)] == [BYE]


def test_junk_is_not_held() -> None:
    stream = SipStream()
    for _ in range(50):
        stream.feed(b"\x17\x03\x03" + b"junk=junk;" * 1000)
    assert stream.received - stream.needed_from < 10_000
    assert stream.quiet


_piece = st.sampled_from(
    [
        b"SIP/",
        b"SIP/2.0",
        b" ",
        b" SIP/2.0",
        b" SIP/",
        b"INVITE",
        b"sip:a",
        b"\r\n",
        b"x" * 63,
        b"x",
        b"\t",
        b"/",
        b"\x00",
        b"y" * 8170,
    ]
)


@given(st.lists(_piece, max_size=6).map(b"".join))
@example(b"x" * 64 + b" a SIP/2.0")
@example(b"x " + b"y" * 8183 + b" SIP/2.0")
@example(b"x " + b"y" * 8184 + b" SIP/2.0")
def test_both_paths_agree_on_what_is_sip(data: bytes) -> None:
    assert looks_like_sip(data) == bool(starts_sip(np.frombuffer(data + b"\0", np.uint8), 0, len(data)))


@given(
    st.lists(st.one_of(st.binary(max_size=60), _piece, st.sampled_from([INV, BYE, b"\r\nl: 9\r\n\r\n"])), max_size=12)
)
def test_random_bytes_never_raise(pieces: list[bytes]) -> None:
    stream = SipStream()
    total = 0
    for piece in pieces:
        for cut in stream.feed(piece):
            assert total <= cut.start < cut.end and len(cut.data) == cut.end - cut.start
            total = cut.end
    stream.finish()
    assert stream.needed_from == stream.received == sum(map(len, pieces))
