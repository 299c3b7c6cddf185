"""The fast path's second kernel: where the interesting pieces of each SIP message are.

One pass over the header block of each message (RFC 3261 section 7.3, compact forms of section 20). It yields
(start, length) slices into the bytes it was given, never copies; `index.columns` gathers them.
Whatever needs judgement (parsing for display, SDP, rules) is done elsewhere, on demand.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from capture.jit import kernel
from capture.words import newline

U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]

SLICES = ("method", "reason", "call_id", "from_user", "to_user", "ruri_user", "user_agent", "body")
"""Names of the slice columns, in the order of the kernel's first axis."""
METHOD, REASON, CALL_ID, FROM_USER, TO_USER, RURI_USER, USER_AGENT, BODY = range(8)

NONE, H_CALL_ID, H_FROM, H_TO, H_CSEQ, H_LENGTH, H_AGENT, H_TYPE = range(8)


@kernel
def lower(c: int) -> int:
    """ASCII lower case of one byte."""
    return c + 32 if 65 <= c <= 90 else c


@kernel
def same(data: U8, at: int, length: int, word: U8) -> bool:
    """Whether data[at:at+length] is `word` (given in lower case), ignoring case."""
    if length != len(word):
        return False
    for i in range(length):  # noqa: SIM110 - kernels know no generators
        if lower(int(data[at + i])) != word[i]:
            return False
    return True


def _word(text: str) -> U8:
    return np.frombuffer(text.encode(), np.uint8).copy()


W_CALL_ID, W_FROM, W_TO, W_CSEQ = _word("call-id"), _word("from"), _word("to"), _word("cseq")
W_LENGTH, W_AGENT, W_SERVER, W_TYPE = (
    _word("content-length"),
    _word("user-agent"),
    _word("server"),
    _word("content-type"),
)


@kernel
def header_kind(data: U8, at: int, length: int) -> int:
    """Which of the headers that matter here is named data[at:at+length]."""
    if length == 1:
        c = lower(int(data[at]))
        if c == 105:
            return H_CALL_ID
        if c == 102:
            return H_FROM
        if c == 116:
            return H_TO
        if c == 108:
            return H_LENGTH
        if c == 99:
            return H_TYPE
        return NONE
    if length == 2:
        return H_TO if same(data, at, 2, W_TO) else NONE
    if length == 4:
        if same(data, at, 4, W_FROM):
            return H_FROM
        return H_CSEQ if same(data, at, 4, W_CSEQ) else NONE
    if length == 6:
        return H_AGENT if same(data, at, 6, W_SERVER) else NONE
    if length == 7:
        return H_CALL_ID if same(data, at, 7, W_CALL_ID) else NONE
    if length == 10:
        return H_AGENT if same(data, at, 10, W_AGENT) else NONE
    if length == 12:
        return H_TYPE if same(data, at, 12, W_TYPE) else NONE
    if length == 14:
        return H_LENGTH if same(data, at, 14, W_LENGTH) else NONE
    return NONE


@kernel
def user_of(data: U8, at: int, end: int, bare: bool) -> tuple[int, int]:
    """The user part of the first URI in data[at:end] ('sip:user@host', 'tel:+44…'): (start, length).

    A display name in quotes is skipped, so that '"sip:x@y" <sip:z@w>' gives z."""
    i = at
    while i < end and (data[i] == 32 or data[i] == 9):
        i += 1
    quoted = False
    left = -1
    j = i
    while j < end:
        c = data[j]
        if quoted:
            if c == 92:
                j += 1
            elif c == 34:
                quoted = False
        elif c == 34:
            quoted = True
        elif c == 60:
            left = j + 1
            break
        j += 1
    start = left if left >= 0 else i
    stop = start
    while stop < end and data[stop] != 62 and not (bare and left < 0 and data[stop] == 59) and data[stop] != 32:
        stop += 1
    colon = start
    while colon < stop and data[colon] != 58:
        colon += 1
    if colon >= stop:
        return start, 0
    tel = colon - start == 3 and lower(int(data[start])) == 116
    at_sign = -1
    k = colon + 1
    while k < stop:
        if data[k] == 64:
            at_sign = k
            break
        k += 1
    if at_sign < 0:
        if not tel:
            return colon + 1, 0
        at_sign = stop
    first = colon + 1
    last = first
    # A password or user parameters are not the number.
    while last < at_sign and data[last] != 59 and data[last] != 58:
        last += 1
    return first, last - first


@kernel
def has_tag(data: U8, at: int, end: int) -> bool:
    """Whether the name-addr in data[at:end] carries ';tag=' outside of <> and quotes."""
    quoted = False
    depth = 0
    i = at
    while i < end:
        c = data[i]
        if quoted:
            if c == 92:
                i += 1
            elif c == 34:
                quoted = False
        elif c == 34:
            quoted = True
        elif c == 60:
            depth = 1
        elif c == 62:
            depth = 0
        elif c == 59 and depth == 0:
            j = i + 1
            while j < end and (data[j] == 32 or data[j] == 9 or data[j] == 13 or data[j] == 10):
                j += 1
            e = j + 3
            while e < end and (data[e] == 32 or data[e] == 9 or data[e] == 13 or data[e] == 10):
                e += 1
            if (
                end - j > 4
                and e < end
                and data[e] == 61
                and lower(int(data[j])) == 116
                and lower(int(data[j + 1])) == 97
                and lower(int(data[j + 2])) == 103
            ):
                return True
        i += 1
    return False


@kernel
def scan_messages(
    data: U8, start: I64, length: I32, slices: I64, code: I32, cseq: I64, in_dialog: U8, flags: I32
) -> None:
    """Fill slices[k, i] = (start, length) for SLICES[k] of each message i, its status code (0: request), CSeq
    number (-1: none), whether the To header has a tag, and the capture flags that can be seen here."""
    for i in range(len(start)):
        at = start[i]
        end = at + length[i]
        for k in range(8):
            slices[k, i, 0] = at
            slices[k, i, 1] = 0
        code[i] = 0
        cseq[i] = -1
        in_dialog[i] = 0
        # --- start line
        eol = newline(data, at, end)
        line = eol
        if line > at and data[line - 1] == 13:
            line -= 1
        response = data[at] == 83 and end - at >= 8 and data[at + 1] == 73 and data[at + 2] == 80 and data[at + 3] == 47
        space = at
        while space < line and data[space] != 32:
            space += 1
        if response:
            p = space
            while p < line and data[p] == 32:
                p += 1
            number = 0
            digits = 0
            while p < line and 48 <= data[p] <= 57 and digits < 6:
                number = number * 10 + int(data[p]) - 48
                digits += 1
                p += 1
            code[i] = number if number <= 32767 else 32767
            while p < line and data[p] == 32:
                p += 1
            slices[1, i, 0] = p
            slices[1, i, 1] = line - p
        else:
            slices[0, i, 0] = at
            slices[0, i, 1] = space - at
            first, size = user_of(data, min(space + 1, line), line, False)
            slices[5, i, 0] = first
            slices[5, i, 1] = size
        # --- headers
        pos = eol + 1
        claimed = -1
        seen_call_id = 0
        blank = False
        while pos < end:
            eol = newline(data, pos, end)
            line = eol
            if line > pos and data[line - 1] == 13:
                line -= 1
            if line == pos:
                blank = eol < end
                pos = eol + 1
                break
            c0 = data[pos]
            # Only these first letters can begin a header of interest: c f i l s t u (either case).
            l0 = lower(int(c0))
            if not (l0 == 99 or l0 == 102 or l0 == 105 or l0 == 108 or l0 == 115 or l0 == 116 or l0 == 117):
                pos = eol + 1
                continue
            colon = pos
            stop = min(line, pos + 40)
            while colon < stop and data[colon] != 58:
                colon += 1
            if colon >= stop:
                pos = eol + 1
                continue
            name_end = colon
            while name_end > pos and (data[name_end - 1] == 32 or data[name_end - 1] == 9):
                name_end -= 1
            kind = header_kind(data, pos, name_end - pos)
            if kind == NONE:
                pos = eol + 1
                continue
            # A folded value goes on in the next lines (RFC 3261 section 7.3.1).
            while eol + 1 < end and (data[eol + 1] == 32 or data[eol + 1] == 9):
                eol = newline(data, eol + 1, end)
                line = eol
                if line > pos and data[line - 1] == 13:
                    line -= 1
            v = colon + 1
            while v < line and (data[v] == 32 or data[v] == 9 or data[v] == 13 or data[v] == 10):
                v += 1
            w = line
            while w > v and (data[w - 1] == 32 or data[w - 1] == 9 or data[w - 1] == 13 or data[w - 1] == 10):
                w -= 1
            if kind == H_CALL_ID:
                seen_call_id += 1
                if seen_call_id == 1:
                    slices[2, i, 0] = v
                    slices[2, i, 1] = w - v
            elif kind == H_FROM:
                if slices[3, i, 1] == 0:
                    first, size = user_of(data, v, w, True)
                    slices[3, i, 0] = first
                    slices[3, i, 1] = size
            elif kind == H_TO:
                if slices[4, i, 1] == 0:
                    first, size = user_of(data, v, w, True)
                    slices[4, i, 0] = first
                    slices[4, i, 1] = size
                if has_tag(data, v, w):
                    in_dialog[i] = 1
            elif kind == H_CSEQ:
                if cseq[i] < 0:
                    number = 0
                    digits = 0
                    while v < w and 48 <= data[v] <= 57:
                        if digits < 18:
                            number = number * 10 + int(data[v]) - 48
                        digits += 1
                        v += 1
                    if digits:
                        cseq[i] = number
                    while v < w and (data[v] == 32 or data[v] == 9 or data[v] == 13 or data[v] == 10):
                        v += 1
                    if response:
                        slices[0, i, 0] = v
                        slices[0, i, 1] = w - v
            elif kind == H_LENGTH:
                if claimed < 0:
                    number = 0
                    digits = 0
                    while v < w and 48 <= data[v] <= 57 and digits < 9:
                        number = number * 10 + int(data[v]) - 48
                        digits += 1
                        v += 1
                    # What is no number is no length that could be true.
                    claimed = number if digits and v == w else 1 << 40
            elif kind == H_AGENT and slices[6, i, 1] == 0:
                slices[6, i, 0] = v
                slices[6, i, 1] = w - v
            pos = eol + 1
        if blank:
            slices[7, i, 0] = pos
            slices[7, i, 1] = max(end - pos, 0)
            if claimed >= 0 and claimed != max(end - pos, 0) and not flags[i] & 1:
                flags[i] |= 8
        else:
            flags[i] |= 256
        if seen_call_id == 0 or slices[2, i, 1] == 0:
            flags[i] |= 16
        elif seen_call_id > 1:
            flags[i] |= 32
