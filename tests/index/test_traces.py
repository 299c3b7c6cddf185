"""A packet that was captured twice is one message seen twice; a message that was sent twice is two messages."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from index.trace import CallTrace, Endpoint, Loss
from index.traces import build_trace

MS = 1_000_000
START = 1_767_607_200_000_000_000
OPTIONS = b"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n"
BYE = OPTIONS.replace(b"OPTIONS", b"BYE")


class Wire:
    """Rows and frames as the index stores them."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.frames: list[dict[str, Any]] = []

    def add(
        self,
        ms: float,
        raw: bytes = OPTIONS,
        *,
        ip_id: int = 7,
        ttl: int = 64,
        mac: bytes = b"\x02" * 12,
        vlan: int | None = None,
        src: tuple[str, int] = ("192.0.2.1", 5060),
        transport: str = "udp",
        reassembled: bool = False,
        interface: str = "eth0",
        padding: bytes = b"",
    ) -> Wire:
        tag = b"" if vlan is None else struct.pack(">HH", 0x8100, vlan)
        ip = struct.pack(">BBHHHBBHII", 0x45, 0, 28 + len(raw), max(ip_id, 0), 0, ttl, 17, 0xBEEF ^ max(ip_id, 0), 1, 2)
        head = mac + tag + b"\x08\x00" + ip + bytes(8)
        place = {"node": "n", "ts": START + round(ms * MS), "seq": len(self.rows)}
        self.frames.append(
            {
                **place,
                "part": 0,
                "frame": head + raw + padding,
                "payload": raw if reassembled else None,
                "payload_at": -1 if reassembled else len(head),
                "payload_size": len(raw),
            }
        )
        self.rows.append(
            {
                **place,
                "src_ip": src[0],
                "src_port": src[1],
                "dst_ip": "192.0.2.2",
                "dst_port": 5060,
                "transport": transport,
                "interface": interface,
                "flags": 0,
                "ip_id": ip_id,
            }
        )
        return self

    def trace(self) -> CallTrace:
        return build_trace("c", self.rows, self.frames, START, START + 10**12)

    def told(self) -> list[tuple[int, bool]]:
        """(seen, retransmission) of each message."""
        return [(m.seen, m.retransmission) for m in self.trace().messages]


COPIED, RESENT, BOTH = [(2, False)], [(1, False), (1, True)], [(1, False), (1, False)]


@pytest.mark.parametrize(
    ("ms", "again", "told"),
    [
        # A mirror port, or both sides of a switch.
        (0.01, {}, COPIED),
        (0.01, {"ttl": 63}, COPIED),
        (15, {"mac": b"\x04" * 12}, COPIED),
        (15, {"vlan": 100}, COPIED),
        (15, {"interface": "eth1"}, COPIED),
        (150, {}, COPIED),
        # The same packet beyond a firewall that numbers packets anew.
        (15, {"ip_id": 9, "ttl": 63}, COPIED),
        (15, {"ip_id": 9, "mac": b"\x04" * 12}, COPIED),
        (15, {"ip_id": 9, "vlan": 100}, COPIED),
        (19.9, {"ip_id": 9, "ttl": 63}, COPIED),
        # Another packet.
        (15, {"ip_id": 9}, RESENT),
        (20, {"ip_id": 9, "ttl": 63}, RESENT),
        (100, {"ip_id": 9}, RESENT),
        (500, {"ip_id": 8}, RESENT),
        (500, {"ip_id": 8, "ttl": 63}, RESENT),
        # A sender that numbers all its packets alike.
        (500, {}, RESENT),
        (399, {}, COPIED),
        (400, {}, RESENT),
    ],
)
def test_numbered_packets(ms: float, again: dict[str, Any], told: list[tuple[int, bool]]) -> None:
    assert Wire().add(0).add(ms, **again).told() == told


@pytest.mark.parametrize("ip_id", [0, -1], ids=["never fragmented", "ipv6"])
@pytest.mark.parametrize(("ms", "told"), [(0.01, COPIED), (15, COPIED), (99, COPIED), (100, RESENT), (500, RESENT)])
def test_packets_without_a_number(ip_id: int, ms: float, told: list[tuple[int, bool]]) -> None:
    assert Wire().add(0, ip_id=ip_id).add(ms, ip_id=ip_id).told() == told


@pytest.mark.parametrize(
    "other",
    [
        {"src": ("192.0.2.1", 5061)},
        {"src": ("192.0.2.9", 5060)},
        {"raw": BYE},
        {"transport": "tcp"},
        {"raw": OPTIONS + b" "},
    ],
    ids=["port", "address", "bytes", "transport", "one byte more"],
)
def test_what_differs_is_neither(other: dict[str, Any]) -> None:
    assert Wire().add(0).add(1, **other).told() == BOTH


def test_a_stream_never_resends() -> None:
    """TCP resends segments, which the streams put right; the same bytes again are meant."""
    assert Wire().add(0, transport="tcp").add(500, transport="tcp", ip_id=9).told() == BOTH


@pytest.mark.parametrize(("ms", "ip_id", "told"), [(5, 7, COPIED), (5, 9, COPIED), (25, 9, RESENT), (500, 9, RESENT)])
def test_fragmented_messages(ms: float, ip_id: int, told: list[tuple[int, bool]]) -> None:
    assert Wire().add(0, reassembled=True).add(ms, reassembled=True, ip_id=ip_id).told() == told


def test_a_mirrored_call_with_resends() -> None:
    wire = Wire()
    for n, ms in enumerate((0, 500, 1500)):
        for copy in range(3):
            wire.add(ms + copy * 0.1, ip_id=10 + n, ttl=64 - copy)
    assert wire.told() == [(3, False), (3, True), (3, True)]
    assert [m.ts for m in wire.trace().messages] == [START, START + 500 * MS, START + 1500 * MS], (
        "the first copy counts"
    )


def test_copies_that_come_between_others() -> None:
    wire = Wire().add(0, ip_id=1).add(0.1, BYE, ip_id=2).add(0.2, ip_id=1, ttl=63).add(0.3, BYE, ip_id=2, ttl=63)
    assert [(m.sip.method, m.seen) for m in wire.trace().messages] == [("OPTIONS", 2), ("BYE", 2)]


def test_messages_whose_frames_are_gone_are_not_each_other() -> None:
    wire = Wire().add(0).add(1, BYE, ip_id=8).add(2, ip_id=9)
    wire.frames = wire.frames[1:2]
    assert [(m.sip.raw, m.seen, m.retransmission) for m in wire.trace().messages] == [
        (b"", 1, False),
        (BYE, 1, False),
        (b"", 1, False),
    ]


def test_only_the_payload_is_parsed() -> None:
    """Ethernet pads short frames, and a reassembled message is in none of its frames."""
    wire = Wire().add(0, padding=b"\xff" * 18).add(5, BYE, reassembled=True, padding=b"junk")
    assert [m.sip.raw for m in wire.trace().messages] == [OPTIONS, BYE]


def test_what_the_trace_carries() -> None:
    lost = (Loss("eth0", START, START + 1, 3, "kernel"),)
    wire = Wire().add(0).add(5, BYE, ip_id=8, src=("2001:db8::1", 5080), interface="eth1")
    trace = build_trace("c", wire.rows, wire.frames, START - 5, START + 7, lost)
    assert (trace.call_id, trace.capture_start, trace.capture_end, trace.losses) == ("c", START - 5, START + 7, lost)
    last = trace.messages[-1]
    assert (last.src, last.dst) == (Endpoint("2001:db8::1", 5080), Endpoint("192.0.2.2", 5060))
    assert (last.ts, last.seq, last.interface, last.ip_id) == (START + 5 * MS, 1, "eth1", 8)


def test_no_rows() -> None:
    assert build_trace("c", [], [], 1, 2).messages == ()
