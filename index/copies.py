"""Tells, as messages arrive, the same packet seen again (a mirror port) from a message sent again.

It owns the memory of what was seen lately; `index.traces` says the same of a whole call, exactly and from its bytes.
Here a message is known by a hash and remembered as long as there is room, so that lists can count without reading
frames: for most of a minute on a usual server, and never less than copies need.
"""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from capture.flags import COPY, NO_MESSAGE, RESENT
from capture.jit import kernel
from capture.pipeline import MessageBlock
from capture.words import hash_of
from index.traces import COPY_NS, RESEND_NS, SAME_ID_NS

U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
U64 = NDArray[np.uint64]
ROOM = 1 << 18
"""Messages remembered, in pairs that share a place."""
HASH, WHEN, TAP, NUMBER = range(4)
AHEAD = 64
"""Messages whose places in the memory are fetched at once."""


@kernel
def mark(
    data: U8,
    start: I64,
    length: I32,
    frame_start: I64,
    path: U64,
    udp: U8,
    ts: I64,
    ip_id: I32,
    flags: I32,
    known: I64,
    same_id_ns: int,
    copy_ns: int,
    resend_ns: int,
    copy: int,
    resent: int,
) -> int:
    """Set the bit `copy` or `resent` in the flags of messages that were seen before. frame_start: -1 where a message
    is not one slice of one frame; path: a hash of where it went, used up; known: the memory (hash, time, tap, number).
    What it returns means nothing: it keeps the compiler from leaving out what is read ahead."""
    mask = np.uint64(len(known) // 2 - 1)
    read = 0
    for begin in range(0, len(start), AHEAD):
        end = min(begin + AHEAD, len(start))
        for i in range(begin, end):
            at = np.uint64(start[i])
            path[i] ^= hash_of(data, at, at + np.uint64(length[i]))
        # The places of all of these are fetched at once; one after the other, each would be waited for.
        for i in range(begin, end):
            read ^= known[int(np.int64(path[i] & mask)) * 2, HASH]
        for i in range(begin, end):
            if flags[i] & NO_MESSAGE:
                continue
            at = np.uint64(start[i])
            place = path[i]
            mixed = np.int64(place)
            tap = np.int64(0)
            if frame_start[i] >= 0 and start[i] - frame_start[i] >= 28:
                # Before the payload stand IPv4 (20 bytes, TTL at 8) and UDP (8 bytes).
                head = np.uint64(frame_start[i])
                tap = np.int64(hash_of(data, head, at - np.uint64(28)) >> np.uint64(1)) ^ data[start[i] - 20]
            first = int(np.int64(place & mask)) * 2
            slot = first
            found = False
            for way in range(first, first + 2):
                if known[way, HASH] == mixed and known[way, WHEN] != 0:
                    slot = way
                    found = True
                    break
                if known[way, WHEN] < known[slot, WHEN]:
                    slot = way
            if found:
                apart = ts[i] - known[slot, WHEN]
                if known[slot, NUMBER] > 0 and ip_id[i] > 0:
                    if known[slot, NUMBER] == ip_id[i]:
                        again = apart < same_id_ns
                    else:
                        again = apart < copy_ns and (known[slot, TAP] == 0 or known[slot, TAP] != tap)
                else:
                    again = apart < resend_ns
                if again:
                    flags[i] |= copy
                    continue
                if udp[i]:
                    flags[i] |= resent
            known[slot, HASH], known[slot, WHEN], known[slot, TAP], known[slot, NUMBER] = mixed, ts[i], tap, ip_id[i]
    return read


class Copies:
    """The memory of one recorder or one file. Capture threads share it."""

    def __init__(self, room: int = ROOM) -> None:
        self._lock = threading.Lock()
        self._known = np.zeros((room, 4), np.int64)

    def mark(self, block: MessageBlock) -> None:
        """Set COPY or RESENT in the flags of a block's messages. Blocks come roughly in the order of time."""
        odd = np.uint64(0x9E3779B97F4A7C15)
        with np.errstate(over="ignore"):
            path = (block.src_hi ^ block.src_lo * odd) * odd + (block.dst_hi ^ block.dst_lo * odd)
            ports = (block.sport.astype(np.uint64) << np.uint64(24)) ^ (block.dport.astype(np.uint64) << np.uint64(8))
            path = (path ^ ports ^ block.transport) * odd
        udp = (block.transport == 0).astype(np.uint8)
        whole = np.full(len(block), -1, np.int64) if block.reassembled else np.where(udp, block.frame_start, -1)
        with self._lock:
            mark(
                block.data, block.start, block.length, whole, path, udp, block.ts, block.ip_id, block.flags,
                self._known, SAME_ID_NS, COPY_NS, RESEND_NS, COPY, RESENT,
            )  # fmt: skip
