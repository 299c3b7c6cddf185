"""The kernel that walks one block of a TPACKET_V3 ring and copies its frames out.

It owns the layout of struct tpacket_block_desc and tpacket3_hdr (linux/if_packet.h), nothing else: no socket, no
decision which blocks are ready. The numbers it reads were written by the kernel, and are bounded all the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from capture.jit import kernel
from capture.walk import u16, u32
from capture.words import copy_bytes

U8 = NDArray[np.uint8]

BLOCK_STATUS, BLOCK_PACKETS, BLOCK_FIRST, BLOCK_LENGTH = 8, 12, 16, 20
"""Offsets inside a block descriptor."""
PACKET_HEADERS = 68
"""struct tpacket3_hdr (48 bytes, aligned) and the struct sockaddr_ll behind it."""
PACKET_TYPE = 58
"""Where sll_pkttype is, from the start of the packet's header."""
OUTGOING = 4
"""PACKET_OUTGOING: this machine sent the frame."""
VLAN_VALID, VLAN_TPID_VALID = 0x10, 0x40


@kernel
def signed32(ring: U8, at: int, swapped: bool) -> int:
    """u32, signed: a signed and an unsigned number would make a float in numba."""
    return int(np.int64(u32(ring, at, swapped)))


@kernel
def signed16(ring: U8, at: int, swapped: bool) -> int:
    """u16, signed likewise."""
    return int(np.int64(u16(ring, at, swapped)))


@kernel
def walk_block(
    ring: U8,
    block: int,
    size: int,
    swapped: bool,
    skip_outgoing: bool,
    tags: bool,
    data: U8,
    used: int,
    offset: NDArray[np.int64],
    captured: NDArray[np.int32],
    original: NDArray[np.int32],
    ts: NDArray[np.int64],
    frames: int,
) -> tuple[int, int]:
    """Append the frames of ring[block : block + size] to `data` (from `used`) and to the columns (from `frames`).

    With `tags`, a VLAN tag that the kernel keeps beside the frame goes back into its Ethernet header.
    `swapped`: this machine is big-endian. Returns the new (used, frames)."""
    packets = signed32(ring, block + BLOCK_PACKETS, swapped)
    at = block + signed32(ring, block + BLOCK_FIRST, swapped)
    end = block + size
    for _ in range(packets):
        if at + PACKET_HEADERS > end or frames >= len(offset):
            break
        step = signed32(ring, at, swapped)
        snap = signed32(ring, at + 12, swapped)
        wire = signed32(ring, at + 16, swapped)
        status = signed32(ring, at + 20, swapped)
        begin = at + signed16(ring, at + 24, swapped)
        skip = skip_outgoing and ring[at + PACKET_TYPE] == OUTGOING
        if not skip and begin + snap <= end and used + snap + 4 <= len(data):
            offset[frames] = used
            ts[frames] = signed32(ring, at + 4, swapped) * 1_000_000_000 + signed32(ring, at + 8, swapped)
            if tags and status & VLAN_VALID and snap >= 12:
                tci = signed32(ring, at + 32, swapped)
                # Where the kernel names no tag protocol, IEEE 802.1Q is meant.
                tpid = signed16(ring, at + 36, swapped) if status & VLAN_TPID_VALID else 0x8100
                copy_bytes(ring, np.uint64(begin), data, np.uint64(used), np.uint64(12))
                data[used + 12] = tpid >> 8
                data[used + 13] = tpid & 255
                data[used + 14] = (tci >> 8) & 255
                data[used + 15] = tci & 255
                copy_bytes(ring, np.uint64(begin + 12), data, np.uint64(used + 16), np.uint64(snap - 12))
                snap += 4
                wire += 4
            else:
                copy_bytes(ring, np.uint64(begin), data, np.uint64(used), np.uint64(snap))
            captured[frames] = snap
            original[frames] = min(max(wire, snap), 0x7FFFFFFF)
            used += snap
            frames += 1
        if step == 0:
            break
        at += step
    return used, frames


def warm_up() -> None:
    """Compile (or load) them with a block in which nothing is."""
    block, narrow, wide = np.zeros(256, np.uint8), np.zeros(1, np.int32), np.zeros(1, np.int64)
    walk_block(block, 0, len(block), False, False, True, block.copy(), 0, wide, narrow, narrow.copy(), wide.copy(), 0)
