"""Durability of the last seconds: frames in pcapng segments, synced every second, gone once their rows are in the lake.

A segment is a plain capture file: recovery at start is an import, and anybody can open it. It owns the segment
files; it parses nothing.
"""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from capture.frames import Interface
from capture.jit import kernel
from capture.pipeline import MessageBlock

_SECTION = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)


@kernel
def _put(out: NDArray[np.uint8], at: int, value: int) -> None:
    for i in range(4):
        out[at + i] = (value >> (8 * i)) & 0xFF


@kernel
def packet_blocks(
    data: NDArray[np.uint8],
    start: NDArray[np.int64],
    length: NDArray[np.int32],
    original: NDArray[np.int32],
    ts: NDArray[np.int64],
    which: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> int:
    """Enhanced Packet Blocks with nanosecond times, one a frame; returns their size."""
    at = 0
    for i in range(len(start)):
        n = length[i]
        pad = (4 - n % 4) % 4
        total = 32 + n + pad
        _put(out, at, 6)
        _put(out, at + 4, total)
        _put(out, at + 8, which[i])
        _put(out, at + 12, ts[i] >> 32)
        _put(out, at + 16, ts[i] & 0xFFFFFFFF)
        _put(out, at + 20, n)
        _put(out, at + 24, original[i])
        for j in range(n):
            out[at + 28 + j] = data[start[i] + j]
        for j in range(pad):
            out[at + 28 + n + j] = 0
        _put(out, at + 28 + n + pad, total)
        at += total
    return at


class Spool:
    """The open segment and the closed ones whose rows are not committed. Callers serialise `append` and `rotate`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO | None = None
        self._name = ""
        self._interfaces: dict[Interface, int] = {}
        self._closed: list[str] = []
        self._count = 0

    def left_over(self) -> list[str]:
        """Segments that an earlier run left behind, oldest first."""
        return sorted(p.name for p in self.folder.glob("*.pcapng") if p.name != self._name)

    def append(self, block: MessageBlock) -> None:
        """Write the frames of a block's messages to the open segment (into the kernel's cache; see `sync`)."""
        if self._file is None:
            self._begin(int(block.ts[0]))
        assert self._file is not None
        local = []
        for interface in block.interfaces:
            if interface not in self._interfaces:
                self._interfaces[interface] = len(self._interfaces)
                self._file.write(_interface_block(interface))
            local.append(self._interfaces[interface])
        out = np.empty(int(block.frame_length.sum()) + 36 * len(block.frame_start) + 64, np.uint8)
        size = packet_blocks(
            block.data,
            block.frame_start,
            block.frame_length,
            block.frame_original,
            block.frame_ts,
            np.array(local, np.int64)[block.frame_interface],
            out,
        )
        self._file.write(out[:size].data)

    def _begin(self, stamp: int) -> None:
        self._count += 1
        self._name = f"{stamp:020d}-{os.getpid()}-{self._count:06d}.pcapng"
        self._file = open(self.folder / self._name, "wb", buffering=0)  # noqa: SIM115
        self._interfaces = {}
        self._file.write(_SECTION)

    def sync(self) -> None:
        """Make everything appended so far survive a power cut."""
        file = self._file
        if file is not None:
            try:
                os.fdatasync(file.fileno())
            except ValueError:
                return  # rotated away meanwhile, and synced there
            except OSError as error:
                if error.errno != errno.EBADF:  # the same, a moment later
                    raise

    def rotate(self) -> list[str]:
        """Close the open segment; returns all closed segments that wait for their rows to be committed."""
        if self._file is not None:
            os.fdatasync(self._file.fileno())
            self._file.close()
            self._closed.append(self._name)
            self._file, self._name = None, ""
        return list(self._closed)

    def forget(self, names: list[str]) -> None:
        """Delete segments whose rows are committed."""
        for name in names:
            (self.folder / name).unlink(missing_ok=True)
        self._closed = [n for n in self._closed if n not in names]


def _interface_block(interface: Interface) -> bytes:
    name = interface.name.encode("utf-8", "replace")[:255]
    options = struct.pack("<HH", 2, len(name)) + name + bytes(-len(name) % 4)
    options += struct.pack("<HHB3x", 9, 1, 9) + struct.pack("<HH", 0, 0)
    total = 20 + len(options)
    return struct.pack("<IIHHI", 1, total, interface.link_type, 0, 0) + options + struct.pack("<I", total)
