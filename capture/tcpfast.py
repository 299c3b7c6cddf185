"""The fast path of TCP: segments that continue a stream in order and hold whole SIP messages, nothing else.

It owns a table of the streams that stand between two messages. Whatever needs judgement (a message over several
segments, a hole, a connection that opens or closes, a body that could be a start line) is left to `tcpstream`, which
says afterwards which streams stand between messages again. Both give the same messages.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from capture.decode import CAREFUL, TAKEN, TCP, be16, starts_sip
from capture.headernames import lower
from capture.jit import kernel
from capture.words import newline

U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
U64 = NDArray[np.uint64]

FREE, READY, ELSEWHERE = 0, 1, 2
"""States of a slot: never used; the stream stands between two messages; the careful path has it."""
LONGEST = 200_000
SHORTEST = 12
"""No whole message has fewer bytes: "SIP/2.0" and a line end, "l:0" and a line end (4), a blank line do not."""
_MAPPED = 0xFFFF << 32


@kernel
def _token(c: int) -> bool:
    """Whether a byte may stand in a header's name (RFC 3261 section 25.1)."""
    return (
        (97 <= c <= 122)
        or (65 <= c <= 90)
        or (48 <= c <= 57)
        or c == 45
        or c == 46
        or c == 33
        or c == 37
        or c == 42
        or c == 95
        or c == 43
        or c == 96
        or c == 39
        or c == 126
    )


@kernel
def _digit(c: int) -> bool:
    return 48 <= c <= 57


@kernel
def whole_message(data: U8, at: int, end: int) -> int:
    """Where the message that begins at `at` ends, if that is beyond doubt and all of it is in data[at:end]; else -1."""
    if not starts_sip(data, at, end):
        return -1
    eol = newline(data, at, end)
    if eol >= end or eol - at > 8000:
        return -1
    line = eol - 1 if data[eol - 1] == 13 else eol
    for i in range(at, line):
        if data[i] == 13:
            return -1
    v = at
    if data[at] != 83 or data[at + 3] != 47:  # no 'SIP/', so a request: its line ends in ' SIP/2.0'
        v = line - 7
        if v <= at or data[v - 1] != 32 or data[v] != 83 or data[v + 1] != 73 or data[v + 2] != 80 or data[v + 3] != 47:
            return -1
        gap = at
        while data[gap] != 32:  # behind the method; `starts_sip` has seen one
            gap += 1
        if v - 1 < gap + 2:
            return -1  # no Request-URI
    elif (
        line - at < 11
        or data[at + 7] != 32
        or not (_digit(data[at + 8]) and _digit(data[at + 9]) and _digit(data[at + 10]))
    ):
        return -1
    if not _digit(data[v + 4]) or data[v + 5] != 46 or not _digit(data[v + 6]):
        return -1
    size = -1
    pos = eol + 1
    while True:
        if pos >= end:
            return -1
        eol = newline(data, pos, end)
        if eol >= end:
            return -1
        line = eol - 1 if eol > pos and data[eol - 1] == 13 else eol
        if line == pos:
            break
        if data[pos] == 32 or data[pos] == 9:
            pos = eol + 1
            continue
        # A name with its colon right behind it: no line of this header block can be taken for a start line.
        colon = pos
        while colon < line and _token(data[colon]):
            colon += 1
        if colon == pos or colon >= line or data[colon] != 58:
            return -1
        name = colon - pos
        if (name == 1 and lower(data[pos]) == 108) or (
            name == 14 and lower(data[pos]) == 99 and lower(data[pos + 8]) == 108 and data[pos + 7] == 45
        ):
            if size >= 0 or (eol + 1 < end and (data[eol + 1] == 32 or data[eol + 1] == 9)):
                return -1
            size = 0
            v = colon + 1
            while v < line and (data[v] == 32 or data[v] == 9):
                v += 1
            if v == line or line - v > 6:
                return -1
            while v < line:
                if not _digit(data[v]):
                    return -1
                size = size * 10 + int(data[v]) - 48
                v += 1
        pos = eol + 1
    stop = eol + 1 + size
    if size < 0 or size > LONGEST or stop > end:
        return -1
    # A body without a line feed at its end might run into the next start line.
    if size > 0 and data[stop - 1] != 10:
        return -1
    return stop


@kernel
def _slot(
    source_hi: np.uint64,
    source_lo: np.uint64,
    target_hi: np.uint64,
    target_lo: np.uint64,
    ports: np.uint64,
    keys: U64,
    state: U8,
) -> int:
    """The stream's slot, or the free one where it belongs."""
    mixed = (source_hi ^ (source_lo * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed ^= (target_hi ^ (target_lo * np.uint64(0x9E3779B97F4A7C15))) + ports * np.uint64(0xD6E8FEB86659FD93)
    mixed ^= mixed >> np.uint64(31)
    mask = np.uint64(len(state) - 1)
    at = mixed & mask
    while state[at] != FREE and not (
        keys[at, 1] == source_lo
        and keys[at, 3] == target_lo
        and keys[at, 4] == ports
        and keys[at, 0] == source_hi
        and keys[at, 2] == target_hi
    ):
        at = (at + np.uint64(1)) & mask
    return np.int64(at)  # type: ignore[return-value]


@kernel
def take_segments(
    data: U8,
    header: I64,
    length: I32,
    src_hi: U64,
    src_lo: U64,
    dst_hi: U64,
    dst_lo: U64,
    sport: I32,
    dport: I32,
    kind: U8,
    keys: U64,
    state: U8,
    following: I64,
    taken: I64,
    frame: I64,
    start: I64,
    size: I32,
) -> int:
    """Take what is simple of the frames of kind TCP, whose segments are data[header:header + length]; the others become
    CAREFUL. Fills in their ports and (frame, start, size) of the messages; returns how many there are, -1: no room."""
    n = 0
    for f in range(len(kind)):
        if kind[f] != TCP:
            continue
        kind[f] = CAREFUL
        at = header[f]
        end = at + length[f]
        if end - at < 20:
            continue
        body = at + (data[at + 12] >> 4) * 4
        if body < at + 20 or body > end:
            continue
        sport[f], dport[f] = be16(data, at), be16(data, at + 2)
        ports = np.uint64(sport[f]) << np.uint64(16) | np.uint64(dport[f])
        slot = _slot(src_hi[f], src_lo[f], dst_hi[f], dst_lo[f], ports, keys, state)
        if state[slot] != READY:
            continue
        if data[at + 13] & 7 == 0:
            if body == end:
                kind[f] = TAKEN  # an acknowledgement
                continue
            seq = np.int64(be16(data, at + 4)) << 16 | np.int64(be16(data, at + 6))
            before = n
            pos = int(body) if seq == following[slot] else -1
            while 0 <= pos < end:
                stop = whole_message(data, pos, end)
                if stop >= 0:
                    if n >= len(frame):
                        return -1
                    frame[n], start[n], size[n] = f, pos, stop - pos
                    n += 1
                pos = stop
            if pos == end:
                kind[f] = TAKEN
                following[slot] = (following[slot] + end - body) & 0xFFFFFFFF
                taken[slot] += end - body
                continue
            n = before
        state[slot] = ELSEWHERE
    return n


class ReadyStreams:
    """The streams that stand between two messages, by the key of `tcpstream.Segment`."""

    def __init__(self, room: int = 1 << 10) -> None:
        self._slots: dict[bytes, int] = {}
        self._keys = np.zeros((room, 5), np.uint64)
        self._state = np.zeros(room, np.uint8)
        self._following = np.zeros(room, np.int64)
        self._taken = np.zeros(room, np.int64)
        self._key_of: dict[int, bytes] = {}

    def take(
        self,
        data: U8,
        header: I64,
        length: I32,
        src: tuple[U64, U64],
        dst: tuple[U64, U64],
        sport: I32,
        dport: I32,
        kind: U8,
    ) -> tuple[I64, I64, I32]:
        """Run the kernel over a block: (frame, start, size) of the messages found."""
        room = len(data) // SHORTEST + 1
        frame, start, size = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int32)
        n = take_segments(
            data, header, length, *src, *dst, sport, dport, kind, self._keys, self._state, self._following, self._taken,
            frame, start, size,
        )  # fmt: skip
        assert n >= 0, "a message is shorter than any can be"
        return frame[:n], start[:n], size[:n]

    def advanced(self) -> Iterator[tuple[bytes, int]]:
        """Streams that went on in the last block, and by how many bytes."""
        for slot in np.flatnonzero(self._taken).tolist():
            yield self._key_of[slot], int(self._taken[slot])
        self._taken[:] = 0

    def set(self, key: bytes, following: int | None) -> None:
        """The stream stands between two messages and goes on at this sequence number; None: it does not."""
        slot = self._slots.get(key)
        if following is None:
            if slot is not None:
                self._state[slot] = ELSEWHERE
            return
        if slot is None:
            if 2 * len(self._slots) >= len(self._state):
                self._renew()
            slot = self._enter(key)
        self._state[slot], self._following[slot] = READY, following

    def _enter(self, key: bytes) -> int:
        half = (len(key) - 4) // 2
        words: list[int] = []
        for packed in (key[:half], key[half : 2 * half]):
            number = int.from_bytes(packed, "big")
            words += [0, _MAPPED | number] if half == 4 else [number >> 64, number & (1 << 64) - 1]
        row = np.array([*words, int.from_bytes(key[-4:], "big")], np.uint64)
        slot = int(_slot(row[0], row[1], row[2], row[3], row[4], self._keys, self._state))
        self._keys[slot], self._state[slot] = row, ELSEWHERE
        self._slots[key], self._key_of[slot] = slot, key
        return slot

    def _renew(self) -> None:
        """Forget those that are elsewhere; grow when that is not enough."""
        ready = {key: int(self._following[s]) for key, s in self._slots.items() if self._state[s] == READY}
        room = len(self._state)
        while 4 * len(ready) >= room:
            room *= 2
        self.__init__(room)  # type: ignore[misc]
        for key, following in ready.items():
            self.set(key, following)
