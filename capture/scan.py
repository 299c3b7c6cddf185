"""The fast path's second kernel: where the interesting pieces of each SIP message are.

One pass over the header block of each message (RFC 3261 section 7.3, compact forms of section 20). It yields
(start, length) slices into the bytes it was given, never copies; `index.columns` gathers them.
Whatever needs judgement (parsing for display, SDP, rules) is done elsewhere, on demand.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from capture.headernames import (
    H_AGENT,
    H_ASSERTED,
    H_CALL_ID,
    H_CONTACT,
    H_CSEQ,
    H_DIVERSION,
    H_FROM,
    H_LENGTH,
    H_PARTY,
    H_TO,
    H_TYPE,
    H_VIA,
    LETTERS,
    NONE,
    OF_REQUESTS,
    header_kind,
    lower,
    may_matter,
)
from capture.jit import kernel
from capture.words import newline, place_of_two

U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]

SLICES = (
    *("method", "reason", "call_id", "from_user", "to_user", "ruri_user", "user_agent", "body"),
    *("asserted", "diversion", "via", "contact", "content_type"),
)
"""Names of the slice columns, in the order of the kernel's first axis.

asserted: user of P-Asserted-Identity (RFC 3325) or, where there is none, of Remote-Party-ID; diversion: user of the
topmost Diversion (RFC 5806). Of requests only: the first Via and Content-Type, and Contact, whose length is -1 where
there are several."""
METHOD, REASON, CALL_ID, FROM_USER, TO_USER, RURI_USER, USER_AGENT, BODY = range(8)
ASSERTED, DIVERSION, VIA, CONTACT, CONTENT_TYPE = range(8, 13)


@kernel
def first_value(data: U8, at: int, end: int) -> int:
    """Where the first value of the list data[at:end] ends: at a comma outside of <> and quotes."""
    quoted, inside = False, False
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
            inside = True
        elif c == 62:
            inside = False
        elif c == 44 and not inside:
            return i
        i += 1
    return end


@kernel
def closing_quote(data: U8, at: int, end: int) -> int:
    """Where the quoted text that begins at `at` ends, or `end` (RFC 3261 section 25.1, quoted-string)."""
    while at < end and data[at] != 34:
        at += 2 if data[at] == 92 else 1
    return min(at, end)


@kernel
def ends_uri(c: int, loose: bool) -> bool:
    """Whether a URI ends here; a `loose` one stands in no <>, and what follows ';' is the header's."""
    return c == 62 or c == 32 or (loose and c == 59)


@kernel
def user_of(data: U8, at: int, end: int, bare: bool) -> tuple[int, int]:
    """The user part of the first URI in data[at:end] ('sip:user@host', 'tel:+44…'): (start, length).

    A display name in quotes is skipped, so that '"sip:x@y" <sip:z@w>' gives z."""
    i = at
    while i < end and (data[i] == 32 or data[i] == 9):
        i += 1
    left = -1
    j = place_of_two(data, i, end, 34, 60)
    while j < end:
        if data[j] == 60:
            left = j + 1
            break
        j = place_of_two(data, closing_quote(data, j + 1, end) + 1, end, 34, 60)
    start = left if left >= 0 else i
    loose = bare and left < 0
    colon = start
    while colon < end and data[colon] != 58 and not ends_uri(int(data[colon]), loose):
        colon += 1
    if colon >= end or data[colon] != 58:
        return start, 0
    tel = colon - start == 3 and lower(int(data[start])) == 116
    first = stop = colon + 1
    last = -1
    while stop < end and data[stop] != 64 and not ends_uri(int(data[stop]), loose):
        # A password or user parameters are not the number.
        if last < 0 and (data[stop] == 59 or data[stop] == 58):
            last = stop
        stop += 1
    if not tel and (stop >= end or data[stop] != 64):
        return first, 0
    return first, (last if last >= 0 else stop) - first


@kernel
def has_tag(data: U8, at: int, end: int) -> bool:
    """Whether the name-addr in data[at:end] carries ';tag=' outside of <> and quotes."""
    i = at
    while i < end:
        c = data[i]
        if c == 34:
            i = closing_quote(data, i + 1, end)
        elif c == 60:
            i = place_of_two(data, i + 1, end, 34, 62)
            while i < end and data[i] == 34:
                i = place_of_two(data, closing_quote(data, i + 1, end) + 1, end, 34, 62)
        elif c == 59:
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
        for k in range(13):
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
        seen_asserted = False
        seen_via = False
        seen_contact = False
        seen_type = False
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
            letter = LETTERS[data[pos]]
            if letter == 0 or (letter == 2 and not may_matter(data, pos, line, response)):
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
            if kind == NONE or (response and kind >= OF_REQUESTS):
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
            elif kind == H_AGENT:
                if slices[6, i, 1] == 0:
                    slices[6, i, 0] = v
                    slices[6, i, 1] = w - v
            elif kind == H_ASSERTED:
                if not seen_asserted:
                    first, size = user_of(data, v, first_value(data, v, w), True)
                    slices[8, i, 0] = first
                    slices[8, i, 1] = size
                    seen_asserted = size > 0
            elif kind == H_PARTY:
                if slices[8, i, 1] == 0:
                    first, size = user_of(data, v, first_value(data, v, w), True)
                    slices[8, i, 0] = first
                    slices[8, i, 1] = size
            elif kind == H_DIVERSION:
                if slices[9, i, 1] == 0:
                    first, size = user_of(data, v, first_value(data, v, w), True)
                    slices[9, i, 0] = first
                    slices[9, i, 1] = size
            elif not response:
                if kind == H_VIA:
                    if not seen_via:
                        seen_via = True
                        slices[10, i, 0] = v
                        slices[10, i, 1] = w - v
                elif kind == H_CONTACT:
                    slices[11, i, 0] = v
                    slices[11, i, 1] = -1 if seen_contact else w - v
                    seen_contact = True
                elif kind == H_TYPE and not seen_type:
                    seen_type = True
                    slices[12, i, 0] = v
                    slices[12, i, 1] = w - v
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
