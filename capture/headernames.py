"""Which headers the fast path looks at, told by their names in either case and either form (RFC 3261 section 7.3.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from capture.jit import kernel

U8 = NDArray[np.uint8]

NONE, H_CALL_ID, H_FROM, H_TO, H_CSEQ, H_LENGTH, H_AGENT, H_ASSERTED, H_PARTY, H_DIVERSION = range(10)
H_VIA, H_CONTACT, H_TYPE = range(10, 13)
OF_REQUESTS = H_VIA
"""These and later ones are looked at in requests only."""


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


def word(text: str) -> U8:
    """A name in lower case, for `same`."""
    return np.frombuffer(text.encode(), np.uint8).copy()


W_CALL_ID, W_FROM, W_TO, W_CSEQ = word("call-id"), word("from"), word("to"), word("cseq")
W_LENGTH, W_AGENT, W_SERVER, W_TYPE = (
    word("content-length"),
    word("user-agent"),
    word("server"),
    word("content-type"),
)
W_VIA, W_CONTACT, W_DIVERSION = word("via"), word("contact"), word("diversion")
W_ASSERTED, W_PARTY = word("p-asserted-identity"), word("remote-party-id")


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
        if c == 118:
            return H_VIA
        if c == 109:
            return H_CONTACT
        return NONE
    if length == 3:
        return H_VIA if same(data, at, 3, W_VIA) else NONE
    if length == 2:
        return H_TO if same(data, at, 2, W_TO) else NONE
    if length == 4:
        if same(data, at, 4, W_FROM):
            return H_FROM
        return H_CSEQ if same(data, at, 4, W_CSEQ) else NONE
    if length == 6:
        return H_AGENT if same(data, at, 6, W_SERVER) else NONE
    if length == 7:
        if same(data, at, 7, W_CALL_ID):
            return H_CALL_ID
        return H_CONTACT if same(data, at, 7, W_CONTACT) else NONE
    if length == 9:
        return H_DIVERSION if same(data, at, 9, W_DIVERSION) else NONE
    if length == 10:
        return H_AGENT if same(data, at, 10, W_AGENT) else NONE
    if length == 12:
        return H_TYPE if same(data, at, 12, W_TYPE) else NONE
    if length == 14:
        return H_LENGTH if same(data, at, 14, W_LENGTH) else NONE
    if length == 15:
        return H_PARTY if same(data, at, 15, W_PARTY) else NONE
    if length == 19:
        return H_ASSERTED if same(data, at, 19, W_ASSERTED) else NONE
    return NONE


def _letters() -> U8:
    table = np.zeros(256, np.uint8)
    for letter in "cfilstu":
        table[[ord(letter), ord(letter.upper())]] = 1
    for letter in "vmprd":
        table[[ord(letter), ord(letter.upper())]] = 2
    return table


LETTERS = _letters()
"""By first letter: 0, no header of interest begins so; 1, one may; 2, `may_matter` knows."""


@kernel
def may_matter(data: U8, at: int, end: int, response: bool) -> bool:
    """Whether the line data[at:end], which begins with v, m, p, r or d, may be a header of interest."""
    if end - at < 3:
        return not response
    c, after = data[at] | 32, data[at + 1] | 32
    if c == 118:  # Via, v
        return not response
    if c == 109:  # m, for Contact
        return not response and bool(after == 58 or after == 32 or data[at + 1] == 9)
    if c == 112:  # P-Asserted-Identity
        return bool(after == 45 and data[at + 2] | 32 == 97)
    if c == 114:  # Remote-Party-ID
        return bool(after == 101 and data[at + 2] | 32 == 109)
    return bool(after == 105)  # Diversion
