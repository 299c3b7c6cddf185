"""The part of the NAT tests that looks into bodies: the session description, also in a multipart body, and what its
addresses say. `capture.natscan` asks; what is not in a usual form is ODD, and judged elsewhere.
"""

from __future__ import annotations

import numpy as np

from capture.headernames import word
from capture.hosts import NAME, ODD, dotted, find, host_of, odd_bytes, private
from capture.jit import kernel
from capture.scan import U8
from capture.words import newline

W_BOUNDARY, W_APPLICATION_SDP = word("boundary="), word("application/sdp")


@kernel
def part_of(data: U8, at: int, end: int, kind: int, kind_end: int) -> tuple[int, int]:
    """Where the session description is in a multipart body (RFC 5621); (0, 0) where there is none, (-1, 0): odd."""
    mark = find(data, kind, kind_end, W_BOUNDARY)
    if mark < 0:
        return 0, 0
    mark += len(W_BOUNDARY)
    if mark < kind_end and data[mark] == 34:
        mark += 1
    stop = mark
    while stop < kind_end and data[stop] != 34 and data[stop] != 59:
        stop += 1
    if stop == mark or odd_bytes(data, mark, stop):
        return -1, 0
    size = stop - mark
    # What stands before the first border is looked at like a part; empty lines before a part's headers do not count.
    begun, inside, wanted, first = False, True, False, -1
    pos = at
    while pos < end:
        eol = newline(data, pos, end)
        line = eol - 1 if eol > pos and data[eol - 1] == 13 else eol
        border = line - pos >= size + 2 and data[pos] == 45 and data[pos + 1] == 45
        for k in range(size if border else 0):
            if data[pos + 2 + k] != data[mark + k]:
                border = False
                break
        if border:
            if first >= 0:
                return first, pos
            begun, inside, wanted = False, True, False
        elif inside:
            if line == pos:
                inside = not begun
                first = eol + 1 if begun and wanted else -1
                pos = eol + 1
                continue
            begun = True
            if find(data, pos, line, W_APPLICATION_SDP) >= 0:
                wanted = True
        pos = eol + 1
    return (first, end) if first >= 0 else (0, 0)


@kernel
def address_word(data: U8, at: int, line: int) -> tuple[int, int, int]:
    """The address of the line 'c=IN IP4 address' at data[at:line], and whether it is of IPv4 (1) or not (0), or ODD; a
    line with fewer words has the address (at, at)."""
    i, word, first = at + 2, 0, at
    four = False
    while i < line:
        while i < line and data[i] == 32:
            i += 1
        if i == line:
            break
        first = i
        while i < line and data[i] != 32:
            if data[i] < 33 or data[i] > 126:
                return at, at, ODD
            i += 1
        word += 1
        if word == 2:
            four = i - first == 3 and data[first] == 73 and data[first + 1] == 80 and data[first + 2] == 52
        if word == 3:
            return first, i, 1 if four else 0
    return at, at, 0


@kernel
def sdp_bits(data: U8, at: int, end: int, source: tuple[np.uint64, np.uint64]) -> int:
    """The bits that a session description gives."""
    if end - at < 3 or data[at] != 118 or data[at + 1] != 61:
        return ODD
    bits = 0
    session_first, session_end, session_four = at, at, 0
    any_c, in_media, own, done, has_session = False, False, False, False, False
    pos = at
    while pos < end:
        eol = newline(data, pos, end)
        line = eol
        if line > pos and data[line - 1] == 13:
            line -= 1
        if pos == at and line - pos > 4:
            return ODD  # lines that end in something else
        is_c = line - pos >= 2 and data[pos] == 99 and data[pos + 1] == 61
        is_m = line - pos >= 2 and data[pos] == 109 and data[pos + 1] == 61
        if is_c:
            first, last, four = address_word(data, pos, line)
            if four == ODD:
                return ODD
            held = last - first == 7 and dotted(data, first, last) == 0
            if not any_c:
                any_c = True
                number = dotted(data, first, last) if four and not held else -1
                if number >= 0 and private(number, False):
                    bits |= 8 << 9
            if not in_media:
                if not has_session:
                    has_session = True
                    session_first, session_end, session_four = first, last, four
                    cut = first
                    while cut < last and data[cut] != 47:
                        cut += 1
                    kind, hi, lo = host_of(data, first, cut)
                    if kind == ODD:
                        return ODD
                    if kind != NAME and (hi != source[0] or lo != source[1]):
                        bits |= 256
            elif not own:
                own = True
                if not done:
                    number = dotted(data, first, last) if four and not held else -1
                    if number >= 0 and private(number, True):
                        bits |= 8
                    done = not four or held or bool(bits & 8)
        elif is_m:
            if in_media and not own and not done:
                number = dotted(data, session_first, session_end) if session_four else -1
                if number > 0 and private(number, True):
                    bits |= 8
                done = not session_four or number == 0 or bool(bits & 8)
            in_media, own = True, False
        pos = eol + 1
    if in_media and not own and not done:
        number = dotted(data, session_first, session_end) if session_four else -1
        if number > 0 and private(number, True):
            bits |= 8
    return bits
