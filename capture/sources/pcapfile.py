"""Frames from a capture file: pcap and pcapng, either byte order, micro- or nanoseconds, gzip, or standard input.

It owns the file and its byte order; it knows nothing of what is inside a frame.
"""

from __future__ import annotations

import os
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from capture.frames import FrameBlock, Interface
from capture.links import SUPPORTED, UnknownLinkType
from capture.walk import DAMAGED, FINER, FULL, LATEST, NEED_PYTHON, U8, walk_pcap, walk_pcapng
from sip.errors import Unreachable

CHUNK = 4 << 20
"""Bytes read at a time: so much that NumPy asks for large pages, which are handed over a hundred times faster."""
PACKED = 16 << 10
"""Compressed bytes read at a time."""
MOST_INTERFACES = 4096
"""Of one pcapng, all sections together: whoever writes more means harm."""
FRAMES = 65536
"""Frames per block at the most."""

PCAP_MAGIC = {
    b"\xd4\xc3\xb2\xa1": (False, 1000),
    b"\xa1\xb2\xc3\xd4": (True, 1000),
    b"\x4d\x3c\xb2\xa1": (False, 1),
    b"\xa1\xb2\x3c\x4d": (True, 1),
}
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"
_REMEDIES: dict[type[BaseException], tuple[str, str]] = {
    FileNotFoundError: ("there is no such file", "check its name"),
    IsADirectoryError: ("it is a folder", "name the capture files in it"),
    PermissionError: ("permission denied", "let this user read it, for example with chmod"),
}
"""What is wrong with a file that cannot be opened, and what to do."""


class PcapFile:
    """One capture file, read from start to end. `damage` says in words where it had to stop early."""

    def __init__(self, path: str) -> None:
        self.name = "standard input" if path == "-" else path
        self.size: int | None = None
        self.damage: str | None = None
        self.frames = 0
        self._unknown: dict[int, int] = {}
        """Frames by link types that cannot be decoded."""
        try:
            self._raw: BinaryIO = sys.stdin.buffer if path == "-" else open(path, "rb")  # noqa: SIM115
            if path != "-":
                self.size = os.fstat(self._raw.fileno()).st_size or None
            head = self._peek(self._raw, 4)
        except OSError as error:
            reason, remedy = _REMEDIES.get(type(error), ((error.strerror or str(error)).lower(), "check the file"))
            raise Unreachable(f"cannot read {self.name}: {reason}; {remedy}") from error
        self._at_start = head
        if head[:2] == b"\x1f\x8b":
            self._file: BinaryIO = cast(BinaryIO, _Inflated(_Prefixed(head, self._raw)))
            self._at_start = self._read(4)
        else:
            self._file = self._raw
        self._interfaces: list[Interface] = []
        self._label = Path(path).name if path != "-" else "stdin"
        if self._at_start not in PCAP_MAGIC and self._at_start != PCAPNG_MAGIC:
            self.close()
            if self.damage is not None:
                raise Unreachable(f"cannot read {self.name}: {self.damage}; copy or record it again")
            if not self._at_start:
                raise Unreachable(f"cannot read {self.name}: it is empty; record it again")
            raise Unreachable(
                f"cannot read {self.name}: it is no pcap or pcapng capture (its first bytes are "
                f"{self._at_start.hex(' ')}); give a file that tcpdump, dumpcap or Wireshark wrote"
            )

    @staticmethod
    def _peek(file: BinaryIO, count: int) -> bytes:
        out = b""
        while len(out) < count:
            piece = file.read(count - len(out))
            if not piece:
                break
            out += piece
        return out

    def _read(self, count: int) -> bytes:
        try:
            return self._peek(self._file, count)
        except (OSError, EOFError, zlib.error) as error:
            self.damage = f"the compressed data ends or is damaged ({error})"
        return b""

    def position(self) -> float | None:
        """Share of the file read so far (0..1); None where its size is unknown."""
        if self.size is None:
            return None
        try:
            return min(1.0, self._raw.tell() / self.size)
        except (OSError, ValueError):
            return None

    def close(self) -> None:
        """Close the file (standard input is left open)."""
        if self._raw is not sys.stdin.buffer:
            self._raw.close()

    def blocks(self) -> Iterator[FrameBlock]:
        """The file's frames in order. Damage ends it early and is said in `damage`, never raised.

        Raises UnknownLinkType when not one of its frames has a link type that can be decoded."""
        if self._at_start in PCAP_MAGIC:
            yield from self._pcap_blocks()
        else:
            yield from self._pcapng_blocks()
        if self.damage is None and self._left:
            self.damage = f"the capture ends inside a record ({self._left} bytes left over)"
        if not self._unknown:
            return
        first = min(self._unknown)
        if sum(self._unknown.values()) == self.frames:
            raise UnknownLinkType(first, self.name)
        names = ", ".join(f"{count} of link type {link}" for link, count in sorted(self._unknown.items()))
        left_out = f"frames that siptrail cannot decode are left out: {names}"
        self.damage = f"{self.damage}; {left_out}" if self.damage else left_out

    _left = 0

    def _more(self, left: U8) -> tuple[U8, int]:
        """A new array with the unread rest in front and up to CHUNK further bytes; and how many those are.

        Blocks that were handed out keep the old array, so it is never written to again."""
        room = np.empty(len(left) + CHUNK, np.uint8)
        room[: len(left)] = left
        view, got = memoryview(room.data)[len(left) :], 0
        try:
            while got < CHUNK:
                count = self._file.readinto(view[got:])  # type: ignore[attr-defined]
                if not count:
                    break
                got += count
        except (OSError, EOFError, zlib.error) as error:
            self.damage = f"the compressed data ends or is damaged ({error})"
        return room[: len(left) + got], got

    def _pcap_blocks(self) -> Iterator[FrameBlock]:
        swapped, unit = PCAP_MAGIC[self._at_start]
        header = self._read(20)
        if len(header) < 20:
            self.damage = "the file header is cut short"
            return
        link = struct.unpack((">" if swapped else "<") + "I", header[16:20])[0] & 0x0FFFFFFF
        if link not in SUPPORTED:
            raise UnknownLinkType(link, self.name)
        self._interfaces = [Interface(self._label, link)]
        buffer = np.empty(0, np.uint8)
        while True:
            buffer, piece = self._more(buffer)
            while True:
                offset, captured, original, ts = _columns()
                n, used, why = walk_pcap(buffer, len(buffer), swapped, unit, offset, captured, original, ts)
                if n:
                    yield self._block(buffer, n, offset, captured, original, ts, np.zeros(n, np.int32))
                buffer = buffer[used:]
                if why != FULL:
                    break
            if why == DAMAGED:
                self.damage = f"a record after frame {self.frames} is damaged; the rest is unreadable"
                return
            if not piece:
                self._left = len(buffer)
                return

    def _pcapng_blocks(self) -> Iterator[FrameBlock]:
        buffer = np.frombuffer(PCAPNG_MAGIC, np.uint8)
        swapped, ticks, bases, snaps, first = False, [0], [0], [0], 0
        ticks, bases, snaps = [], [], []
        done = False
        while not done:
            buffer, piece = self._more(buffer)
            done = not piece
            while True:
                if len(buffer) >= 12 and bytes(buffer[:4]) == PCAPNG_MAGIC:
                    swapped = bytes(buffer[8:12]) == b"\x1a\x2b\x3c\x4d"
                    total = int.from_bytes(bytes(buffer[4:8]), "big" if swapped else "little")
                    if (
                        bytes(buffer[8:12]) not in (b"\x1a\x2b\x3c\x4d", b"\x4d\x3c\x2b\x1a")
                        or not 28 <= total <= CHUNK
                    ):
                        self.damage = f"a section header after frame {self.frames} is damaged"
                        return
                    if len(buffer) < total:
                        break
                    # A new section starts its interface numbers afresh; earlier blocks keep their own tuple.
                    ticks, bases, snaps, first = [], [], [], len(self._interfaces)
                    buffer = buffer[total:]
                    continue
                offset, captured, original, ts = _columns()
                which = np.zeros(len(offset), np.int32)
                n, used, why = walk_pcapng(
                    buffer,
                    len(buffer),
                    swapped,
                    np.array(ticks, np.int64),
                    np.array(snaps, np.int64),
                    np.array(bases, np.int64),
                    offset,
                    captured,
                    original,
                    ts,
                    which,
                )
                if n:
                    yield self._block(buffer, n, offset, captured, original, ts, which[:n] + first)
                buffer = buffer[used:]
                if why == FULL:
                    continue
                if why == DAMAGED:
                    self.damage = f"a block after frame {self.frames} is damaged; the rest is unreadable"
                    return
                if why != NEED_PYTHON:
                    break
                if bytes(buffer[:4]) == PCAPNG_MAGIC:
                    if len(buffer) < 12:
                        break
                    continue
                order = "big" if swapped else "little"
                total = int.from_bytes(bytes(buffer[4:8]), order)  # type: ignore[arg-type]
                if not 20 <= total <= CHUNK:
                    self.damage = f"an interface block after frame {self.frames} is damaged"
                    return
                if len(buffer) < total:
                    break
                if len(self._interfaces) == MOST_INTERFACES:
                    self.damage = f"it has more than {MOST_INTERFACES:,} interfaces; what follows is left out"
                    return
                name, link, snap, tick, base = _interface(bytes(buffer[8 : total - 4]), swapped)
                self._interfaces.append(Interface(name or self._label, link))
                ticks.append(tick)
                bases.append(base)
                snaps.append(snap)
                buffer = buffer[total:]
        self._left = len(buffer)

    def _block(
        self,
        data: np.ndarray,
        n: int,
        offset: np.ndarray,
        captured: np.ndarray,
        original: np.ndarray,
        ts: np.ndarray,
        interface: np.ndarray,
    ) -> FrameBlock:
        self.frames += n
        for number, count in enumerate(np.bincount(interface).tolist()):
            link = self._interfaces[number].link_type
            if count and link not in SUPPORTED:
                self._unknown[link] = self._unknown.get(link, 0) + count
        return FrameBlock(data, offset[:n], captured[:n], original[:n], ts[:n], interface, tuple(self._interfaces))


class _Prefixed:
    """A stream whose first bytes were already read (standard input cannot seek back)."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head, self._rest = head, rest

    def read(self, count: int = -1) -> bytes:
        if self._head:
            out, self._head = (
                self._head[:count] if count >= 0 else self._head,
                self._head[count:] if count >= 0 else b"",
            )
            return out
        return self._rest.read(count)


class _Inflated:
    """gzip (RFC 1952), member after member. Unlike gzip.GzipFile it gives all that a file which ends early holds."""

    def __init__(self, packed: _Prefixed) -> None:
        self._source = packed
        self._packed = b""
        self._inflater = zlib.decompressobj(wbits=31)

    def readinto(self, view: memoryview) -> int:
        """Fill the front of `view`; 0 at the end."""
        out = self.read(len(view))
        view[: len(out)] = out
        return len(out)

    def read(self, most: int) -> bytes:
        """Some bytes, at most so many; none at the end."""
        while True:
            if not self._packed:
                self._packed = self._source.read(PACKED)
                if not self._packed and not self._inflater.eof:
                    raise EOFError("it ends too early")
            if self._inflater.eof:
                if not self._packed:
                    return b""
                self._packed = self._packed.lstrip(b"\0")  # tapes pad
                if not self._packed:
                    continue
                self._inflater = zlib.decompressobj(wbits=31)
            out = self._inflater.decompress(self._packed, most)
            self._packed = self._inflater.unused_data if self._inflater.eof else self._inflater.unconsumed_tail
            if out:
                return out


def _columns() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return (
        np.empty(FRAMES, np.int64),
        np.empty(FRAMES, np.int32),
        np.empty(FRAMES, np.int32),
        np.empty(FRAMES, np.int64),
    )


def _interface(body: bytes, swapped: bool) -> tuple[str, int, int, int, int]:
    """Name, link type, snap length, tick and time offset of an Interface Description Block."""
    order = ">" if swapped else "<"
    link, _, snap = struct.unpack(order + "HHI", body[:8])
    name, tick, base, at = "", 1000, 0, 8
    while at + 4 <= len(body):
        code, length = struct.unpack(order + "HH", body[at : at + 4])
        value = body[at + 4 : at + 4 + length]
        if code == 0:
            break
        if code == 2:
            name = value.decode("utf-8", "replace")
        elif code == 9 and value:
            # if_tsresol: a power of ten, or of two when the top bit is set.
            power = value[0] & 0x7F
            tick = -power if value[0] & 0x80 else 10 ** (9 - power) if power <= 9 else FINER - (power - 9)
        elif code == 14 and length == 8:
            base = max(-LATEST, min(LATEST, struct.unpack(order + "q", value)[0] * 1_000_000_000))
        at += 4 + length + (-length % 4)
    return name, link, snap, tick, base
