"""Connections that a server turns away are counted by server, whatever else goes by."""

from __future__ import annotations

import pytest

from capture.careful import CarefulDecoder
from capture.frames import Frame
from tests.capture.wire import A6, B6, A, B, ether, frame, ip4, ip6, tcp

SYN, RST, ACK = 2, 4, 16


def sent(src: str, sport: int, dst: str, dport: int, bits: int, ts: int = 0) -> Frame:
    segment = tcp(b"", 1000, bits, sport=sport, dport=dport)
    packed = ip6(6, segment, src=src, dst=dst) if ":" in src else ip4(6, segment, src=src, dst=dst)
    return frame(ether(packed), ts)


def rows(*frames: Frame) -> list[tuple[str, int, tuple[str, ...]]]:
    decoder = CarefulDecoder()
    for f in frames:
        decoder.feed(f)
    return [(r.server, r.count, r.clients) for r in decoder.refused()]


@pytest.mark.parametrize(("a", "b", "server"), [(A, B, f"{B}:5060"), (A6, B6, f"[{B6}]:5060")])
def test_a_syn_that_is_answered_with_rst(a: str, b: str, server: str) -> None:
    tries = [f for n in range(3) for f in (sent(a, 40000 + n, b, 5060, SYN), sent(b, 5060, a, 40000 + n, RST | ACK))]
    assert rows(*tries) == [(server, 3, (a,))]


def test_a_packet_seen_twice_counts_once() -> None:
    ask, no = sent(A, 40000, B, 5060, SYN), sent(B, 5060, A, 40000, RST | ACK)
    assert rows(ask, ask, no, no) == [(f"{B}:5060", 1, (A,))]


NOT_REFUSED = {
    "taken, and broken off later": [(A, B, SYN), (B, A, SYN | ACK), (A, B, ACK), (B, A, RST)],
    "the client breaks off": [(A, B, SYN), (A, B, RST)],
    "no answer": [(A, B, SYN), (A, B, SYN)],
    "a stray RST": [(B, A, RST | ACK)],
}


@pytest.mark.parametrize("talk", NOT_REFUSED.values(), ids=NOT_REFUSED.keys())
def test_what_is_no_refusal(talk: list[tuple[str, str, int]]) -> None:
    ports = {A: 40000, B: 5060}
    assert rows(*(sent(src, ports[src], dst, ports[dst], bits) for src, dst, bits in talk)) == []


def test_other_ports_are_not_told() -> None:
    assert rows(sent(A, 40000, B, 443, SYN), sent(B, 443, A, 40000, RST | ACK)) == []


def test_who_refuses_most_and_whom() -> None:
    many = [(f"203.0.113.{n % 3}", B, n) for n in range(8)] + [(A, "192.0.2.9", 99)]
    frames = [
        f for a, b, n in many for f in (sent(a, 40000 + n, b, 5060, SYN), sent(b, 5060, a, 40000 + n, RST | ACK, n))
    ]
    first, second = rows(*frames)
    assert first[:2] == (f"{B}:5060", 8) and set(first[2]) == {"203.0.113.0", "203.0.113.1", "203.0.113.2"}
    assert second == ("192.0.2.9:5060", 1, (A,))
