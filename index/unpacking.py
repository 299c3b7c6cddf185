"""The way back from index.packing: a packed row becomes the frames of a call again, byte for byte.

It owns that kernel. A row that does not follow the format is damaged: it says so, and reads and writes nothing beyond
the bounds of what it was given.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from capture.jit import kernel
from capture.words import copy_bytes
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
    NO_FRAME,
    NO_HEAD,
    ODD,
    OF_WORDS,
    ORIGINAL,
    PART,
    PAYLOAD,
    PLACE,
    REFER,
    REFER_FAR,
    RESPONSE,
    SAME_NUMBER,
    SHORTEST,
    TAIL,
    WHEN,
    WORDS,
    checksum,
    follow,
    pseudo,
)

U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
DAMAGED, TOO_SMALL = -1, -2


@kernel
def take(data: U8, at: int, size: int) -> np.uint64:
    """A number of so many bytes, the lowest first."""
    out = np.uint64(0)
    for i in range(size):
        out |= np.uint64(data[at + i]) << np.uint64(8 * i)
    return out


@kernel
def _int(data: U8, at: int, size: int) -> int:
    """The same as a plain number; without this step the compiler would make a float of signed and unsigned."""
    return int(np.int64(take(data, at, size)))


@kernel
def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


@kernel
def _varint(data: U8, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 28:
        value |= (int(data[at]) & 127) << shift
        at += 1
        if data[at - 1] < 128:
            return value, at
        shift += 7
    return -1, end


@kernel
def _take_text(
    text: U8, t: int, t_end: int, one_line: bool, out: U8, o: int, words: I64, state: I64
) -> tuple[int, int]:
    """Bytes of a new line, or all up to t_end; returns where text and out go on, the first one DAMAGED or TOO_SMALL."""
    room = len(out)
    begin, digit = o, False
    while t < t_end:
        byte = int(text[t])
        t += 1
        if byte < 128 and OF_WORDS[byte]:
            if o >= room:
                return TOO_SMALL, o
            out[o] = np.uint8(byte)
            o += 1
            digit = digit or 48 <= byte <= 57
            continue
        if digit and SHORTEST <= o - begin <= LONGEST and state[3] < WORDS:
            words[state[3], 0], words[state[3], 1] = begin, o - begin
            state[3] += 1
        if 128 <= byte < ESCAPE:
            if byte - 128 >= state[3]:
                return DAMAGED, o
            start, size = int(words[byte - 128, 0]), int(words[byte - 128, 1])
            if o + size > room:
                return TOO_SMALL, o
            for i in range(size):
                out[o + i] = out[start + i]
            o += size
        else:
            if byte == ESCAPE:
                if t >= t_end:
                    return DAMAGED, o
                byte = int(text[t])
                t += 1
            if o >= room:
                return TOO_SMALL, o
            out[o] = np.uint8(byte)
            o += 1
            if one_line and byte == 10:
                return t, o
        begin, digit = o, False
    if one_line:
        return DAMAGED, o
    if digit and SHORTEST <= o - begin <= LONGEST and state[3] < WORDS:
        words[state[3], 0], words[state[3], 1] = begin, o - begin
        state[3] += 1
    return t, o


@kernel
def _unpack_text(
    moves: U8,
    m: int,
    m_end: int,
    text: U8,
    t: int,
    t_end: int,
    kind: int,
    lines: I64,
    words: I64,
    state: I64,
    out: U8,
    o: int,
) -> tuple[int, int, int]:
    """One text to out[o:]; returns where moves, text and out go on, the first DAMAGED or TOO_SMALL if they do not."""
    expected = int(state[kind])
    if expected < 0:
        expected = int(state[3 - kind])
    before = -2
    room = len(out)
    while m < m_end:
        move = int(moves[m])
        m += 1
        if move == END:
            return m, t, o
        if move == TAIL:
            size, m = _varint(moves, m, m_end)
            if size < 0 or t + size > t_end:
                return DAMAGED, t, o
            done, o = _take_text(text, t, t + size, False, out, o, words, state)
            return m if done >= 0 else done, t + size, o
        if HIT < move < REFER:
            for _ in range(move - HIT):
                if expected < 0:
                    return DAMAGED, t, o
                start, size = int(lines[expected, 0]), int(lines[expected, 1])
                if o + size > room:
                    return TOO_SMALL, t, o
                for i in range(size):
                    out[o + i] = out[start + i]
                o += size
                found = expected
                expected = follow(lines, state, kind, before, found)
                before = found
            continue
        if move >= REFER:
            found = move - REFER
            if move == REFER_FAR:
                if m + 2 > m_end:
                    return DAMAGED, t, o
                found = _int(moves, m, 2)
                m += 2
            if found >= state[0]:
                return DAMAGED, t, o
            start, size = int(lines[found, 0]), int(lines[found, 1])
            if o + size > room:
                return TOO_SMALL, t, o
            for i in range(size):
                out[o + i] = out[start + i]
            o += size
        else:
            begin = o
            head = tail = 0
            if move == CHANGED:
                head, m = _varint(moves, m, m_end)
                tail, m = _varint(moves, m, m_end)
                size, m = _varint(moves, m, m_end)
                if expected < 0 or head < 0 or tail < 0 or size < 0 or head + tail > lines[expected, 1]:
                    return DAMAGED, t, o
            else:
                size = t_end - t
            if t + size > t_end:
                return DAMAGED, t, o
            if o + head + tail > room:
                return TOO_SMALL, t, o
            if head:
                start = int(lines[expected, 0])
                for i in range(head):
                    out[o + i] = out[start + i]
            t, o = _take_text(text, t, t + size, move == LITERAL, out, o + head, words, state)
            if t < 0:
                return t, 0, o
            if o + tail > room:
                return TOO_SMALL, t, o
            if tail:
                start = int(lines[expected, 0]) + int(lines[expected, 1]) - tail
                for i in range(tail):
                    out[o + i] = out[start + i]
            o += tail
            found = -1
            if state[0] < LINES:
                found = int(state[0])
                state[0] += 1
                lines[found, 0], lines[found, 1], lines[found, 2] = begin, o - begin, -1
        expected = follow(lines, state, kind, before, found)
        before = found
    return DAMAGED, t, o


@kernel
def _finish(out: U8, at: int, end: int, skip: int, kind: int, number: int) -> None:
    """Put into the head what was left out because the rest tells it."""
    udp = at + skip - 8
    size = end - udp
    out[udp + 4], out[udp + 5] = np.uint8(size >> 8), np.uint8(size & 255)
    if kind == IPV6_SUMMED:
        out[udp - 36], out[udp - 35] = np.uint8(size >> 8), np.uint8(size & 255)
        addresses = udp - 32
    else:
        ip = udp - 20
        out[ip + 2], out[ip + 3] = np.uint8((size + 20) >> 8), np.uint8((size + 20) & 255)
        out[ip + 4], out[ip + 5] = np.uint8(number >> 8), np.uint8(number & 255)
        check = 0xFFFF - checksum(out, ip, udp, 0)
        out[ip + 10], out[ip + 11] = np.uint8(check >> 8), np.uint8(check & 255)
        addresses = ip + 12
    if kind != IPV4_UNSUMMED:
        check = 0xFFFF - checksum(out, udp, end, pseudo(out, addresses, udp, size))
        if check == 0:
            check = 0xFFFF  # zero would say that there is none
        out[udp + 6], out[udp + 7] = np.uint8(check >> 8), np.uint8(check & 255)


def room_to_unpack() -> tuple[I64, U8, I64, I64, I64]:
    """What `unpack` remembers of a row: see `room_to_pack`, without what is found by hash."""
    return (
        np.empty((LINES, 3), np.int64),
        np.zeros((HEADS, LONGEST_HEAD), np.uint8),
        np.zeros((HEADS, 3), np.int64),
        np.empty((WORDS, 2), np.int64),
        np.empty(4, np.int64),
    )


@kernel
def unpack(
    counts: I64,
    firsts: U64,
    known_lines: U8,
    line_ends: I64,
    numbers: U8,
    moves: U8,
    text: U8,
    ends: I64,
    stamps: U64,
    columns: I64,
    frames: I64,
    payloads: I64,
    out: U8,
    lines: I64,
    heads: U8,
    known: I64,
    words: I64,
    state: I64,
) -> int:
    """Unpack counts[k] frames of each row k; see index.packing.pack for the rest. firsts: ts and seq to begin with;
    known_lines: one for each row, one behind the other; stamps: ts, seq, frame_ts of each frame; frames and payloads:
    (start, length) in `out`, length -1 for none; then `room_to_unpack`. Returns the bytes of `out`, DAMAGED, or
    TOO_SMALL."""
    o = i = 0
    for k in range(len(counts)):
        begin, size = int(line_ends[k]), int(line_ends[k + 1] - line_ends[k])
        if o + size > len(out):
            return TOO_SMALL
        copy_bytes(known_lines, np.uint64(begin), out, np.uint64(o), np.uint64(size))
        lines[0, 0], lines[0, 1], lines[0, 2] = o, size, -1
        o += size
        state[0], state[1], state[2], state[3] = 1, -1, -1, 0
        known[:] = 0
        new = 0
        n, m, t = int(ends[k, 0]), int(ends[k, 1]), int(ends[k, 2])
        n_end, m_end, t_end = int(ends[k + 1, 0]), int(ends[k + 1, 1]), int(ends[k + 1, 2])
        ts, seq = firsts[k, 0], firsts[k, 1]
        for _ in range(counts[k]):
            if m + 2 > m_end:
                return DAMAGED
            a, b = int(moves[m]) & 15, int(moves[m]) >> 4
            say = int(moves[m + 1])
            m += 2
            if a > 8 or b > 8 or n + a + b > n_end:
                return DAMAGED
            ts = ts + take(numbers, n, a)
            seq = seq + take(numbers, n + a, b)
            n += a + b
            odd = 0
            if say & ODD:
                if m >= m_end:
                    return DAMAGED
                odd = int(moves[m])
                m += 1
            kind, slot = say & 7, (say >> 3 & 3) - 1
            skip = number = 0
            if kind > IPV6_SUMMED:
                return DAMAGED
            if kind != NO_HEAD:
                if slot < 0:
                    slot, new = new, (new + 1) % HEADS
                    if m >= m_end or m + 1 + int(moves[m]) > m_end:
                        return DAMAGED
                    skip = int(moves[m])
                    known[slot, 0], known[slot, 1], known[slot, 2] = skip, kind, 0
                    for j in range(skip):
                        heads[slot, j] = moves[m + 1 + j]
                    m += 1 + skip
                skip = int(known[slot, 0])
                if known[slot, 1] != kind or skip < 1 or odd & (NO_FRAME | PAYLOAD):
                    return DAMAGED
                if (kind in (IPV4_SUMMED, IPV4_UNSUMMED) and skip < 28) or (kind == IPV6_SUMMED and skip < 48):
                    return DAMAGED
                if kind in (IPV4_SUMMED, IPV4_UNSUMMED):
                    if not say & SAME_NUMBER:
                        if n + 2 > n_end:
                            return DAMAGED
                        known[slot, 2] = _int(numbers, n, 2)
                        n += 2
                    number = int(known[slot, 2])
            need = (8 if odd & WHEN else 0) + (4 if odd & ORIGINAL else 0) + (2 if odd & PART else 0)
            if n + need + (8 if odd & PLACE else 0) > n_end:
                return DAMAGED
            stamps[i, 0], stamps[i, 1], stamps[i, 2] = ts, seq, ts
            if odd & WHEN:
                stamps[i, 2] = ts + take(numbers, n, 8)
                n += 8
            original, part, place, length = -1, 0, skip, -1
            if odd & ORIGINAL:
                original = _signed(_int(numbers, n, 4), 32)
                n += 4
            if odd & PART:
                part = _signed(_int(numbers, n, 2), 16)
                n += 2
            if odd & PLACE:
                place = _signed(_int(numbers, n, 4), 32)
                length = _signed(_int(numbers, n + 4, 4), 32)
                n += 8
            is_of = 2 if say & RESPONSE else 1
            payloads[i, 0], payloads[i, 1] = o, -1
            if odd & PAYLOAD:
                m, t, end = _unpack_text(moves, m, m_end, text, t, t_end, is_of, lines, words, state, out, o)
                if m < 0:
                    return m
                payloads[i, 1] = end - o
                o = end
            frames[i, 0], frames[i, 1] = o, -1
            if not odd & NO_FRAME:
                if o + skip > len(out):
                    return TOO_SMALL
                for j in range(skip):
                    out[o + j] = heads[slot, j]
                m, t, end = _unpack_text(moves, m, m_end, text, t, t_end, is_of, lines, words, state, out, o + skip)
                if m < 0:
                    return m
                if kind > 1:
                    _finish(out, o, end, skip, kind, number)
                frames[i, 1] = end - o
                o = end
            size = max(int(frames[i, 1]), 0)
            columns[i, 0] = part
            columns[i, 1] = original if odd & ORIGINAL else size
            columns[i, 2] = place
            columns[i, 3] = length if odd & PLACE else (size - skip if skip else 0)
            i += 1
        if n != n_end or m != m_end or t != t_end:
            return DAMAGED
    return o
