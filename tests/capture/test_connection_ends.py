"""A TCP connection that carried SIP says when it ends: once, by whom, and how."""

from __future__ import annotations

import numpy as np
import pytest

from capture.flags import CLOSED, RESET
from capture.frames import Frame, FrameBlock, Interface
from capture.pipeline import Decoder
from tests.capture.wire import A, B, decode, ether, frame, ip4, ok, sip, syn, tcp, tcp_frame

FIN, RST = 0x11, 0x14
ASK = sip("one")
OPEN = [syn(1), tcp_frame(ASK, 1)]
NEXT = 1 + len(ASK)


def back(payload: bytes, seq: int, bits: int = 0x18, sport: int = 5060, ts: int = 0) -> Frame:
    """A segment of the other direction."""
    return frame(ether(ip4(6, tcp(payload, seq, bits, sport=sport, dport=40000), src=B, dst=A)), ts)


def ends(*frames: Frame) -> list[tuple[str, int, str, str, int]]:
    """(sender, its port, the other side, transport, flags) of the ends that are told."""
    found = [p for p in decode(frames) if p.flags & (CLOSED | RESET)]
    assert all(p.data == b"" and len(p.frames) == 1 for p in found)
    return [(p.src, p.sport, p.dst, p.transport, p.flags) for p in found]


@pytest.mark.parametrize(("bits", "flag"), [(FIN, CLOSED), (RST, RESET), (0x04, RESET), (0x19, CLOSED)])
def test_either_side_may_end_it(bits: int, flag: int) -> None:
    assert ends(*OPEN, tcp_frame(b"", NEXT, bits=bits)) == [(A, 40000, B, "tcp", flag)]
    assert ends(*OPEN, back(b"", 9000, bits)) == [(B, 5060, A, "tcp", flag)], "who never said anything, too"
    assert ends(*OPEN, back(ok(), 9000), back(b"", 9000 + len(ok()), bits)) == [(B, 5060, A, "tcp", flag)]


def test_only_the_first_end_is_told_however_often_it_is_seen() -> None:
    fin, other, rst = tcp_frame(b"", NEXT, bits=FIN), back(b"", 9000, FIN), back(b"", 9001, RST)
    assert ends(*OPEN, fin, fin, other, other, rst) == [(A, 40000, B, "tcp", CLOSED)]
    assert ends(*OPEN, rst, rst, fin) == [(B, 5060, A, "tcp", RESET)]


def test_another_connection_on_the_same_ports_ends_again() -> None:
    again = [syn(700_000_000), tcp_frame(ASK, 700_000_000), tcp_frame(b"", 700_000_000 + len(ASK), bits=RST)]
    first = [tcp_frame(b"", NEXT, bits=FIN), back(b"", 9000, FIN)]
    server = [back(b"", 800_000_000, 0x12)]
    assert [flag for *_, flag in ends(*OPEN, back(b"", 8999, 0x12), *first, again[0], *server, *again[1:])] == [
        CLOSED,
        RESET,
    ]


NOTHING = {
    "no message": [syn(1), tcp_frame(b"\r\n\r\n", 1), tcp_frame(b"", 5, bits=FIN)],
    "not SIP": [syn(1), tcp_frame(b"GET / HTTP/1.1\r\n\r\n", 1), tcp_frame(b"", 19, bits=FIN)],
    "nothing was seen of it": [tcp_frame(b"", 1, bits=RST), back(b"", 1, FIN)],
    "a blind guess of somebody": [*OPEN, tcp_frame(b"", NEXT + (1 << 30), bits=RST)],
    "TLS": [syn(1, 5061), tcp_frame(b"\x16\x03\x01\x00\x05hello", 1, dport=5061), tcp_frame(b"", 11, 0, FIN, 5061)],
}


@pytest.mark.parametrize("frames", NOTHING.values(), ids=NOTHING)
def test_what_is_not_told(frames: list[Frame]) -> None:
    assert ends(*frames) == []


def test_an_end_behind_messages_of_the_fast_path() -> None:
    talk = [*OPEN, *(tcp_frame(ASK, 1 + n * len(ASK), n) for n in range(1, 6))]
    over = tcp_frame(b"", 1 + 6 * len(ASK), 9, RST)
    decoder, rows = Decoder(), []
    for some in (talk[:3], talk[3:], [over]):
        sizes = np.array([len(f.data) for f in some], np.int32)
        block = FrameBlock(
            np.frombuffer(b"".join(f.data for f in some), np.uint8),
            np.concatenate(([0], np.cumsum(sizes[:-1], dtype=np.int64))),
            sizes,
            sizes,
            np.array([f.ts for f in some], np.int64),
            np.zeros(len(some), np.int32),
            (Interface("eth0", 1),),
        )
        for b in decoder.feed(block):
            rows += [(int(b.seq[i]), int(b.length[i]) > 0, int(b.flags[i])) for i in range(len(b))]
    assert sorted(rows) == [*((n, True, 0) for n in range(6)), (6, False, RESET)]
