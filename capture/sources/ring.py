"""Live frames from one interface: an AF_PACKET socket with a TPACKET_V3 ring mapped into this process.

It owns the socket, its filter and the ring, and counts what the kernel had to drop. It never looks inside a frame
beyond the VLAN tag that the kernel keeps beside it, and it starts no thread.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import select
import socket
import struct
import sys
import threading
import time
from typing import cast

import numpy as np
from numpy.typing import NDArray

from capture.bpf import Program
from capture.frames import FrameBlock, Interface
from capture.netdevices import ETHERNET, RAW_HARDWARE, Device, device
from capture.packetsockets import PacketSockets, framing
from capture.privileges import missing_capability_text
from capture.ringwalk import BLOCK_LENGTH, BLOCK_PACKETS, BLOCK_STATUS, walk_block
from sip.errors import Unreachable

I64 = NDArray[np.int64]
I32 = NDArray[np.int32]

# linux/if_packet.h, linux/if_ether.h
SOL_PACKET = 263
ADD_MEMBERSHIP, RX_RING, STATISTICS, VERSION, TIMESTAMP, FANOUT, IGNORE_OUTGOING = 1, 5, 6, 10, 17, 18, 23
SO_DETACH_FILTER = 27
MEMBERSHIP_PROMISCUOUS = 1
TPACKET_V3 = 2
ETH_P_ALL = 3
USER = 1
"""TP_STATUS_USER: the block is ours until the word is zeroed."""
DEFRAG, UNIQUE = 0x8000 << 16, 0x2000 << 16
"""PACKET_FANOUT_FLAG_DEFRAG: IPv4 fragments are put together before flows are shared out, else the pieces of a flow go
astray, for they carry no ports. PACKET_FANOUT_FLAG_UNIQUEID: the kernel chooses a number that nobody else uses."""
NEW_GROUP = 0

RETIRE_MS = 50
"""A block that is not full is handed over after this time. Shorter is no use to anybody who looks at a screen, and
uses up blocks: on a quiet line each one holds a few frames, and `blocks` of them are how long a stall may last."""
FRAME_BYTES = 2048
"""Only divides the block as the kernel's sanity check wants it; version 3 packs frames of any size."""
MOST_BYTES = 8 << 20
"""Frames copied out by one `poll`, at most (but always one block)."""
GATHER_SECONDS, NAP_SECONDS = 0.05, 0.005
"""Where one block after the other is full, as many as come within this time are taken together: each lot costs the
same to handle, however small it is."""
SWAPPED = sys.byteorder == "big"


class CaptureError(Unreachable):
    """An interface cannot be recorded (now)."""


class NoSpareSocket(CaptureError):
    """All sockets that were opened while that was allowed are in use."""


class Replaced(CaptureError):
    """The interface came back, and a member of a group cannot follow it: it needs a socket and a group anew."""


class Ring:
    """Frames of one interface. Made by `open_ring`; `poll` and `close` belong to one thread, `losses` to any."""

    def __init__(
        self,
        sock: socket.socket,
        found: Device,
        program: Program | None,
        *,
        block_bytes: int,
        blocks: int,
        promiscuous: bool,
        kind: int,
        sockets: PacketSockets | None,
    ) -> None:
        self.cut = 0
        """Frames that did not fit into a block of the ring, so that their ends are missing."""
        self.group: int | None = None
        self._kind, self._sockets = kind, sockets
        self.interface = Interface(found.name, found.link_type)
        self.program = program
        self._socket: socket.socket | None = sock
        self._loopback, self._promiscuous = found.loopback, promiscuous
        self._block_bytes, self._blocks = block_bytes, blocks
        self._map = mmap.mmap(sock.fileno(), block_bytes * blocks, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._bytes: NDArray[np.uint8] = np.frombuffer(self._map, np.uint8)
        self._words: NDArray[np.uint32] = np.frombuffer(self._map, np.uint32)
        self._next = 0
        self._taken = 0.0
        """When frames were last taken (monotonic seconds)."""
        self._many = max(1, min(MOST_BYTES // block_bytes, blocks // 4))
        self._index = -1
        self._down = False
        self._packets = self._drops = 0
        self._lock = threading.Lock()
        self._poller = select.poll()
        self._poller.register(sock.fileno(), select.POLLIN | select.POLLERR)
        # Nothing is in the ring yet; the kernel is compiled (or loaded) before the first packet can wait for it.
        self._walk(0, np.empty(0, np.uint8), 0, *self._columns(0), 0)

    def bind(self, group: int | None = None) -> None:
        """Start to receive, or again on an interface that came back under the same name. Needs no capability.

        With `group` its flows are shared with the other rings of that number; `NEW_GROUP` makes one."""
        assert self._socket is not None
        name = self.interface.name
        found = device(name)
        if found is None or not found.up:
            raise CaptureError(
                f"interface {name} is {'gone' if found is None else 'down'}: recording it goes on once "
                f"it is up (`ip link set dev {name} up`)"
            )
        try:
            index = socket.if_nametoindex(name)
            if index == self._index:
                return  # the kernel took the socket up again by itself
            if self.group is not None:
                raise Replaced(f"interface {name} is back")
            self._socket.bind((name, ETH_P_ALL))
            if group is not None:  # at once: until then this ring sees what the others see, too
                value = (group & 0xFFFF) | DEFRAG | (UNIQUE if group == NEW_GROUP else 0)
                self._socket.setsockopt(SOL_PACKET, FANOUT, struct.pack("I", value))
                self.group = self._socket.getsockopt(SOL_PACKET, FANOUT) & 0xFFFF
            if self._promiscuous and not self._loopback:
                self._socket.setsockopt(
                    SOL_PACKET, ADD_MEMBERSHIP, struct.pack("iHH8x", index, MEMBERSHIP_PROMISCUOUS, 0)
                )
        except OSError as error:
            raise CaptureError(f"interface {name} cannot be recorded: {os.strerror(error.errno or 0)}") from error
        self._index = index

    def poll(self, timeout: float) -> FrameBlock | None:
        """The frames that are ready, waiting up to `timeout` seconds for some; None when there were none.

        Raises CaptureError while the interface is down or gone; the next call tries again, with the same socket."""
        if self._socket is None:
            raise CaptureError(f"the capture on {self.interface.name} is closed")
        self._gather(timeout)
        block = self._take()
        if block is not None:
            return block
        if self._down:
            self.bind()
            self._down = False
        for _, event in self._poller.poll(max(0.0, timeout) * 1000):
            if event & select.POLLERR:
                failed = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                block = self._take()
                self._down = failed != 0
                if failed and block is None:
                    word = "went down" if failed == errno.ENETDOWN else os.strerror(failed)
                    raise CaptureError(f"interface {self.interface.name}: {word}; recording it goes on once it is up")
                return block
        return self._take()

    def _gather(self, timeout: float) -> None:
        """Under heavy traffic, until many blocks are ready, or enough time has passed since the last were."""
        until = self._taken + min(timeout, GATHER_SECONDS)
        while self._ready(0) and not self._ready(self._many - 1):
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, NAP_SECONDS))

    def _ready(self, ahead: int) -> bool:
        return bool(self._word((self._next + ahead) % self._blocks, BLOCK_STATUS) & USER)

    def _word(self, block: int, at: int) -> int:
        return int(self._words[(block * self._block_bytes + at) >> 2])

    @staticmethod
    def _columns(rows: int) -> tuple[I64, I32, I32, I64]:
        return np.empty(rows, np.int64), np.empty(rows, np.int32), np.empty(rows, np.int32), np.empty(rows, np.int64)

    def _walk(
        self,
        block: int,
        data: NDArray[np.uint8],
        used: int,
        offset: I64,
        captured: I32,
        original: I32,
        ts: I64,
        frames: int,
    ) -> tuple[int, int]:
        return walk_block(
            self._bytes,
            block * self._block_bytes,
            self._block_bytes,
            SWAPPED,
            self._loopback,
            self.interface.link_type == ETHERNET,
            data,
            used,
            offset,
            captured,
            original,
            ts,
            frames,
        )

    def _take(self) -> FrameBlock | None:
        with self._lock:  # taking it also keeps the reads of the frames behind those of the status words
            ready: list[int] = []
            room = frames = 0
            while len(ready) < self._blocks and room < MOST_BYTES:
                block = (self._next + len(ready)) % self._blocks
                if not self._ready(len(ready)):
                    break
                ready.append(block)
                # The ring's own headers leave more room than the VLAN tags need.
                room += min(self._word(block, BLOCK_LENGTH), self._block_bytes)
                frames += self._word(block, BLOCK_PACKETS)
            if not ready:
                return None
            data = np.empty(room, np.uint8)
            offset, captured, original, ts = self._columns(frames)
            used = n = 0
            for block in ready:
                used, n = self._walk(block, data, used, offset, captured, original, ts, n)
                self._words[(block * self._block_bytes + BLOCK_STATUS) >> 2] = 0
            self._next = (ready[-1] + 1) % self._blocks
            self._taken = time.monotonic()
        if n == 0:
            return None
        # The filter accepts frames of any length, so only the block can have been too small.
        self.cut += int(np.count_nonzero(original[:n] > captured[:n]))
        return FrameBlock(
            data[:used], offset[:n], captured[:n], original[:n], ts[:n], np.zeros(n, np.int32), (self.interface,)
        )

    def losses(self) -> tuple[int, int]:
        """(packets that passed the filter, those of them the kernel dropped for want of room) since the start."""
        with self._lock:
            if self._socket is not None:
                # Reading them resets the kernel's counters.
                packets, drops, _ = struct.unpack("III", self._socket.getsockopt(SOL_PACKET, STATISTICS, 12))
                self._packets += packets
                self._drops += drops
            return self._packets, self._drops

    def close(self) -> None:
        """Give everything back. Closing twice does nothing."""
        sock = self._unmap()
        if sock is not None:
            sock.close()

    def release(self) -> None:
        """Close, of an interface that is gone, but keep the socket for another one where that is possible."""
        sock = self._unmap()
        if sock is None:
            return
        if self._sockets is None or self.group is not None:
            sock.close()
            return
        try:
            sock.setsockopt(SOL_PACKET, RX_RING, bytes(28))
            if self.program is not None:
                sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
        except OSError:
            sock.close()
        else:
            self._sockets.give_back(self._kind, sock)

    def _unmap(self) -> socket.socket | None:
        self.losses()
        with self._lock:
            sock, self._socket = self._socket, None
            if sock is not None:
                self._bytes, self._words = np.empty(0, np.uint8), np.empty(0, np.uint32)
                # Where somebody still looks at the ring, it goes when the last one has looked away.
                with contextlib.suppress(BufferError):
                    self._map.close()
        return sock

    @property
    def closed(self) -> bool:
        """Whether it was closed or released."""
        return self._socket is None


def open_ring(
    interface: str,
    *,
    program: Program | None,
    block_bytes: int = 1 << 20,
    blocks: int = 32,
    promiscuous: bool = True,
    fanout: int | None = None,
    sockets: PacketSockets | None = None,
    hardware_time: bool = False,
) -> Ring:
    """Record one interface through `program` (None: everything). Rings with the same `fanout` number share its
    flows. The socket comes from `sockets` where they are given. With `hardware_time` frames that the device has put
    its time on keep that time."""
    if not hasattr(socket, "AF_PACKET"):
        raise CaptureError(missing_capability_text())
    found = device(interface)
    if found is None:
        names = ", ".join(name for _, name in socket.if_nameindex())
        raise CaptureError(f"no interface {interface!r} to record: there are {names}")
    kind = framing(found)
    try:
        sock = sockets.take(kind) if sockets is not None else None
        # Protocol 0: nothing arrives until it is bound.
        sock = sock or socket.socket(socket.AF_PACKET, kind, 0)
    except PermissionError as error:
        if sockets is not None and sockets.missing is None:
            raise NoSpareSocket(
                f"no spare socket is left for interface {interface}, and the right to open one was given up at the "
                "start: restart siptrail to record it"
            ) from error
        raise CaptureError(f"cannot record {interface}: {missing_capability_text()}") from error
    try:
        sock.setsockopt(SOL_PACKET, VERSION, TPACKET_V3)
        if program is not None:
            program.attach(sock)
        if found.loopback:
            # There every packet is seen leaving and arriving. Kernels before 4.20 cannot leave one out; walking does.
            try:
                sock.setsockopt(SOL_PACKET, IGNORE_OUTGOING, 1)
            except OSError as error:
                if error.errno != errno.ENOPROTOOPT:
                    raise
        if hardware_time:
            # Where the device did not stamp a frame the kernel does.
            sock.setsockopt(SOL_PACKET, TIMESTAMP, RAW_HARDWARE)
        sock.setsockopt(
            SOL_PACKET,
            RX_RING,
            struct.pack("7I", block_bytes, blocks, FRAME_BYTES, block_bytes // FRAME_BYTES * blocks, RETIRE_MS, 0, 0),
        )
        ring = Ring(
            sock,
            found,
            program,
            block_bytes=block_bytes,
            blocks=blocks,
            promiscuous=promiscuous,
            kind=kind,
            sockets=sockets,
        )
        ring.bind(fanout)
    except OSError as error:
        sock.close()
        size = block_bytes * blocks >> 10
        reason = (
            f"the kernel has no memory for a ring of {size} KiB; ask for fewer blocks"
            if error.errno == errno.ENOMEM
            else os.strerror(cast(int, error.errno))
        )
        raise CaptureError(f"cannot record {interface}: {reason}") from error
    except BaseException:
        sock.close()
        raise
    return ring
