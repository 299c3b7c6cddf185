"""The fast path's third kernels: slices that the scan found become columns of bytes and numbers.

They copy pieces into Arrow's layout and number what repeats. They know no header and decide nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from capture.jit import kernel
from capture.words import copy_bytes, name_hash, newline, same_bytes

U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
I32 = NDArray[np.int32]
FEW_TEXTS, GROWS = 256, 4
"""Places in a table of texts at first, and how many times that once half of them are taken."""


@kernel
def codec_lines(data: U8, at: int, end: int, out: U8) -> int:
    """Copy the lines of an SDP body that name codecs (m= without its port, a=rtpmap) into `out`; returns their size.

    Bodies that differ only in addresses, ports and sessions give the same bytes, so that a small dictionary serves."""
    n = 0
    pos = at
    limit = len(out)
    while pos < end:
        eol = newline(data, pos, end)
        line = eol
        if line > pos and data[line - 1] == 13:
            line -= 1
        if line - pos > 2 and data[pos + 1] == 61:
            if data[pos] == 109:
                spaces = 0
                for j in range(pos, line):
                    if data[j] == 32:
                        spaces += 1
                    if (spaces != 1 or data[j] == 32) and n < limit:
                        out[n] = data[j]
                        n += 1
                if n < limit:
                    out[n] = 10
                    n += 1
            elif (
                data[pos] == 97
                and line - pos > 9
                and data[pos + 2] == 114
                and data[pos + 3] == 116
                and data[pos + 4] == 112
                and data[pos + 5] == 109
                and data[pos + 6] == 97
                and data[pos + 7] == 112
            ):
                size = min(line - pos, limit - n)
                copy_bytes(data, np.uint64(pos), out, np.uint64(n), np.uint64(size))
                n += size
                if n < limit:
                    out[n] = 10
                    n += 1
        pos = eol + 1
    return n


@kernel
def gather_size(pieces: I64) -> int:
    """Total bytes of a column of (start, length) pieces."""
    total = 0
    for i in range(pieces.shape[0]):
        total += pieces[i, 1]
    return total


@kernel
def gather(data: U8, pieces: I64, values: U8, offsets: I32) -> None:
    """Copy (start, length) pieces one behind the other into `values` with Arrow offsets.

    Unsigned places: the compiler then sees a plain copy, six times faster than with signs to check."""
    one = np.uint64(1)
    n = np.uint64(0)
    for i in range(pieces.shape[0]):
        offsets[i] = n
        at = np.uint64(pieces[i, 0])
        stop = at + np.uint64(pieces[i, 1])
        while at < stop:
            values[n] = data[at]
            n += one
            at += one
    offsets[pieces.shape[0]] = n


@kernel
def gather_bytes(data: U8, starts: I64, lengths: I64, values: U8, offsets: I32) -> None:
    """Copy slices one behind the other into `values` with Arrow offsets, whatever bytes they hold."""
    n = np.uint64(0)
    for i in range(len(starts)):
        offsets[i] = n
        size = np.uint64(lengths[i])
        copy_bytes(data, np.uint64(starts[i]), values, n, size)
        n += size
    offsets[len(starts)] = n


@kernel
def views_of(data: U8, starts: I64, lengths: I32, views: I32) -> None:
    """Arrow's views (length, first four bytes, buffer 0, place) of slices that are longer than twelve bytes."""
    for i in range(len(starts)):
        at = starts[i]
        views[i, 0] = lengths[i]
        head = int(data[at + 3])
        for j in (2, 1, 0):
            head = head * 256 + int(data[at + j])
        views[i, 1] = np.int32(head if head < 2147483648 else head - 4294967296)
        views[i, 2] = 0
        views[i, 3] = at


def number_pieces(data: U8, pieces: I64, codes: I32, first: I64) -> int:
    """Number the distinct (start, length) pieces of `data` in order of appearance, like `number_pairs`."""
    size = FEW_TEXTS
    while size < 2 * len(pieces):
        size *= GROWS
    hashes = np.empty((2, len(pieces)), np.uint64)
    return _number_pieces(data, pieces, codes, first, np.empty(size, np.int32), hashes[0], hashes[1])


@kernel
def _number_pieces(data: U8, pieces: I64, codes: I32, first: I64, table: I32, hashes: U64, all_hashes: U64) -> int:
    """The table grows with what is found, so that columns of few texts stay in the processor's nearest cache; all that
    it may come to is `table`."""
    room = FEW_TEXTS
    mask = np.uint64(room - 1)
    for k in range(room):
        table[k] = -1
    one = np.uint64(1)
    n = 0
    # All hashes first: then the processor fetches many pieces at a time.
    for i in range(pieces.shape[0]):
        start = np.uint64(pieces[i, 0])
        all_hashes[i] = name_hash(data, start, start + np.uint64(pieces[i, 1]))
    for i in range(pieces.shape[0]):
        start, size = np.uint64(pieces[i, 0]), np.uint64(pieces[i, 1])
        mixed = all_hashes[i]
        at = mixed & mask
        while True:
            seen = table[at]
            if seen < 0:
                table[at] = n
                hashes[n] = mixed
                first[n] = i
                codes[i] = n
                n += 1
                break
            if hashes[seen] == mixed:
                other = first[seen]
                if np.uint64(pieces[other, 1]) == size and same_bytes(data, np.uint64(pieces[other, 0]), start, size):
                    codes[i] = seen
                    break
            at = (at + one) & mask
        if 2 * n > room:
            room *= GROWS
            mask = np.uint64(room - 1)
            for k in range(room):
                table[k] = -1
            for k in range(n):
                at = hashes[k] & mask
                while table[at] >= 0:
                    at = (at + one) & mask
                table[at] = k
    return n


@kernel
def renumber(codes: I32, place: I32, kept: I32) -> int:
    """Number codes anew in order of appearance, in place; kept[new] is the old one. Returns how many there are.

    `place` has an entry of -1 for each old code; a code of -1 (nothing there) stays."""
    n = 0
    for i in range(len(codes)):
        old = codes[i]
        if old < 0:
            continue
        if place[old] < 0:
            place[old] = n
            kept[n] = old
            n += 1
        codes[i] = place[old]
    return n


@kernel
def in_order_of(keys: I64, order: I64, out: I64, places: I64) -> None:
    """`order` (row numbers) once more in `out`, by ascending keys; rows of one key stay as they were.

    Keys are 0 or more and below len(places) - 1; `places` is zero and is used up."""
    for i in range(len(order)):
        places[keys[order[i]] + 1] += 1
    for k in range(1, len(places)):
        places[k] += places[k - 1]
    for i in range(len(order)):
        key = keys[order[i]]
        out[places[key]] = order[i]
        places[key] += 1


@kernel
def ascends(ts: I64, seq: I64) -> bool:
    """Whether rows stand in the order of (ts, seq), which may repeat."""
    for i in range(1, len(ts)):  # noqa: SIM110 - kernels know no generators
        if ts[i] < ts[i - 1] or (ts[i] == ts[i - 1] and seq[i] < seq[i - 1]):
            return False
    return True


def number_pairs(hi: U64, lo: U64, codes: I32, first: I64) -> int:
    """Number the distinct (hi, lo) pairs in order of appearance: codes[i] is the number of pair i, first[code] where it
    came first. Returns how many there are. A hash table with open addressing; sorting would cost ten times that."""
    size = 64
    while size < 2 * len(hi):
        size *= 2
    return _number_pairs(hi, lo, codes, first, np.full(size, -1, np.int64))


@kernel
def _number_pairs(hi: U64, lo: U64, codes: I32, first: I64, table: I64) -> int:
    """`table`: -1 in twice as many places as there are pairs, a power of two."""
    mask = np.uint64(len(table) - 1)
    n = 0
    for i in range(len(hi)):
        mixed = (hi[i] * np.uint64(0x9E3779B97F4A7C15)) ^ (lo[i] * np.uint64(0xC2B2AE3D27D4EB4F))
        at = (mixed ^ (mixed >> np.uint64(29))) & mask
        while True:
            seen = table[at]
            if seen < 0:
                table[at] = i
                first[n] = i
                codes[i] = n
                n += 1
                break
            if hi[seen] == hi[i] and lo[seen] == lo[i]:
                codes[i] = codes[seen]
                break
            at = (at + np.uint64(1)) & mask
    return n


@kernel
def gather_codecs(data: U8, bodies: I64, values: U8, offsets: I32) -> int:
    """Run `codec_lines` on each body; values[offsets[i]:offsets[i+1]] is its key."""
    n = 0
    for i in range(bodies.shape[0]):
        offsets[i] = n
        if bodies[i, 1] > 8:
            n += codec_lines(data, bodies[i, 0], bodies[i, 0] + bodies[i, 1], values[n:])
    offsets[bodies.shape[0]] = n
    return n
