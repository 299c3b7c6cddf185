"""Frames from an interface: an AF_PACKET raw socket with a TPACKET_V3 ring, mapped into this process.

It owns the socket and the ring. `poll` copies what the kernel has ready and gives the blocks back at once, so that only a
full ring loses packets, and the kernel counts those.
"""

from __future__ import annotations

import mmap
import os
import select
import socket
import struct

import numpy as np

from capture import privileges
from capture.bpf import Program
from capture.frames import FrameBlock, Interface
from capture.netdevices import ETHERNET, list_interfaces
from capture.ringwalk import walk_block
from sip.errors import Unreachable

SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_RX_RING, PACKET_STATISTICS, PACKET_VERSION, PACKET_FANOUT = 263, 1, 5, 6, 10, 18
TPACKET_V3, PACKET_MR_PROMISC, ETH_P_ALL = 2, 1, 3
FRAME = 2048
RETIRE_MS = 60
"""A block is handed over at the latest after this time: the latency of a quiet link."""
TP_STATUS_USER = 1


class Ring:
    """One open interface."""

    def __init__(self, name: str, sock: socket.socket, ring: mmap.mmap, block_bytes: int, blocks: int, link_type: int, program: Program | None,
                 skip_outgoing: bool) -> None:
        self.name, self.program = name, program
        self._sock, self._map = sock, ring
        self._block_bytes, self._blocks, self._next = block_bytes, blocks, 0
        self._interfaces = (Interface(name, link_type),)
        self._ring = np.frombuffer(ring, np.uint8)
        self._skip = skip_outgoing
        self._packets = self._drops = 0
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN | select.POLLERR)

    def poll(self, timeout: float) -> FrameBlock | None:
        """The frames that are ready, at the latest after `timeout` seconds; None where there are none."""
        ready = self._ready()
        if not ready and timeout > 0:
            self._poll.poll(timeout * 1000)
            ready = self._ready()
        if not ready:
            error = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise Unreachable(f"interface {self.name}: {os.strerror(error).lower()}")
            return None
        counts = [struct.unpack_from("=I", self._map, b + 12)[0] for b in ready]
        sizes = [struct.unpack_from("=I", self._map, b + 20)[0] for b in ready]
        total = sum(counts)
        data = np.empty(sum(sizes) + 4 * total + 64, np.uint8)
        offset, ts = np.empty(total, np.int64), np.empty(total, np.int64)
        captured, original = np.empty(total, np.int32), np.empty(total, np.int32)
        n = used = 0
        for block in ready:
            n, used = walk_block(self._ring, block, self._skip, data, used, offset, captured, original, ts, n)
            struct.pack_into("=I", self._map, block + 8, 0)
        if not n:
            return None
        return FrameBlock(data[:used], offset[:n], captured[:n], original[:n], ts[:n], np.zeros(n, np.int32), self._interfaces)

    def _ready(self) -> list[int]:
        out = []
        while len(out) < min(self._blocks, 16):
            block = self._next * self._block_bytes
            if not struct.unpack_from("=I", self._map, block + 8)[0] & TP_STATUS_USER:
                break
            out.append(block)
            self._next = (self._next + 1) % self._blocks
        return out

    def losses(self) -> tuple[int, int]:
        """(packets, drops) since the ring was opened, as the kernel counts them."""
        raw = self._sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 12)
        packets, drops = struct.unpack("=II", raw[:8])
        self._packets += packets
        self._drops += drops
        return self._packets, self._drops

    def close(self) -> None:
        """Give the ring and the socket back."""
        self._ring = np.empty(0, np.uint8)
        self._sock.close()
        try:
            self._map.close()
        except BufferError:
            pass  # a last view of it still lives; the memory goes with it


def open_ring(interface: str, *, program: Program | None, block_bytes: int = 1 << 20, blocks: int = 32, promiscuous: bool = True,
              fanout: int | None = None) -> Ring:
    """Open an interface; Unreachable in one line when it is not there or the right is missing."""
    devices = {d.name: d for d in list_interfaces()}
    if interface not in devices:
        known = ", ".join(devices) or "none"
        raise Unreachable(f"there is no interface {interface!r} that can be recorded (there are: {known})")
    link = devices[interface].link_type
    try:
        # Protocol 0: nothing arrives before the filter and the ring are in place.
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError as error:
        raise Unreachable(f"cannot record {interface}: {privileges.missing_capability_text()}") from error
    try:
        if program is not None:
            program.attach(sock)
        sock.setsockopt(SOL_PACKET, PACKET_VERSION, struct.pack("=i", TPACKET_V3))
        sock.setsockopt(SOL_PACKET, PACKET_RX_RING, struct.pack("=IIIIIII", block_bytes, blocks, FRAME, block_bytes * blocks // FRAME, RETIRE_MS, 0, 0))
        ring = mmap.mmap(sock.fileno(), block_bytes * blocks, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        sock.bind((interface, ETH_P_ALL))
        if promiscuous:
            sock.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, struct.pack("=iHH8s", socket.if_nametoindex(interface), PACKET_MR_PROMISC, 0, b""))
        if fanout is not None:
            sock.setsockopt(SOL_PACKET, PACKET_FANOUT, struct.pack("=I", (fanout & 0xFFFF)))
    except OSError as error:
        sock.close()
        raise Unreachable(f"cannot record {interface}: {(error.strerror or str(error)).lower()}") from error
    # On loopback every packet is seen leaving and arriving: once is enough.
    loopback = link == ETHERNET and interface == "lo"
    return Ring(interface, sock, ring, block_bytes, blocks, link, program, loopback)
