"""What goes by on the wire, unfiltered, for a few seconds: counted by kind for `siptrail doctor`. Nothing is kept."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from capture.flags import NO_MESSAGE
from capture.frames import FrameBlock
from capture.packetsockets import PacketSockets
from capture.pipeline import TRANSPORTS, Decoder, MessageBlock
from capture.sources.ring import open_ring
from capture.tcprefused import Refused
from capture.tlspeers import TlsPeer
from index.columns import address_text
from siptrail.settings import Settings

OVERSIZED = 1600
TAGS = (0x8100, 0x88A8)
ENOUGH = 3
"""Requests of one host without any packet back, before a direction is said to be missing."""


@dataclass(slots=True)
class Traffic:
    """Counts of one interface."""

    interface: str
    packets: int = 0
    messages: int = 0
    encrypted: int = 0
    tls: tuple[TlsPeer, ...] = ()
    refused: tuple[Refused, ...] = ()
    """Servers that answer a SYN on a SIP port with RST."""
    tunnelled: int = 0
    tagged: int = 0
    oversized: int = 0
    dropped: int = 0
    ports: Counter[tuple[str, int]] = field(default_factory=Counter)
    """(transport, port): SIP requests that went to it."""
    sent: Counter[str] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)
    """SIP messages by host."""

    def ports_text(self) -> str:
        """'udp 5060 (812), tcp 5080 (3)', the busiest first."""
        return ", ".join(f"{kind} {port} ({count:,})" for (kind, port), count in self.ports.most_common(4))

    def silent_hosts(self) -> set[str]:
        """Hosts that send and are never sent to: one direction is not seen."""
        return {host for host, count in self.sent.items() if count >= ENOUGH and not self.received[host]}


def listen(names: list[str], seconds: float, settings: Settings, sockets: PacketSockets) -> list[Traffic]:
    """Look at every packet of these interfaces for so long."""
    rings = [
        open_ring(name, program=None, block_bytes=1 << 18, blocks=32, promiscuous=True, sockets=sockets)
        for name in names
    ]
    seen = [Traffic(name) for name in names]
    decoders = [Decoder(frozenset(settings.sip_ports), 0, frozenset(settings.ws_ports)) for _ in names]
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            for ring, traffic, decoder in zip(rings, seen, decoders, strict=True):
                block = ring.poll(0.2 / len(rings))
                if block is not None:
                    _look(block, traffic, decoder)
        for ring, traffic, decoder in zip(rings, seen, decoders, strict=True):
            traffic.encrypted = decoder.counters.careful.get("encrypted", 0)
            traffic.tls = decoder.tls_peers()
            traffic.refused = decoder.refused()
            traffic.dropped = ring.losses()[1]
    finally:
        for ring in rings:
            ring.close()
    return seen


def _look(block: FrameBlock, traffic: Traffic, decoder: Decoder) -> None:
    traffic.packets += len(block)
    traffic.oversized += int((block.original > OVERSIZED).sum())
    if block.interfaces[0].link_type == 1 and len(block):
        whole = block.offset[block.captured >= 14]
        kinds = block.data[whole + 12].astype(np.int32) << 8 | block.data[whole + 13]
        traffic.tagged += int(np.isin(kinds, TAGS).sum())
    for messages in decoder.feed(block):
        _count(messages, traffic)


def _count(messages: MessageBlock, traffic: Traffic) -> None:
    n = len(messages)
    arrived = messages.flags & NO_MESSAGE == 0
    traffic.messages += int(arrived.sum())
    traffic.tunnelled += int((messages.flags & 64 != 0).sum())
    for i in range(n):
        if messages.code[i] == 0 and arrived[i]:
            traffic.ports[TRANSPORTS[messages.transport[i]], int(messages.dport[i])] += 1
        traffic.sent[address_text(int(messages.src_hi[i]), int(messages.src_lo[i]))] += 1
        traffic.received[address_text(int(messages.dst_hi[i]), int(messages.dst_lo[i]))] += 1
