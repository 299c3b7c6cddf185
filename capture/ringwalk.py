"""Kernel that copies the packets of one TPACKET_V3 block into columns (Documentation/networking/packet_mmap.rst)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from capture.jit import kernel

U8 = NDArray[np.uint8]
VLAN_VALID, VLAN_TPID_VALID = 0x10, 0x40
OUTGOING = 4
"""sll_pkttype of a packet that this machine sends."""


@kernel
def le(ring: U8, at: int, size: int) -> int:
    """A little-endian number (the ring is in host order; every supported host is little-endian)."""
    out = 0
    for i in range(size):
        out |= int(ring[at + i]) << (8 * i)
    return out


@kernel
def walk_block(ring: U8, block: int, skip_outgoing: bool, data: U8, used: int, offset: NDArray[np.int64], captured: NDArray[np.int32],
               original: NDArray[np.int32], ts: NDArray[np.int64], n: int) -> tuple[int, int]:
    """Append the packets of the block at `block` to data[used:] and the columns from row n; returns (rows, bytes used).

    VLAN tags that the kernel moved into the metadata are put back into the frame."""
    count = le(ring, block + 12, 4)
    at = block + le(ring, block + 16, 4)
    for _ in range(count):
        snap = le(ring, at + 12, 4)
        length = le(ring, at + 16, 4)
        status = le(ring, at + 20, 4)
        mac = le(ring, at + 24, 2)
        # sockaddr_ll follows the 48-byte header: family 2, protocol 2, ifindex 4, hatype 2, pkttype 1.
        kind = ring[at + 48 + 10]
        if not (skip_outgoing and kind == OUTGOING) and n < len(offset) and used + snap + 4 <= len(data):
            offset[n] = used
            ts[n] = le(ring, at + 4, 4) * 1_000_000_000 + le(ring, at + 8, 4)
            src = at + mac
            if status & VLAN_VALID and snap >= 12:
                for j in range(12):
                    data[used + j] = ring[src + j]
                tpid = le(ring, at + 36, 2) if status & VLAN_TPID_VALID else 0x8100
                tci = le(ring, at + 32, 4)
                data[used + 12] = tpid >> 8
                data[used + 13] = tpid & 0xFF
                data[used + 14] = (tci >> 8) & 0xFF
                data[used + 15] = tci & 0xFF
                for j in range(12, snap):
                    data[used + 4 + j] = ring[src + j]
                snap += 4
                length += 4
            else:
                for j in range(snap):
                    data[used + j] = ring[src + j]
            captured[n] = snap
            original[n] = length
            used += snap
            n += 1
        step = le(ring, at, 4)
        if step == 0:
            break
        at += step
    return n, used
