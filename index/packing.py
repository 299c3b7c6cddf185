"""The frames of a call become one row, without what earlier ones say already: the kernel that writes it.

It owns the writing half of the format; index.packed has its meaning, index.unpacking the way back. It decides nothing
about files, and every byte of a frame comes back, whatever it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from capture.jit import kernel
from capture.words import hash_of, newline
from index.packformat import (
    CHANGED,
    END,
    ESCAPE,
    HEADS,
    HIT,
    IPV4_SUMMED,
    IPV4_UNSUMMED,
    IPV6_SUMMED,
    LINES,
    LITERAL,
    LONGEST,
    LONGEST_HEAD,
    MOST_HITS,
    NO_FRAME,
    NO_HEAD,
    ODD,
    OF_WORDS,
    ORIGINAL,
    PART,
    PAYLOAD,
    PLACE,
    PLACES,
    PLAIN_HEAD,
    REFER,
    REFER_FAR,
    RESPONSE,
    SAME_NUMBER,
    SHORTEST,
    SLOTS,
    TAIL,
    WHEN,
    WORD,
    WORDS,
    alike,
    alike_rows,
    checksum,
    follow,
    pseudo,
)

U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
LEAST = 6
"""Bytes that a changed line must have in common with the one that was expected."""


@kernel
def width(value: np.uint64) -> int:
    """Bytes that a number needs."""
    n = 0
    while value != np.uint64(0):
        value >>= np.uint64(8)
        n += 1
    return n


@kernel
def put(out: U8, at: int, value: np.uint64, size: int) -> int:
    """The lowest bytes of a number, the lowest first; returns where they end."""
    for _ in range(size):
        out[at] = np.uint8(value & np.uint64(255))
        value >>= np.uint64(8)
        at += 1
    return at


@kernel
def varint(out: U8, at: int, value: int) -> int:
    """Seven bits a byte, the lowest first."""
    while value >= 128:
        out[at] = np.uint8(128 | (value & 127))
        value >>= 7
        at += 1
    out[at] = np.uint8(value)
    return at + 1


@kernel
def head_of(data: U8, start: int, end: int, at: int, head: U8) -> int:
    """Copy the `at` bytes before the payload to `head`, zeros for what the rest tells; returns the kind of head."""
    for i in range(at):
        head[i] = data[start + i]
    udp = start + at - 8
    size = end - udp
    if at >= 28 and data[udp - 20] == 0x45 and data[udp - 11] == 17:
        ip = udp - 20
        length = (int(data[ip + 2]) << 8) | int(data[ip + 3])
        said = (int(data[udp + 4]) << 8) | int(data[udp + 5])
        check = (int(data[udp + 6]) << 8) | int(data[udp + 7])
        if length == size + 20 and said == size and checksum(data, ip, ip + 20, 0) == 0xFFFF:
            # A checksum of 0xFFFF and one of 0 are the same sum: what is computed gives one of them alone.
            if data[ip + 10] == 0xFF and data[ip + 11] == 0xFF:
                return PLAIN_HEAD
            summed = check != 0 and checksum(data, udp, end, pseudo(data, ip + 12, udp, size)) == 0xFFFF
            if check == 0 or summed:
                for i in (2, 3, 4, 5, 10, 11):
                    head[at - 28 + i] = 0
                for i in (4, 5, 6, 7):
                    head[at - 8 + i] = 0
                return IPV4_SUMMED if summed else IPV4_UNSUMMED
    if at >= 48 and data[udp - 40] >> 4 == 6 and data[udp - 34] == 17:
        ip = udp - 40
        length = (int(data[ip + 4]) << 8) | int(data[ip + 5])
        said = (int(data[udp + 4]) << 8) | int(data[udp + 5])
        check = (int(data[udp + 6]) << 8) | int(data[udp + 7])
        summed = check != 0 and checksum(data, udp, end, pseudo(data, ip + 8, udp, size)) == 0xFFFF
        if length == size and said == size and summed:
            head[at - 48 + 4] = head[at - 48 + 5] = 0
            for i in (4, 5, 6, 7):
                head[at - 8 + i] = 0
            return IPV6_SUMMED
    return PLAIN_HEAD


@kernel
def _put_text(data: U8, at: int, end: int, words: I64, places: I32, state: I64, text: U8, t: int) -> int:
    """Bytes of new lines; words that are known as one byte."""
    mask = np.uint64(PLACES - 1)
    while at < end:
        stop, digit = at, False
        while stop < end and OF_WORDS[data[stop]]:
            digit = digit or 48 <= data[stop] <= 57
            stop += 1
        size = stop - at
        if digit and SHORTEST <= size <= LONGEST:
            place = hash_of(data, np.uint64(at), np.uint64(stop)) & mask
            found = -1
            while places[place] >= 0:
                k = int(places[place])
                if words[k, 1] == size and alike(data, int(words[k, 0]), at, size):
                    found = k
                    break
                place = (place + np.uint64(1)) & mask
            if found >= 0:
                text[t] = np.uint8(128 + found)
                t += 1
                at = stop
            elif state[3] < WORDS:
                places[place] = np.int32(state[3])
                words[state[3], 0], words[state[3], 1] = at, size
                state[3] += 1
        while at < stop:
            text[t] = data[at]
            t += 1
            at += 1
        if at < end and not OF_WORDS[data[at]]:
            if data[at] >= 128:
                text[t] = ESCAPE
                t += 1
            text[t] = data[at]
            t += 1
            at += 1
    return t


@kernel
def _pack_text(
    data: U8,
    start: int,
    end: int,
    kind: int,
    lines: I64,
    slots: I32,
    words: I64,
    places: I32,
    state: I64,
    moves: U8,
    m: int,
    text: U8,
    t: int,
) -> tuple[int, int]:
    """One text, line by line: lines that earlier texts have are referred to. `kind`: 1 a request, 2 a response; state:
    lines known, first line of the last request, of the last response, words known."""
    at = start
    expected = int(state[kind])
    if expected < 0:
        expected = int(state[3 - kind])
    before, hits = -2, 0
    mask = np.uint64(SLOTS - 1)
    while at < end:
        stop = newline(data, at, end)
        if stop == end:
            break
        stop += 1
        size = stop - at
        found = -1
        if expected >= 0 and lines[expected, 1] == size and alike(data, lines[expected, 0], at, size):
            found = expected
            hits += 1
            if hits == MOST_HITS:
                moves[m] = np.uint8(HIT + hits)
                m += 1
                hits = 0
        else:
            if hits:
                moves[m] = np.uint8(HIT + hits)
                m += 1
                hits = 0
            slot = hash_of(data, np.uint64(at), np.uint64(stop)) & mask
            while slots[slot] >= 0:
                k = slots[slot]
                if lines[k, 1] == size and alike(data, lines[k, 0], at, size):
                    found = int(k)
                    break
                slot = (slot + np.uint64(1)) & mask
            if found >= 0:
                if found < REFER_FAR - REFER:
                    moves[m] = np.uint8(REFER + found)
                    m += 1
                else:
                    moves[m] = REFER_FAR
                    m = put(moves, m + 1, np.uint64(found), 2)
            else:
                head = tail = 0
                if expected >= 0:
                    other, most = int(lines[expected, 0]), min(size, int(lines[expected, 1]))
                    while head < most and data[other + head] == data[at + head]:
                        head += 1
                    last = other + int(lines[expected, 1])
                    while tail < most - head and data[last - 1 - tail] == data[stop - 1 - tail]:
                        tail += 1
                if head + tail >= LEAST:
                    moves[m] = CHANGED
                    m = varint(moves, m + 1, head)
                    m = varint(moves, m, tail)
                    was = t
                    t = _put_text(data, at + head, stop - tail, words, places, state, text, t)
                    m = varint(moves, m, t - was)
                else:
                    moves[m] = LITERAL
                    m += 1
                    t = _put_text(data, at, stop, words, places, state, text, t)
                if state[0] < LINES:
                    found = int(state[0])
                    state[0] += 1
                    lines[found, 0], lines[found, 1], lines[found, 2] = at, size, -1
                    slots[slot] = found
        expected = follow(lines, state, kind, before, found)
        before = found
        at = stop
    if hits:
        moves[m] = np.uint8(HIT + hits)
        m += 1
    if at < end:
        moves[m] = TAIL
        was = t
        t = _put_text(data, at, end, words, places, state, text, t)
        m = varint(moves, m + 1, t - was)
    else:
        moves[m] = END
        m += 1
    return m, t


@kernel
def _answers(data: U8, at: int, end: int) -> bool:
    """It begins like a response."""
    return end - at > 4 and data[at] == 83 and data[at + 1] == 73 and data[at + 2] == 80 and data[at + 3] == 47


def room_to_pack() -> tuple[I64, I32, U8, I64, I64, I32, I64]:
    """What `pack` remembers of a row: lines, where they are by hash; heads (the last of them: the one at hand), and of
    each its size, kind and last identification; words, where they are by hash; how lines followed each other."""
    return (
        np.empty((LINES, 3), np.int64),
        np.empty(SLOTS, np.int32),
        np.zeros((HEADS + 1, LONGEST_HEAD), np.uint8),
        np.zeros((HEADS, 3), np.int64),
        np.empty((WORDS, 2), np.int64),
        np.empty(PLACES, np.int32),
        np.empty(4, np.int64),
    )


@kernel
def pack(
    data: U8,
    bounds: I64,
    known_lines: I64,
    steps: U64,
    columns: I64,
    frames: I64,
    payloads: I64,
    numbers: U8,
    moves: U8,
    text: U8,
    ends: I64,
    lines: I64,
    slots: I32,
    heads: U8,
    known: I64,
    words: I64,
    places: I32,
    state: I64,
) -> None:
    """Pack the frames bounds[k]:bounds[k+1] for each k. known_lines[k]: a line that is there from the start; steps: of
    ts, of seq, from ts to frame_ts; columns: part, original, payload_at, payload_size; known_lines, frames and
    payloads: (start, length) in `data`, length -1 for none. ends[k+1]: where numbers, moves and text of k end. The rest
    is `room_to_pack`."""
    n = m = t = 0
    for k in range(len(bounds) - 1):
        slots[:] = -1
        start, size = int(known_lines[k, 0]), int(known_lines[k, 1])
        lines[0, 0], lines[0, 1], lines[0, 2] = start, size, -1
        slots[hash_of(data, np.uint64(start), np.uint64(start + size)) & np.uint64(SLOTS - 1)] = 0
        state[0], state[1], state[2], state[3] = 1, -1, -1, 0
        places[:] = -1
        known[:] = 0
        new = 0
        for i in range(bounds[k], bounds[k + 1]):
            start, size = int(frames[i, 0]), int(frames[i, 1])
            part, original, place, length = columns[i]
            begin, more = int(payloads[i, 0]), int(payloads[i, 1])
            odd = NO_FRAME if size < 0 else 0
            odd |= WHEN if steps[i, 2] else 0
            odd |= ORIGINAL if original != max(size, 0) else 0
            odd |= PART if part else 0
            odd |= PAYLOAD if more >= 0 else 0
            kind, skip = NO_HEAD, 0
            if 0 < place <= LONGEST_HEAD and length >= 0 and place + length <= size and more < 0:
                kind, skip = head_of(data, start, start + size, int(place), heads[HEADS]), int(place)
            if place != skip or length != (size - skip if skip else 0):
                odd |= PLACE
            a, b = width(steps[i, 0]), width(steps[i, 1])
            moves[m] = np.uint8(a | b << 4)
            m += 1
            n = put(numbers, n, steps[i, 0], a)
            n = put(numbers, n, steps[i, 1], b)
            which = 0
            for j in range(HEADS):
                if skip and known[j, 0] == skip and known[j, 1] == kind and alike_rows(heads, j, HEADS, skip):
                    which = j + 1
                    break
            say = kind | which << 3 | (ODD if odd else 0)
            begins = begin if more >= 0 else start + skip
            answers = _answers(data, begins, begin + more if more >= 0 else start + size)
            say |= RESPONSE if answers else 0
            slot, number = which - 1, 0
            if skip and which == 0:
                slot, new = new, (new + 1) % HEADS
                known[slot, 0], known[slot, 1], known[slot, 2] = skip, kind, 0
                for j in range(skip):
                    heads[slot, j] = heads[HEADS, j]
            numbered = kind in (IPV4_SUMMED, IPV4_UNSUMMED)
            if numbered:
                number = (int(data[start + skip - 24]) << 8) | int(data[start + skip - 23])
                if known[slot, 2] == number:
                    say |= SAME_NUMBER
            moves[m] = np.uint8(say)
            m += 1
            if odd:
                moves[m] = np.uint8(odd)
                m += 1
            if skip and which == 0:
                moves[m] = np.uint8(skip)
                for j in range(skip):
                    moves[m + 1 + j] = heads[slot, j]
                m += 1 + skip
            if numbered and not say & SAME_NUMBER:
                n = put(numbers, n, np.uint64(number), 2)
                known[slot, 2] = number
            if odd & WHEN:
                n = put(numbers, n, steps[i, 2], 8)
            if odd & ORIGINAL:
                n = put(numbers, n, np.uint64(original & WORD), 4)
            if odd & PART:
                n = put(numbers, n, np.uint64(part & 0xFFFF), 2)
            if odd & PLACE:
                n = put(numbers, n, np.uint64(place & WORD), 4)
                n = put(numbers, n, np.uint64(length & WORD), 4)
            is_of = 2 if answers else 1
            if more >= 0:
                end = begin + more
                m, t = _pack_text(data, begin, end, is_of, lines, slots, words, places, state, moves, m, text, t)
            if size >= 0:
                begin, end = start + skip, start + size
                m, t = _pack_text(data, begin, end, is_of, lines, slots, words, places, state, moves, m, text, t)
        ends[k + 1, 0], ends[k + 1, 1], ends[k + 1, 2] = n, m, t
