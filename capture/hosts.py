"""Kernels that read hosts in place: dotted IPv4, plain IPv6, names, ports, and what is private to a SIP proxy.

They know the usual forms; anything else is ODD, and for somebody else to judge.
"""

from __future__ import annotations

import numpy as np

from capture.headernames import U8, lower, same
from capture.jit import kernel

ODD = -1
"""Not a usual form."""
NAME, IPV4, IPV6 = range(3)
MAPPED = 0xFFFF00000000


@kernel
def dotted(data: U8, at: int, end: int) -> int:
    """The number of a dotted IPv4 address; -1 where it is none."""
    number, part, digits, dots = 0, 0, 0, 0
    for i in range(at, end):
        c = data[i]
        if 48 <= c <= 57:
            if digits == 3 or (digits > 0 and part == 0):
                return -1
            part = part * 10 + int(c) - 48
            digits += 1
        elif c == 46 and digits and dots < 3:
            if part > 255:
                return -1
            number = number * 256 + part
            part, digits, dots = 0, 0, dots + 1
        else:
            return -1
    return number * 256 + part if dots == 3 and digits and part <= 255 else -1


@kernel
def ipv6_halves(data: U8, at: int, end: int) -> tuple[bool, np.uint64, np.uint64]:
    """Both halves of an IPv6 address in its plain form (RFC 4291 section 2.2, 1 and 2)."""
    none, sixteen, rest = np.uint64(0), np.uint64(16), np.uint64(48)
    # The groups since the start or the gap, the last one lowest; and those before the gap.
    hi, lo, early_hi, early_lo = none, none, none, none
    n, gap, digits, group = 0, -1, 0, 0
    i = at
    while i < end:
        c = lower(int(data[i]))
        if 48 <= c <= 57 or 97 <= c <= 102:
            if digits == 4 or n == 8:
                return False, none, none
            group = group * 16 + (c - 48 if c <= 57 else c - 87)
            digits += 1
            i += 1
            continue
        if c != 58:
            return False, none, none
        gaps = i + 1 < end and data[i + 1] == 58
        if (gaps and gap >= 0) or (not gaps and (not digits or i + 1 == end)):
            return False, none, none
        if digits:
            hi, lo = hi << sixteen | lo >> rest, lo << sixteen | np.uint64(group)
            n += 1
        i += 1
        if gaps:
            gap, early_hi, early_lo, hi, lo = n, hi, lo, none, none
            i += 1
        digits, group = 0, 0
    if digits:
        hi, lo = hi << sixteen | lo >> rest, lo << sixteen | np.uint64(group)
        n += 1
    if (gap < 0 and n != 8) or (gap >= 0 and n > 7):
        return False, none, none
    for _ in range(gap, 8 if gap >= 0 else gap):
        early_hi, early_lo = early_hi << sixteen | early_lo >> rest, early_lo << sixteen
    return True, hi | early_hi, lo | early_lo


@kernel
def host_of(data: U8, at: int, end: int) -> tuple[int, np.uint64, np.uint64]:
    """What a host is (NAME, IPV4, IPV6, or ODD), and both halves of an address."""
    none = np.uint64(0)
    number = dotted(data, at, end)
    if number >= 0:
        return IPV4, none, np.uint64(number + MAPPED)
    for i in range(at, end):
        c = data[i]
        if c == 58:
            known, hi, lo = ipv6_halves(data, at, end)
            return (IPV6, hi, lo) if known else (ODD, none, none)
        if not (48 <= c <= 57 or 97 <= c <= 122 or 65 <= c <= 90 or c == 45 or c == 46 or c == 95):
            return ODD, none, none
    return NAME, none, none


@kernel
def host_port(data: U8, at: int, end: int) -> tuple[int, np.uint64, np.uint64, int]:
    """`host_of` and the port of host[:port]; 0 where there is none."""
    none = np.uint64(0)
    stop = at
    if at < end and data[at] == 91:
        at += 1
        stop = at
        while stop < end and data[stop] != 93:
            stop += 1
        if stop == end:
            return ODD, none, none, 0
        kind, hi, lo = host_of(data, at, stop)
        if kind != IPV6:
            return ODD, none, none, 0
        stop += 1
        if stop < end and data[stop] != 58:
            return ODD, none, none, 0
    else:
        while stop < end and data[stop] != 58:
            stop += 1
        if stop == at:
            return ODD, none, none, 0
        kind, hi, lo = host_of(data, at, stop)
    port = 0
    if stop < end:
        if end - stop > 8:
            return ODD, none, none, 0
        for i in range(stop + 1, end):
            if not 48 <= data[i] <= 57:
                return ODD, none, none, 0
            port = port * 10 + int(data[i]) - 48
    return kind, hi, lo, port


@kernel
def private(number: int, wide: bool) -> bool:
    """RFC 1918; `wide`: what else Kamailio takes for private (see sip.ip)."""
    if number >> 24 == 10 or number >> 20 == 0xAC1 or number >> 16 == 0xC0A8:
        return True
    return wide and (number >> 22 == 0x191 or number >> 8 == 0xC00000)


@kernel
def find(data: U8, at: int, end: int, word: U8) -> int:
    """Where `word` (given in lower case) begins in data[at:end], ignoring case; -1 for nowhere."""
    for i in range(at, end - len(word) + 1):
        if same(data, i, len(word), word):
            return i
    return -1


@kernel
def odd_bytes(data: U8, at: int, end: int) -> bool:
    """Whether there is more in it than plain visible characters without quotes, backslashes and brackets."""
    for i in range(at, end):
        c = data[i]
        if c <= 32 or c > 126 or c == 34 or c == 92 or c == 60:
            return True
    return False
