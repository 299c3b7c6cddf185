"""SIP over WebSocket (RFC 7118): upgrade, masks, pieces, control frames, compression, and connections joined midway."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.careful import CarefulDecoder
from capture.flags import STREAM_GAP, TRUNCATED
from capture.frames import Frame, Payload
from capture.sipstream import Cut
from capture.websocket import WebStream
from tests.capture.wire import SECOND, A, B, decode, ether, frame, ip4, ok, sip, syn, tcp, tcp_frame, texts

ASK = (
    b"GET / HTTP/1.1\r\nHost: sip.example.com\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Protocol: sip\r\n\r\n"
)
AGREE = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nm=audio 4000 RTP/AVP 8\r\n"
INV, BYE, OK = sip("a", SDP), sip("b", method="BYE"), ok("a")
MASK = b"\x37\xfa\x21\x3d"


def ws(payload: bytes, opcode: int = 1, *, final: bool = True, mask: bytes = b"", compressed: bool = False) -> bytes:
    """A frame (RFC 6455 section 5.2)."""
    first = opcode | (0x80 if final else 0) | (0x40 if compressed else 0)
    size, masked = len(payload), 0x80 if mask else 0
    if size < 126:
        head = struct.pack(">BB", first, size | masked)
    elif size < 65536:
        head = struct.pack(">BBH", first, 126 | masked, size)
    else:
        head = struct.pack(">BBQ", first, 127 | masked, size)
    if mask:
        payload = bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))
    return head + mask + payload


def deflated(*messages: bytes, context: bool = True) -> list[bytes]:
    """Messages as permessage-deflate sends them (RFC 7692), with one window for all of them or a new one for each."""
    out, packer = [], zlib.compressobj(wbits=-15)
    for message in messages:
        out.append((packer.compress(message) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4])
        if not context:
            packer = zlib.compressobj(wbits=-15)
    return out


def run(*pieces: bytes) -> list[bytes]:
    """Messages of a stream that comes in these pieces."""
    stream = WebStream()
    return [cut.data for piece in pieces for cut in stream.feed(piece)]


CLEAR = [
    ("from the server", AGREE + ws(INV) + ws(BYE), [INV, BYE]),
    ("from the client, masked", ASK + ws(INV, mask=MASK) + ws(BYE, mask=b"\0\0\0\0"), [INV, BYE]),
    ("binary frames", ASK + ws(INV, 2, mask=MASK), [INV]),
    (
        "in pieces, a ping between",
        AGREE + ws(INV[:50], final=False) + ws(b"are you there", 9) + ws(INV[50:90], 0, final=False) + ws(INV[90:], 0),
        [INV],
    ),
    ("ping, pong and keep-alive", AGREE + ws(b"", 9) + ws(b"\r\n\r\n") + ws(b"x", 10, mask=MASK) + ws(BYE), [BYE]),
    ("line ends before a message", AGREE + ws(b"\r\n\r\n" + BYE), [BYE]),
    ("an empty frame", AGREE + ws(b"") + ws(BYE), [BYE]),
    ("16 bits of length", AGREE + ws(sip("long", b"x" * 40_000)), [sip("long", b"x" * 40_000)]),
    ("64 bits of length", AGREE + ws(sip("longer", b"x" * 70_000)), [sip("longer", b"x" * 70_000)]),
    ("closed", AGREE + ws(INV) + ws(b"\x03\xe8bye", 8), [INV]),
    ("compressed", AGREE + b"".join(ws(d, compressed=True) for d in deflated(INV, BYE, INV)), [INV, BYE, INV]),
    (
        "compressed, each for itself",
        ASK + b"".join(ws(d, compressed=True, mask=MASK) for d in deflated(INV, BYE, context=False)),
        [INV, BYE],
    ),
    (
        "compressed in pieces",
        AGREE + ws(deflated(INV)[0][:20], compressed=True, final=False) + ws(deflated(INV)[0][20:], 0),
        [INV],
    ),
    ("compressed and not", AGREE + ws(deflated(INV)[0], compressed=True) + ws(BYE), [INV, BYE]),
    ("no SIP", AGREE + ws(b"hello") + ws(b'{"jsonrpc": "2.0"}') + ws(BYE), [BYE]),
    ("no WebSocket at all", INV + BYE, [INV, BYE]),
    ("no upgrade", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" + INV, []),
]


@pytest.mark.parametrize(("data", "expected"), [(d, e) for _, d, e in CLEAR], ids=[n for n, _, _ in CLEAR])
def test_messages_are_found_in_one_piece_and_byte_by_byte(data: bytes, expected: list[bytes]) -> None:
    assert run(data) == expected
    if len(data) < 20_000:
        assert run(*(data[i : i + 1] for i in range(len(data)))) == expected
    assert run(*(data[i : i + 777] for i in range(0, len(data), 777))) == expected


@given(st.lists(st.integers(1, 400), max_size=20), st.binary(min_size=4, max_size=4))
def test_any_cut_and_any_mask(sizes: list[int], mask: bytes) -> None:
    data = ASK + ws(INV, mask=mask) + ws(b"", 9, mask=mask) + ws(BYE, mask=mask)
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    assert run(*pieces, data[at:]) == [INV, BYE]


def to_server(data: bytes, seq: int, ts: int = 0, dport: int = 8080) -> Frame:
    return tcp_frame(data, seq, ts, dport=dport)


def test_both_directions_of_a_connection() -> None:
    def to_client(data: bytes, seq: int) -> Frame:
        return frame(ether(ip4(6, tcp(data, seq, sport=8080, dport=40000), src=B, dst=A)))

    masked = ws(INV, mask=MASK)
    frames = [
        syn(1, 8080),
        to_server(ASK, 1),
        to_client(AGREE, 1),
        to_server(masked[:100], 1 + len(ASK)),
        to_client(ws(OK), 1 + len(AGREE)),
        to_server(masked[100:], 101 + len(ASK)),
    ]
    found = decode(frames)
    assert [(p.data, p.transport, p.src, p.dport, p.flags) for p in found] == [
        (OK, "ws", B, 40000, 0),
        (INV, "ws", A, 8080, 0),
    ]
    assert found[1].frames == (frames[3], frames[5]), "the frames of the message, without those of the upgrade"
    assert found[0].frames == (frames[4],)


@pytest.mark.parametrize("mask", [b"", MASK], ids=["plain", "masked"])
def test_joined_midway_at_a_frame(mask: bytes) -> None:
    frames = [to_server(ws(m, mask=mask), 5000 + n * 1000) for n, m in enumerate([INV])]
    assert texts(decode(frames)) == [INV]
    assert decode(frames)[0].transport == "ws"


def test_joined_midway_inside_a_frame_it_begins_at_the_next_segment() -> None:
    first, second, third = ws(INV, mask=MASK), ws(BYE, mask=MASK), ws(OK, mask=MASK)
    decoder = CarefulDecoder()
    found = decode([to_server(first[60:], 5060), to_server(second, 5000 + len(first))], decoder)
    found += decode([to_server(third, 5000 + len(first) + len(second))], decoder)
    assert texts(found) == [BYE, OK]


def test_a_hole_costs_only_the_frame_it_is_in() -> None:
    parts = [ASK, *(ws(m, mask=MASK) for m in (INV, BYE, OK, BYE))]
    seqs = [1 + sum(map(len, parts[:n])) for n in range(len(parts))]
    frames = [to_server(part, seq) for part, seq in zip(parts, seqs, strict=True)]
    decoder = CarefulDecoder()
    found = decode([syn(1, 8080), *frames[:2], *frames[3:]], decoder, flush=True)
    assert [(p.data, p.flags) for p in found] == [(INV, 0), (OK, STREAM_GAP), (BYE, 0)]
    assert decoder.counters["stream_gaps"] == 1


def test_a_hole_inside_a_frame_keeps_its_beginning() -> None:
    data = ws(INV, mask=MASK)
    frames = [
        to_server(ASK, 1),
        to_server(data[:100], 1 + len(ASK)),
        to_server(ws(BYE, mask=MASK), 1 + len(ASK + data)),
    ]
    found = decode([syn(1, 8080), *frames], flush=True)
    assert [(p.data, p.flags) for p in found] == [(INV[:92], STREAM_GAP), (BYE, STREAM_GAP)]


def test_behind_a_hole_bytes_that_look_like_a_frame_hide_none() -> None:
    # The rest of the damaged frame reads as the head of a frame of 8 KiB.
    data = ws(sip("a", b"\x82\x7e\x20\x00" * 30))
    seq = 1 + len(AGREE)
    frames = [
        to_server(AGREE, 1),
        to_server(data[:60], seq),
        to_server(data[-40:], seq + len(data) - 40),
        to_server(ws(BYE), seq + len(data)),
    ]
    assert BYE in texts(decode([syn(1, 8080), *frames], flush=True))


def test_a_control_frame_cannot_be_long() -> None:
    # RFC 6455 section 5.5: at most 125 bytes; this one would swallow what follows.
    stream = WebStream()
    assert stream.feed(AGREE + b"\x89\x7e\x20\x00") == []
    assert [c.data for c in stream.feed(ws(BYE))] == [BYE]


def test_a_message_of_several_frames_has_the_packets_of_all() -> None:
    pieces = [ws(INV[:50], final=False), ws(INV[50:], 0)]
    frames = [to_server(AGREE, 1)]
    for piece in pieces:
        frames.append(to_server(piece, 1 + sum(len(f.data) - 54 for f in frames)))
    (found,) = decode([syn(1, 8080), *frames])
    assert (found.data, found.frames) == (INV, tuple(frames[1:]))


def test_what_was_begun_is_given_at_the_end() -> None:
    found = decode([to_server(ASK, 1), to_server(ws(INV, mask=MASK)[:100], 1 + len(ASK))], flush=True)
    assert [(p.data, p.flags) for p in found] == [(INV[:92], TRUNCATED)]


def test_only_configured_ports_are_looked_at() -> None:
    data = ASK + ws(INV, mask=MASK)
    assert texts(decode([to_server(data, 1, dport=8888)])) == []
    decoder = CarefulDecoder(ws_ports=frozenset({8888}))
    assert texts(decode([to_server(data, 1, dport=8888)], decoder)) == [INV]


# ---------------------------------------------------------------- hostile


def test_a_compressed_message_cannot_blow_up() -> None:
    bomb = deflated(sip("bomb", b"\0" * (64 << 20)))[0]
    stream = WebStream(limit=100_000)
    assert len(bomb) < 100_000
    found = stream.feed(AGREE + ws(bomb, compressed=True))
    assert all(len(cut.data) <= 100_000 for cut in found)
    # The next message still comes, if its sender needs no context.
    assert [c.data for c in stream.feed(ws(deflated(BYE)[0], compressed=True))] == [BYE]


def test_damaged_compression_costs_only_its_message() -> None:
    stream = WebStream()
    assert stream.feed(AGREE + ws(b"\xff" * 40, compressed=True)) == []
    assert [c.data for c in stream.feed(ws(BYE))] == [BYE]
    assert [c.data for c in stream.feed(ws(deflated(INV)[0], compressed=True))] == [INV]


def test_endless_pieces_and_lengths_are_bounded() -> None:
    stream = WebStream(limit=10_000)
    cuts: list[Cut] = stream.feed(AGREE + ws(INV, final=False))
    for _ in range(100):
        cuts += stream.feed(ws(b"x" * 1000, 0, final=False))
    assert [c.flags for c in cuts] == [TRUNCATED]
    assert len(cuts[0].data) < 12_000
    assert stream.feed(b"\x81\xff" + struct.pack(">Q", 1 << 60) + MASK) == []
    assert [c.data for c in stream.feed(ws(BYE))] == [BYE]


def test_an_endless_upgrade_is_left_alone() -> None:
    stream = WebStream()
    assert stream.feed(b"GET /" + b"x" * 40_000) == []
    assert stream.hopeless


FRAMES = [
    ASK,
    AGREE,
    ws(INV),
    ws(INV, mask=MASK),
    ws(INV[:50], final=False),
    ws(b"", 0),
    ws(deflated(INV)[0], compressed=True),
]


@given(st.lists(st.one_of(st.sampled_from(FRAMES), st.binary(max_size=40)), max_size=12))
def test_nonsense_never_raises(pieces: list[bytes]) -> None:
    stream = WebStream()
    at = 0
    for cut in [c for piece in pieces for c in stream.feed(piece)] + stream.finish():
        assert at <= cut.start < cut.end <= sum(map(len, pieces))
        at = cut.end
    assert stream.needed_from == sum(map(len, pieces)) or stream.hopeless


@given(st.lists(st.tuples(st.sampled_from(FRAMES), st.integers(0, 2000), st.integers(0, 9)), max_size=12))
def test_nonsense_costs_no_neighbour(moves: list[tuple[bytes, int, int]]) -> None:
    def apart(data: bytes, seq: int) -> Frame:
        return frame(ether(ip4(6, tcp(data, seq, dport=8080), src="192.0.2.77")), 10 * SECOND)

    frames = [to_server(data, seq, ts * SECOND) for data, seq, ts in moves]
    found: list[Payload] = decode([*frames, apart(ASK, 1), apart(ws(BYE, mask=MASK), 1 + len(ASK))], flush=True)
    assert [p.data for p in found if p.src == "192.0.2.77"] == [BYE]
