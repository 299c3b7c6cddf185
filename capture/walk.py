"""Kernels that find the frames inside capture-file bytes. They own no file and no time zone.

pcap: draft-ietf-opsawg-pcap; pcapng: draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from capture.jit import kernel

U8 = NDArray[np.uint8]
SANE_LENGTH = 1 << 26
"""A record that claims more than this (64 MiB) is damage, not a packet."""

LATEST = 4_000_000_000_000_000_000
"""In ns: a time stamp after 2096 is damage; the limit keeps sums from overflowing."""
FINER = -1000

NEED_MORE, NEED_PYTHON, DAMAGED, FULL = 0, 1, 2, 3


@kernel
def u32(data: U8, at: int, swapped: bool) -> int:
    """Four bytes as an unsigned number; big-endian when `swapped`."""
    a, b, c, d = int(data[at]), int(data[at + 1]), int(data[at + 2]), int(data[at + 3])
    if swapped:
        return (a << 24) | (b << 16) | (c << 8) | d
    return (d << 24) | (c << 16) | (b << 8) | a


@kernel
def u16(data: U8, at: int, swapped: bool) -> int:
    """Two bytes as an unsigned number; big-endian when `swapped`."""
    if swapped:
        return (int(data[at]) << 8) | int(data[at + 1])
    return (int(data[at + 1]) << 8) | int(data[at])


@kernel
def walk_pcap(
    data: U8,
    end: int,
    swapped: bool,
    unit: int,
    offset: NDArray[np.int64],
    captured: NDArray[np.int32],
    original: NDArray[np.int32],
    ts: NDArray[np.int64],
) -> tuple[int, int, int]:
    """Records of a classic pcap in data[:end] (after the file header). `unit` is ns per sub-second tick.

    Returns (frames found, bytes consumed, why it stopped)."""
    at, n, limit = 0, 0, len(offset)
    while True:
        if at + 16 > end:
            return n, at, NEED_MORE
        if n >= limit:
            return n, at, FULL
        length = u32(data, at + 8, swapped)
        if length > SANE_LENGTH:
            return n, at, DAMAGED
        if at + 16 + length > end:
            return n, at, NEED_MORE
        offset[n] = at + 16
        captured[n] = length
        original[n] = min(max(u32(data, at + 12, swapped), length), 0x7FFFFFFF)
        ts[n] = u32(data, at, swapped) * 1_000_000_000 + u32(data, at + 4, swapped) * unit
        n += 1
        at += 16 + length


@kernel
def nanoseconds(high: int, low: int, tick: int) -> int:
    """A time stamp of two halves in ns, at most LATEST.

    tick > 0: so many ns a tick; tick > FINER: 2**-tick ticks a second; below, 10**(FINER - tick) ticks a ns."""
    # The halves are unsigned, and an unsigned and a signed number make a float in a kernel.
    stamp = (int(np.int64(high if high < 0x3FFFFFFF else 0x3FFFFFFF)) << 32) | int(np.int64(low))
    if tick > 0:
        return min(stamp, LATEST // tick) * tick
    if tick <= FINER:
        for _ in range(min(FINER - tick, 18)):
            stamp //= 10
        return min(stamp, LATEST)
    bits = -tick
    if bits > 33:
        # 2**-33 s is a ninth of a ns, and 2**33 * 10**9 still fits.
        stamp >>= min(bits - 33, 63)
        bits = 33
    whole = stamp >> bits
    if whole >= LATEST // 1_000_000_000:
        return LATEST
    return whole * 1_000_000_000 + (((stamp & ((1 << bits) - 1)) * 1_000_000_000) >> bits)


@kernel
def walk_pcapng(
    data: U8,
    end: int,
    swapped: bool,
    ticks: NDArray[np.int64],
    snaps: NDArray[np.int64],
    base: NDArray[np.int64],
    offset: NDArray[np.int64],
    captured: NDArray[np.int32],
    original: NDArray[np.int32],
    ts: NDArray[np.int64],
    interface: NDArray[np.int32],
) -> tuple[int, int, int]:
    """Packet blocks of a pcapng in data[:end]; stops (NEED_PYTHON) at section and interface blocks.

    ticks[i]: see `nanoseconds`, of interface i; base[i]: its if_tsoffset in ns, at most LATEST either way."""
    at, n, limit = 0, 0, len(offset)
    while True:
        if at + 12 > end:
            return n, at, NEED_MORE
        if n >= limit:
            return n, at, FULL
        kind = u32(data, at, swapped)
        if kind == 0x0A0D0D0A or kind == 1:
            return n, at, NEED_PYTHON
        total = u32(data, at + 4, swapped)
        if total < 12 or total % 4 or total > SANE_LENGTH:
            return n, at, DAMAGED
        if at + total > end:
            return n, at, NEED_MORE
        if kind == 6 or kind == 2:
            if total < 32:
                return n, at, DAMAGED
            which = u32(data, at + 8, swapped) if kind == 6 else u16(data, at + 8, swapped)
            length = u32(data, at + 20, swapped)
            if length > total - 32 or which >= len(ticks):
                return n, at, DAMAGED
            stamp = nanoseconds(u32(data, at + 12, swapped), u32(data, at + 16, swapped), ticks[which]) + base[which]
            ts[n] = min(max(stamp, 0), LATEST)
            offset[n], captured[n] = at + 28, length
            original[n] = min(max(u32(data, at + 24, swapped), length), 0x7FFFFFFF)
            interface[n] = which
            n += 1
        elif kind == 3:
            if total < 16 or len(ticks) == 0:
                return n, at, DAMAGED
            wire = u32(data, at + 8, swapped)
            length = min(wire, total - 16)
            if snaps[0] > 0:
                length = min(length, snaps[0])
            offset[n], captured[n], original[n] = at + 12, length, min(max(wire, length), 0x7FFFFFFF)
            ts[n], interface[n] = (ts[n - 1] if n else 0), 0
            n += 1
        at += total
