"""What packed frames are made of: the numbers that the kernels of index.packing and index.unpacking share.

Three streams for each packed row. `moves` tells, frame by frame, what follows where: two bytes (sizes of the steps of
ts and seq; kind of head, which one), one more for what is odd, a head where it is new, then the lines of the text.
`numbers` has the steps of ts and seq, the IP identification, and what is odd. `text` has the bytes of new lines; in
it, a word with a digit in it (a number, an address, a tag) that stood in new lines before is one byte.
A change of any of it is a new version of the store.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from capture.jit import kernel
from capture.words import same_bytes

# ---- how the lines of a text follow: one byte, or more -----------------------------------------------------------
LITERAL, CHANGED, TAIL, END = 0, 1, 2, 3
"""A new line; the expected one with another middle; bytes without an end of line; nothing more."""
HIT, MOST_HITS = 3, 60
"""4 to 63: so many lines, less three, are the expected ones."""
REFER, REFER_FAR = 64, 255
"""A line that was there: 64 the first, 65 the second, …; 255: its number follows in two bytes."""
LINES, SLOTS = 2048, 4096
"""Lines that are remembered in a packed row, and places in the table in which they are looked for."""

# ---- text: 0 to 127 are themselves, 128 to 254 a word that was there, 255 the next byte as it is --------------------
WORDS, SHORTEST, LONGEST, ESCAPE = 127, 6, 64, 255
PLACES = 512
"""Where words are looked for."""
_OF_WORDS = np.zeros(256, np.bool_)
_OF_WORDS[list(b"+-._0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")] = True
OF_WORDS = _OF_WORDS

# ---- a frame's second byte: bits 0 to 2 are the kind of its head, 3 and 4 which one (0: a new one) ----------------
NO_HEAD, PLAIN_HEAD, IPV4_UNSUMMED, IPV4_SUMMED, IPV6_SUMMED = range(5)
"""All is text; as it is; IPv4 and UDP without a checksum, or with the right one; IPv6 and UDP with the right one."""
RESPONSE, SAME_NUMBER, ODD = 32, 64, 128
"""Its text begins like a response; the IP identification is that of the last one with this head."""
HEADS, LONGEST_HEAD = 3, 255

# ---- a frame's third byte, if it is odd -----------------------------------------------------------------------------
WHEN, ORIGINAL, PART, PAYLOAD, PLACE, NO_FRAME = 1, 2, 4, 8, 16, 32
"""Has a frame_ts of its own, an original length, a part, a payload, a place of it; has no frame."""
WORD = 0xFFFFFFFF


@kernel
def checksum(data: NDArray[np.uint8], at: int, end: int, total: int) -> int:
    """The sum of 16-bit words (RFC 1071), carried around; 0xFFFF over what has its right checksum in it."""
    i = at
    while i + 1 < end:
        total += (int(data[i]) << 8) | int(data[i + 1])
        i += 2
    if i < end:
        total += int(data[i]) << 8
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@kernel
def pseudo(data: NDArray[np.uint8], addresses: int, end: int, size: int) -> int:
    """The sum of the pseudo-header of UDP (RFC 768, RFC 8200 section 8.1)."""
    total = 17 + size
    for i in range(addresses, end, 2):
        total += (int(data[i]) << 8) | int(data[i + 1])
    return total


@kernel
def alike(data: NDArray[np.uint8], a: int, b: int, size: int) -> bool:
    """Whether data[a:a+size] is data[b:b+size]."""
    return same_bytes(data, np.uint64(a), np.uint64(b), np.uint64(size))


@kernel
def alike_rows(rows: NDArray[np.uint8], a: int, b: int, size: int) -> bool:
    """Whether two rows begin alike."""
    i = 0
    while i < size and rows[a, i] == rows[b, i]:
        i += 1
    return i >= size


@kernel
def follow(lines: NDArray[np.int64], state: NDArray[np.int64], kind: int, before: int, found: int) -> int:
    """Line `found` came after `before` (-1: a line that is not remembered; -2: none, it is the first). Returns the
    line that is expected now, -1 for none. lines[:, 2]: what came after each the last time."""
    if found < 0:
        return -1
    if before == -2:
        state[kind] = found
    elif before >= 0:
        instead = lines[before, 2]
        lines[before, 2] = found
        if instead >= 0 and instead != found and lines[found, 2] < 0:
            # In the place of another line: what came after that one is expected after this one.
            lines[found, 2] = lines[instead, 2]
    return int(lines[found, 2])
