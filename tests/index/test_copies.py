"""Copies and retransmissions, counted as they arrive: the same as what the whole call says afterwards."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.frames import FrameBlock, Interface
from capture.pipeline import Decoder
from index.archive import Archive
from index.columns import to_rows
from index.copies import Copies
from tests.capture.wire import A, B, ether, ip4, ip6, ok, sip, tcp, udp

NOW, MS = 1_780_000_000_000_000_000, 1_000_000


Counts = tuple[tuple[int, int], tuple[int, int]]


def counted(packets: list[tuple[int, bytes]], blocks: int = 1) -> Counts:
    """(messages, retransmissions) as the list has them, and as the call itself."""
    archive, decoder, copies = Archive(None, lambda: NOW), Decoder(), Copies()
    for part in np.array_split(np.arange(len(packets)), blocks):
        some = [packets[i] for i in part]
        if not some:
            continue
        sizes = np.array([len(data) for _, data in some], np.int32)
        block = FrameBlock(
            np.frombuffer(b"".join(data for _, data in some), np.uint8),
            np.concatenate(([0], np.cumsum(sizes[:-1], dtype=np.int64))),
            sizes,
            sizes,
            np.array([10**18 + at * MS for at, _ in some], np.int64),
            np.zeros(len(some), np.int32),
            (Interface("eth0", 1),),
        )
        for found in decoder.feed(block):
            copies.mark(found)
            archive.add(to_rows(found, "node"))
    (call,) = archive.calls(None, 10)
    messages = archive.trace(call.call_id).messages
    return (call.messages, call.retransmissions), (len(messages), sum(m.retransmission for m in messages))


def packet(raw: bytes = sip(), ident: int = 7, mac: int = 0, back: bool = False) -> bytes:
    src, dst = (B, A) if back else (A, B)
    return bytes([mac] * 12) + ether(ip4(17, udp(raw), ident=ident, src=src, dst=dst))[12:]


CASES = {
    "a mirror that sees both sides of a switch": ([(0, packet()), (1, packet(mac=2))], (1, 0)),
    "the same number a third of a second later": ([(0, packet()), (300, packet())], (1, 0)),
    "the same number half a second later": ([(0, packet()), (500, packet())], (2, 1)),
    "another number at once, on the same wire": ([(0, packet()), (1, packet(ident=8))], (2, 1)),
    "another number at once, elsewhere": ([(0, packet()), (1, packet(ident=8, mac=2))], (1, 0)),
    "no number, soon": ([(0, packet(ident=0)), (90, packet(ident=0))], (1, 0)),
    "no number, later": ([(0, packet(ident=0)), (110, packet(ident=0))], (2, 1)),
    "IPv6": ([(0, ether(ip6(17, udp(sip())))), (1, ether(ip6(17, udp(sip()))))], (1, 0)),
    "the other direction": ([(0, packet()), (1, packet(back=True))], (2, 0)),
    "another message": ([(0, packet()), (1, packet(ok()))], (2, 0)),
    "sent three times, each seen twice": (
        [(at + d, packet(ident=at + 1, mac=d)) for at in (0, 500, 1500) for d in (0, 1)],
        (3, 2),
    ),
    "over TCP nothing is a retransmission": (
        [(at, ether(ip4(6, tcp(sip(), 1 + n * len(sip()))))) for n, at in enumerate((0, 500, 1500))],
        (3, 0),
    ),
}


@pytest.mark.parametrize(("packets", "expected"), CASES.values(), ids=list(CASES))
@pytest.mark.parametrize("blocks", [1, 2])
def test_what_is_a_copy(packets: list[tuple[int, bytes]], expected: tuple[int, int], blocks: int) -> None:
    assert counted(packets, blocks) == (expected, expected)


@given(
    st.lists(
        st.tuples(st.sampled_from([0, 1, 15, 30, 95, 105, 350, 450]), st.integers(0, 2), st.integers(0, 3),
                  st.integers(0, 1), st.booleans()),
        min_size=1, max_size=20,
    ),
    st.integers(1, 4),
)  # fmt: skip
def test_the_list_counts_what_the_call_shows(steps: list[tuple[int, int, int, int, bool]], blocks: int) -> None:
    now, packets = 0, []
    for pause, which, ident, mac, back in steps:
        now += pause
        packets.append((now, packet([sip(), sip(method="BYE"), ok()][which], ident, mac, back)))
    of_list, of_call = counted(packets, blocks)
    assert of_list == of_call


def test_what_was_forgotten_is_new() -> None:
    """Memory is bounded: in a small one other messages push the first out, and its repetition is not known as one."""
    copies = Copies(4)
    raw = [sip(str(n), method="OPTIONS") for n in range(40)] + [sip("0", method="OPTIONS")]
    data = b"".join(packet(r) for r in raw)
    sizes = np.array([len(packet(r)) for r in raw], np.int32)
    block = FrameBlock(
        np.frombuffer(data, np.uint8), np.concatenate(([0], np.cumsum(sizes[:-1], dtype=np.int64))), sizes, sizes,
        np.full(len(raw), 10**18), np.zeros(len(raw), np.int32), (Interface("eth0", 1),),
    )  # fmt: skip
    (found,) = Decoder().feed(block)
    copies.mark(found)
    assert found.flags.max() == 0
