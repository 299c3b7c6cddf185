"""Frames in, messages out: the fast path and the careful path joined into one ordered stream of columns.

It owns the order of messages (`seq`) and the counts of what was not SIP. It owns no thread, clock or file.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from capture.careful import CarefulDecoder
from capture.decode import CAREFUL, NOISE, OTHER, SIP_UDP, TCP, UNREADABLE, decode, port_table
from capture.flags import NO_MESSAGE, QUOTED
from capture.frames import Frame, FrameBlock, Interface, Payload, frame_of
from capture.ports import DEFAULT_SIP_PORTS, DEFAULT_WS_PORTS
from capture.scan import SLICES, scan_messages
from capture.tcprefused import Refused
from capture.tlspeers import TlsPeer

U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
U64 = NDArray[np.uint64]

TRANSPORTS = ("udp", "tcp", "tls", "ws", "wss", "sctp")


@dataclass(frozen=True, slots=True)
class MessageBlock:
    """SIP messages as columns over one byte array; hand-over type from capture to index.

    Message i is data[start[i] : start[i] + length[i]]; its interesting pieces are slices[k, i] for SLICES[k].
    Frame j belongs to message frame_message[j] (ascending); a message may have several frames."""

    data: U8
    start: I64
    length: I32
    ts: I64
    seq: I64
    src_hi: U64
    src_lo: U64
    dst_hi: U64
    dst_lo: U64
    sport: I32
    dport: I32
    transport: U8
    """Index into TRANSPORTS."""
    interface: I32
    ip_id: I32
    flags: I32
    code: I32
    cseq: I64
    in_dialog: U8
    slices: I64
    interfaces: tuple[Interface, ...]
    reassembled: bool
    """The payload is not one slice of one frame, so it is kept beside its frames."""
    frame_message: I64
    frame_start: I64
    frame_length: I32
    frame_original: I32
    frame_ts: I64
    frame_interface: I32

    def __len__(self) -> int:
        return len(self.start)


@dataclass(slots=True)
class Counters:
    """What went by, and what could not be read."""

    packets: int = 0
    not_sip: int = 0
    keepalives: int = 0
    unreadable: int = 0
    decrypted: int = 0
    """Messages that were read with a key log."""
    careful: dict[str, int] = field(default_factory=dict)


class Decoder:
    """Turns frame blocks into message blocks. One decoder a capture (it holds open streams and fragments)."""

    def __init__(
        self,
        sip_ports: frozenset[int] = DEFAULT_SIP_PORTS,
        first_seq: int = 0,
        ws_ports: frozenset[int] = DEFAULT_WS_PORTS,
        hep: bool = True,
    ) -> None:
        """`hep`: read what goes by in HEP, too."""
        self._table = port_table(sip_ports)
        self._careful = CarefulDecoder(sip_ports, ws_ports, hep=hep)
        self._seq = first_seq
        self.counters = Counters()

    def feed(self, block: FrameBlock) -> list[MessageBlock]:
        """The messages that this block completes, in order of `seq` within each returned block."""
        d = decode(block, self._table)
        fast = np.flatnonzero(d.kind == SIP_UDP)
        # Where every frame is a datagram with a message, columns made for this block stay as they are.
        rows = fast if len(fast) < len(block) else slice(None)
        starts, lengths, transport = d.payload[rows], d.length[rows], np.zeros(len(fast), np.uint8)
        if (d.kind == TCP).any():
            frame, start, size = self._careful.simple_segments(block, d)
            order = np.argsort(np.concatenate((fast, frame)), kind="stable")
            rows = fast = np.concatenate((fast, frame))[order]
            starts, lengths = np.concatenate((starts, start))[order], np.concatenate((lengths, size))[order]
            transport = np.concatenate((transport, np.full(len(frame), TRANSPORTS.index("tcp"), np.uint8)))[order]
        kinds = np.bincount(d.kind, minlength=8)
        counters = self.counters
        counters.packets += len(block)
        counters.not_sip += int(kinds[OTHER])
        counters.keepalives += int(kinds[NOISE])
        counters.unreadable += int(kinds[UNREADABLE])
        payloads: list[Payload] = []
        places: list[int] = []
        for f in np.flatnonzero(d.kind == CAREFUL).tolist():
            found = self._careful.feed(frame_of(block, f))
            payloads += found
            places += [f] * len(found)
        if len(block):
            late = self._careful.tick(int(block.ts[-1]))
            payloads += late
            places += [len(block) - 1] * len(late)
        self._careful.note_streams()
        counters.careful = self._careful.counters
        order = np.argsort(np.concatenate((fast, np.array(places, np.int64))), kind="stable")
        seq = np.empty(len(order), np.int64)
        seq[order] = self._seq + np.arange(len(order))
        self._seq += len(order)
        out = []
        if len(fast):
            n = len(fast)
            flags, ts, interface = d.flags[rows], block.ts[fast], block.interface[fast]
            code, cseq, in_dialog, slices = _scan(block.data, starts, lengths, flags)
            out.append(
                MessageBlock(
                    block.data,
                    starts,
                    lengths,
                    ts,
                    seq[:n],
                    d.src_hi[rows],
                    d.src_lo[rows],
                    d.dst_hi[rows],
                    d.dst_lo[rows],
                    d.sport[rows],
                    d.dport[rows],
                    transport,
                    interface,
                    d.ip_id[rows],
                    flags,
                    code,
                    cseq,
                    in_dialog,
                    slices,
                    block.interfaces,
                    False,
                    np.arange(n),
                    block.offset[fast],
                    block.captured[fast],
                    block.original[fast],
                    ts,
                    interface,
                )
            )
        if payloads:
            out.append(from_payloads(payloads, seq[len(fast) :]))
        return out

    def take(self, payloads: list[Payload]) -> list[MessageBlock]:
        """Messages that were decrypted get their place in the order, behind the frames that were fed."""
        if not payloads:
            return []
        self.counters.decrypted += len(payloads)
        seq = self._seq + np.arange(len(payloads))
        self._seq += len(payloads)
        return [from_payloads(payloads, seq)]

    def tick(self, now: int) -> list[MessageBlock]:
        """Time has come to `now` without a frame: what reassembly waited for in vain, as far as it can be read."""
        payloads = self._careful.tick(now)
        self._careful.note_streams()
        return self._numbered(payloads)

    def flush(self) -> list[MessageBlock]:
        """At the end of a capture: what reassembly still holds, as far as it can be read."""
        return self._numbered(self._careful.flush())

    def _numbered(self, payloads: list[Payload]) -> list[MessageBlock]:
        self.counters.careful = self._careful.counters
        if not payloads:
            return []
        seq = self._seq + np.arange(len(payloads))
        self._seq += len(payloads)
        return [from_payloads(payloads, seq)]

    def tls_peers(self) -> tuple[TlsPeer, ...]:
        """Who speaks TLS to whom on SIP ports, the latest first."""
        return self._careful.tls_peers()

    def refused(self) -> tuple[Refused, ...]:
        """Who turns TCP connections on SIP ports away."""
        return self._careful.refused()

    def pending_frames(self) -> list[Frame]:
        """Frames that open reassembly still needs, for crash recovery."""
        return self._careful.pending_frames()


def _scan(data: U8, starts: I64, lengths: I32, flags: I32) -> tuple[I32, I64, U8, I64]:
    n = len(starts)
    slices = np.empty((len(SLICES), n, 2), np.int64)
    code, cseq, in_dialog = np.zeros(n, np.int32), np.zeros(n, np.int64), np.zeros(n, np.uint8)
    scan_messages(data, starts, lengths, slices, code, cseq, in_dialog, flags)
    return code, cseq, in_dialog, slices


def halves(ip: str) -> tuple[int, int]:
    """An address as two 64-bit halves; IPv4 as an IPv4-mapped address (RFC 4291 section 2.5.5.2)."""
    from ipaddress import IPv4Address, ip_address

    address = ip_address(ip)
    number = int(address) | (0xFFFF << 32) if isinstance(address, IPv4Address) else int(address)
    return number >> 64, number & 0xFFFFFFFFFFFFFFFF


def from_payloads(payloads: list[Payload], seq: I64) -> MessageBlock:
    """Messages that were put together one by one, as columns like all others."""
    interfaces: dict[Interface, int] = {}
    pieces: list[bytes] = []
    at = 0
    starts, frame_rows = [], []
    for i, p in enumerate(payloads):
        starts.append(at)
        pieces.append(p.data)
        at += len(p.data)
        for frame in p.frames:
            which = interfaces.setdefault(Interface(frame.interface, frame.link_type), len(interfaces))
            frame_rows.append((i, at, len(frame.data), frame.original, frame.ts, which))
            pieces.append(frame.data)
            at += len(frame.data)
    data = np.frombuffer(b"".join(pieces), np.uint8)
    start = np.array(starts, np.int64)
    length = np.array([len(p.data) for p in payloads], np.int32)
    flags = np.array([p.flags for p in payloads], np.int32)
    told = flags.copy()
    code, cseq, in_dialog, slices = _scan(data, start, length, flags)
    flags = np.where(told & NO_MESSAGE & ~QUOTED, told, flags)  # of nothing, nothing is said
    src = np.array([halves(p.src) for p in payloads], np.uint64)
    dst = np.array([halves(p.dst) for p in payloads], np.uint64)
    rows = np.array(frame_rows, np.int64).reshape(-1, 6)
    first = np.searchsorted(rows[:, 0], np.arange(len(payloads)))
    return MessageBlock(
        data,
        start,
        length,
        np.array([p.ts for p in payloads], np.int64),
        seq,
        src[:, 0].copy(),
        src[:, 1].copy(),
        dst[:, 0].copy(),
        dst[:, 1].copy(),
        np.array([p.sport for p in payloads], np.int32),
        np.array([p.dport for p in payloads], np.int32),
        np.array([TRANSPORTS.index(p.transport) for p in payloads], np.uint8),
        rows[first, 5].astype(np.int32),
        np.array([p.ip_id for p in payloads], np.int32),
        flags,
        code,
        cseq,
        in_dialog,
        slices,
        tuple(interfaces),
        True,
        rows[:, 0].copy(),
        rows[:, 1].copy(),
        rows[:, 2].astype(np.int32),
        rows[:, 3].astype(np.int32),
        rows[:, 4].copy(),
        rows[:, 5].astype(np.int32),
    )
