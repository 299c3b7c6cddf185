"""The hand-over types between capture sources and decoders: frames, never objects per byte.

`FrameBlock` is the hot path's unit (thousands of frames, columns over one byte array);
`Frame` is the careful path's unit (one frame that must outlive its block).
Times are integer nanoseconds since the Unix epoch, UTC.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Interface:
    """Where frames were seen: its name ('eth0', or a file's name) and libpcap link type (DLT number)."""

    name: str
    link_type: int


@dataclass(frozen=True, slots=True)
class FrameBlock:
    """A run of frames in capture order. Frame i is data[offset[i] : offset[i] + captured[i]]."""

    data: NDArray[np.uint8]
    offset: NDArray[np.int64]
    captured: NDArray[np.int32]
    """Bytes of the frame that were kept."""
    original: NDArray[np.int32]
    """Bytes the frame had on the wire (larger than `captured` when a snap length cut it)."""
    ts: NDArray[np.int64]
    interface: NDArray[np.int32]
    """Index into `interfaces`."""
    interfaces: tuple[Interface, ...]

    def __len__(self) -> int:
        return len(self.offset)


@dataclass(frozen=True, slots=True)
class Frame:
    """One captured frame with everything an exact export needs."""

    ts: int
    link_type: int
    interface: str
    original: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Payload:
    """One SIP message that the careful path put together, with the frames it came from (in order)."""

    ts: int
    """Time of the frame that completed it."""
    transport: str
    """udp, tcp, tls, ws, wss, sctp."""
    src: str
    sport: int
    dst: str
    dport: int
    data: bytes
    frames: tuple[Frame, ...]
    ip_id: int
    """IPv4 identification of the first frame, -1 where there is none."""
    flags: int
    """Bits of capture.flags."""


def frame_of(block: FrameBlock, number: int) -> Frame:
    """One frame of a block, by its place in it."""
    at = int(block.offset[number])
    where = block.interfaces[int(block.interface[number])]
    return Frame(
        int(block.ts[number]),
        where.link_type,
        where.name,
        int(block.original[number]),
        block.data[at : at + int(block.captured[number])].tobytes(),
    )
