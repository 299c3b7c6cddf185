"""Durability of the last seconds: frames in pcapng segments, synced every second, gone once their rows are in the lake.

A segment is a plain capture file: recovery at start is an import, and anybody can open it. It owns the segment
files; it parses nothing.
"""

from __future__ import annotations

import errno
import logging
import os
import struct
import threading
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from capture.frames import Interface
from capture.jit import kernel
from capture.pipeline import MessageBlock
from capture.words import copy_bytes
from index.parquet import sync_folder

log = logging.getLogger(__name__)

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
        copy_bytes(data, np.uint64(start[i]), out, np.uint64(at + 28), np.uint64(n))
        for j in range(pad):
            out[at + 28 + n + j] = 0
        _put(out, at + 28 + n + pad, total)
        at += total
    return at


class Spool:
    """The open segment and the closed ones whose rows are not committed. A thread of its own writes, so that capture
    never waits for a disk. Callers serialise `append` and `rotate`; a segment holds what was appended in between."""

    def __init__(self, folder: Path, most_bytes: int = 256 << 20, budget: int | None = None) -> None:
        """`most_bytes` may wait in memory for the disk, `budget` may be on the disk."""
        self.folder = folder
        self._budget = budget
        self.parked: list[str] = []
        """Segments whose rows are nowhere else, oldest first."""
        self._on_disk = sum(p.stat().st_size for p in folder.glob("*.pcapng"))
        """Bytes of the closed segments."""
        self._holds: dict[str, int] = {}
        """Messages in the closed segments."""
        self._written = 0
        """Messages in the open one."""
        folder.mkdir(parents=True, exist_ok=True)
        self.skipped = 0
        """Messages that were not written, because the disk was too slow or refused them; a crash would lose them."""
        self._most_bytes = most_bytes
        self._queued = 0
        self._queue: SimpleQueue[MessageBlock | Future[list[str]] | threading.Event | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        """Over the open file, its size and its name."""
        self._file: BinaryIO | None = None
        self._good = 0
        """Bytes of it that are whole blocks."""
        self._name = ""
        self._interfaces: dict[Interface, int] = {}
        self._closed: list[str] = []
        self._count = 0
        self._told = False

    def left_over(self) -> list[str]:
        """Segments that an earlier run left behind, oldest first."""
        return sorted(p.name for p in self.folder.glob("*.pcapng") if p.name != self._name)

    def append(self, block: MessageBlock) -> None:
        """Have the frames of a block's messages written soon."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_all, name="spool", daemon=True)
            self._thread.start()
        full = False
        if self._budget is not None:
            size = int(block.frame_length.sum()) + 40 * len(block.frame_length)
            full = self._on_disk + self._good + self._queued + size > self._budget
        if full or self._queued > self._most_bytes:
            if not self.skipped:
                why = "has all it may take" if full else "is on a disk that is too slow"
                log.error("the spool %s %s; a crash would lose what is not in it", self.folder, why)
            self.skipped += len(block)
            return
        self._queued += len(block.data)
        self._queue.put(block)

    def rotate(self) -> Future[list[str]]:
        """End the segment after what was appended so far; tells the closed segments whose rows wait to be committed."""
        asked: Future[list[str]] = Future()
        if self._thread is None:
            asked.set_result(list(self._closed))
        else:
            self._queue.put(asked)
        return asked

    def sync(self) -> None:
        """Make what was appended so far survive a power cut, but for what `skipped` counts."""
        thread, written = self._thread, threading.Event()
        if thread is None:
            return
        self._queue.put(written)
        while not written.wait(1.0) and thread.is_alive():
            pass
        with self._lock:
            handle = os.dup(self._file.fileno()) if self._file is not None else None
        if handle is not None:
            try:
                os.fdatasync(handle)
            finally:
                os.close(handle)

    def park(self, names: list[str]) -> int:
        """These closed segments are the only place of their rows from now on; returns how many messages they hold."""
        with self._lock:
            self.parked += names
            self._closed = [n for n in self._closed if n not in names]
            return sum(self._holds.get(n, 0) for n in names)

    def forget(self, names: list[str]) -> None:
        """Delete segments whose rows are committed."""
        gone = 0
        for name in names:
            path = self.folder / name
            with suppress(FileNotFoundError):
                gone += path.stat().st_size
                path.unlink()
        if gone:
            # Only then may the store forget their names: what is back after a power cut must be known.
            sync_folder(self.folder)
        with self._lock:
            self._on_disk -= gone
            self._closed = [n for n in self._closed if n not in names]
            self.parked = [n for n in self.parked if n not in names]
            for name in names:
                self._holds.pop(name, None)

    def close(self) -> None:
        """Write what was appended, and end the thread."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _write_all(self) -> None:
        while (item := self._queue.get()) is not None:
            if isinstance(item, Future):
                try:
                    item.set_result(self._end_segment())
                except OSError as error:
                    item.set_exception(error)
                continue
            if isinstance(item, threading.Event):
                item.set()
                continue
            try:
                self._write(item)
                self._told = False
            except OSError as error:
                self.skipped += len(item)
                if not self._told:
                    reason = (error.strerror or str(error)).lower()
                    log.error("cannot write the spool in %s: %s; a crash would lose what follows", self.folder, reason)
                self._told = True
            self._queued -= len(item.data)
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _write(self, block: MessageBlock) -> None:
        with self._lock:
            if self._file is None:
                self._begin(int(block.ts[0]))
            file = self._file
        assert file is not None
        head, local = b"", []
        fresh = dict(self._interfaces)
        for interface in block.interfaces:
            if interface not in fresh:
                fresh[interface] = len(fresh)
                head += _interface_block(interface)
            local.append(fresh[interface])
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
        try:
            for piece in (memoryview(head), memoryview(out.data)[:size]):
                while len(piece):
                    piece = piece[file.write(piece) :]
        except OSError:
            # Half a block would hide what follows it.
            os.ftruncate(file.fileno(), self._good)
            file.seek(self._good)
            raise
        self._good += len(head) + size
        self._written += len(block)
        self._interfaces = fresh

    def _begin(self, stamp: int) -> None:
        self._count += 1
        name = f"{stamp:020d}-{os.getpid()}-{self._count:06d}.pcapng"
        file = open(self.folder / name, "wb", buffering=0)  # noqa: SIM115
        try:
            if file.write(_SECTION) != len(_SECTION):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            file.close()
            (self.folder / name).unlink()
            raise
        self._file, self._name, self._interfaces, self._good = file, name, {}, len(_SECTION)

    def _end_segment(self) -> list[str]:
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                self._closed.append(self._name)
                self._holds[self._name], self._written = self._written, 0
                self._name = ""
                self._on_disk += self._good
                self._good = 0
            closed = list(self._closed)
        if file is not None:
            try:
                os.fdatasync(file.fileno())
            finally:
                file.close()
        return closed


def _interface_block(interface: Interface) -> bytes:
    name = interface.name.encode("utf-8", "replace")[:255]
    options = struct.pack("<HH", 2, len(name)) + name + bytes(-len(name) % 4)
    options += struct.pack("<HHB3x", 9, 1, 9) + struct.pack("<HH", 0, 0)
    total = 20 + len(options)
    return struct.pack("<IIHHI", 1, total, interface.link_type, 0, 0) + options + struct.pack("<I", total)
