"""SIP that ICMP errors quote: found, marked as such, and kept apart from streams, tunnels and fragments."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from capture import bpf
from capture.careful import CarefulDecoder
from capture.decode import CAREFUL, OTHER, decode, port_table
from capture.flags import QUOTED, TRUNCATED
from capture.frames import FrameBlock, Interface
from tests.capture.test_bpf import run
from tests.capture.wire import A6, B6, A, B, ether, frame, ip4, ip6, ip6_fragment, sip, tcp, udp
from tests.capture.wire import decode as careful

SENT = ip4(17, udp(sip()))
SENT6 = ip6(17, udp(sip()))


def error(quoted: bytes, kind: int = 3, code: int = 3) -> bytes:
    """An ICMP error of the host that was asked."""
    return ip4(1, struct.pack(">BBHI", kind, code, 0, 0) + quoted, src=B, dst=A)


def error6(quoted: bytes, kind: int = 1, code: int = 4) -> bytes:
    return ip6(58, struct.pack(">BBHI", kind, code, 0, 0) + quoted, src=B6, dst=A6)


def kind_of(packet: bytes) -> int:
    data = ether(packet)
    size = np.array([len(data)], np.int32)
    none = np.zeros(1, np.int32)
    block = FrameBlock(
        np.frombuffer(data, np.uint8), np.zeros(1, np.int64), size, size, np.zeros(1, np.int64), none,
        (Interface("eth0", 1),),
    )  # fmt: skip
    return int(decode(block, port_table(frozenset({5060}))).kind[0])


@pytest.mark.parametrize(("packet", "src"), [(error(SENT), A), (error6(SENT6), A6), (error6(SENT6, 2, 0), A6)])
def test_what_was_not_delivered_is_found_with_its_own_addresses(packet: bytes, src: str) -> None:
    assert kind_of(packet) == CAREFUL
    found = careful([frame(ether(packet))])
    assert [(p.src, p.sport, p.data, p.flags & QUOTED) for p in found] == [(src, 5060, sip(), QUOTED)]


@pytest.mark.parametrize("packet", [error(SENT, kind=8), error(SENT, kind=0), error(SENT, kind=11), error6(SENT6, 128)])
def test_other_icmp_is_left_alone(packet: bytes) -> None:
    assert kind_of(packet) == OTHER
    decoder = CarefulDecoder()
    assert (careful([frame(ether(packet))], decoder), decoder.counters["not_sip"]) == ([], 1)


def test_what_is_cut_is_marked_as_cut() -> None:
    found = careful([frame(ether(error(SENT[:100])))])
    assert [(p.data, p.flags & TRUNCATED) for p in found] == [(sip()[:72], TRUNCATED)]


@pytest.mark.parametrize("size", [8, 20, 28, 30])
def test_eight_quoted_bytes_tell_nothing(size: int) -> None:
    found = careful([frame(ether(error(SENT[:size])))])
    assert found == []


def test_a_quoted_segment_does_not_enter_its_stream() -> None:
    whole = sip(body=b"v=0\r\n")
    first, second = ip4(6, tcp(whole[:50], seq=1)), ip4(6, tcp(whole[50:], seq=51))
    decoder = CarefulDecoder()
    found = careful([frame(ether(p), n) for n, p in enumerate((first, error(second), second))], decoder)
    assert [p.data for p in found] == [whole]
    assert decoder.counters["stream_gaps"] == 0


def test_a_quoted_fragment_is_no_fragment() -> None:
    datagram = udp(sip(body=bytes(60)))
    first = ip4(17, datagram[:80], more=True)
    rest = ip4(17, datagram[80:], off=80)
    found = careful([frame(ether(p), n) for n, p in enumerate((error(first), rest))])
    assert [p.flags & QUOTED for p in found if p.flags & QUOTED] == [QUOTED]
    assert not [p for p in found if not p.flags & QUOTED], "the rest alone makes no message"
    atomic = ip6_fragment(17, udp(sip()), 9, 0, True)
    assert [p.flags & QUOTED for p in careful([frame(ether(error6(atomic)))])] == [QUOTED]


def test_an_error_about_an_error_goes_no_further() -> None:
    found = careful([frame(ether(error(error(SENT))))])
    assert found == []


@pytest.mark.parametrize(
    ("packet", "passes"),
    [
        (error(SENT), True),
        (error(SENT, kind=8), False),
        (error(SENT, kind=11), False),
        (error6(SENT6), True),
        (error6(SENT6, 2, 0), True),
        (error6(SENT6, 135), False),
    ],
)
def test_the_kernel_lets_only_errors_pass(packet: bytes, passes: bool) -> None:
    assert bool(run(bpf.default_program({5060}), ether(packet))) is passes
