"""ICMP errors stand beside the call that they are about, and are counted as no message of it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from capture.frames import FrameBlock, Interface
from capture.pipeline import Decoder
from index.archive import Archive
from index.columns import to_rows
from index.copies import Copies
from index.trace import Endpoint
from sip.errors import NotFound
from tests.capture.test_icmp import SENT, SENT6, error, error6
from tests.capture.wire import A, B, ether

NOW, MS = 1_780_000_000_000_000_000, 1_000_000


def archive(packets: Iterable[tuple[int, bytes]]) -> Archive:
    """A store in memory with these packets (milliseconds, IP packet)."""
    some = [(at, ether(data)) for at, data in packets]
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
    out, copies = Archive(None, lambda: NOW), Copies()
    for found in Decoder().feed(block):
        copies.mark(found)
        out.add(to_rows(found, "node"))
    return out


def test_an_error_is_no_message_but_stands_beside_them() -> None:
    store = archive([(0, SENT), (20, error(SENT)), (500, SENT), (520, error(SENT, code=13))])
    (call,) = store.calls(None, 10)
    assert (call.messages, call.retransmissions, call.flags) == (2, 1, 0)
    trace = store.trace("one")
    assert len(trace.messages) == 2
    found = [(e.by, e.version, e.kind, e.code, e.src, e.dst) for e in trace.icmp]
    ends = Endpoint(A, 5060), Endpoint(B, 5060)
    assert found == [(B, 4, 3, 3, *ends), (B, 4, 3, 13, *ends)]
    assert trace.icmp[0].sip.method == "INVITE"


def test_counts_leave_it_out_and_name_it() -> None:
    counts = archive([(0, SENT), (20, error(SENT))]).message_stats()
    assert (counts["messages"], counts["methods"], counts["transports"]) == (1, {"INVITE": 1}, {"udp": 1})
    assert counts["flags"] == {"quoted": 1}


def test_a_mirror_s_copy_is_the_same_error() -> None:
    assert len(archive([(0, SENT), (20, error(SENT)), (22, error(SENT))]).trace("one").icmp) == 1


def test_an_error_before_the_message_does_not_make_that_a_resend() -> None:
    (call,) = archive([(0, error(SENT)), (300, SENT)]).calls(None, 10)
    assert (call.messages, call.retransmissions) == (1, 0)


def test_errors_alone_are_no_call() -> None:
    store = archive([(0, error(SENT))])
    assert store.calls(None, 10) == []
    with pytest.raises(NotFound):
        store.trace("one")


def test_ipv6() -> None:
    (e,) = archive([(0, SENT6), (20, error6(SENT6))]).trace("one").icmp
    assert (e.by, e.version, e.kind, e.code) == ("2001:db8::10", 6, 1, 4)


def test_the_call_s_packets_hold_the_error() -> None:
    frames = archive([(0, SENT), (20, error(SENT))]).frames(["one"])
    assert [f.data for f in frames] == [ether(SENT), ether(error(SENT))]
