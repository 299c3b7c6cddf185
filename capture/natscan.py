"""The fast path's fourth kernel: the NAT tests of proxies for each request outside a dialog, as one number (see
`sip.nat.packed`).

It reads the usual forms of Via, Contact and session descriptions in place. A request with anything else in them is
taken apart by `sip.message` and tested by `sip.nat`, which is what the kernel must agree with.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import numpy as np

from capture.headernames import same, word
from capture.hosts import IPV4, NAME, ODD, find, host_port, odd_bytes, private
from capture.jit import kernel
from capture.natbody import part_of, sdp_bits
from capture.pipeline import TRANSPORTS, MessageBlock
from capture.scan import BODY, CONTACT, CONTENT_TYPE, I32, I64, U8, VIA
from capture.words import place_of
from sip.message import parse_message
from sip.nat import Sent, packed

_WS, _WSS = TRANSPORTS.index("ws"), TRANSPORTS.index("wss")
W_RECEIVED, W_TRANSPORT, W_SDP, W_MULTIPART = word("received"), word("transport"), word("sdp"), word("multipart/")
W_TLS, W_WS, W_WSS, W_SIP, W_SIPS = word("tls"), word("ws"), word("wss"), word("sip"), word("sips")


@kernel
def has_received(data: U8, at: int, end: int) -> int:
    """Whether the Via parameters data[at:end], from their first semicolon on, have `received`, or ODD."""
    if place_of(data, at, end, 34) < end or place_of(data, at, end, 60) < end:
        return ODD
    end = place_of(data, at, end, 44)
    while at < end:
        k = at + 1
        while k < end and (data[k] == 32 or data[k] == 9):
            k += 1
        if k + 8 <= end and same(data, k, 8, W_RECEIVED):
            k += 8
            while k < end and (data[k] == 32 or data[k] == 9):
                k += 1
            if k == end or data[k] == 61 or data[k] == 59:
                return 1
        at = place_of(data, k, end, 59)
    return 0


@kernel
def via_bits(data: U8, at: int, end: int, source: tuple[np.uint64, np.uint64], sport: int) -> int:
    """The bits that the topmost Via gives."""
    space = at
    while space < end and data[space] != 32:
        space += 1
    first = space
    while first < end and data[first] == 32:
        first += 1
    stop = first
    while stop < end and data[stop] != 59 and data[stop] != 44:
        stop += 1
    last = stop
    while last > first and data[last - 1] == 32:
        last -= 1
    if first == last or space == at or data[space - 1] == 47 or data[first] == 47 or data[first] == 58:
        return ODD
    if odd_bytes(data, at, space) or odd_bytes(data, first, last):
        return ODD
    for i in range(at, space):
        if data[i] == 44 or data[i] == 59:
            return ODD
    received = has_received(data, stop, end)
    kind, hi, lo, port = host_port(data, first, last)
    if kind == ODD or received == ODD:
        return ODD
    bits = 0
    if kind == NAME or hi != source[0] or lo != source[1]:
        bits |= 2 | 2 << 9
    if received:
        bits |= 2 << 9
    if kind == IPV4:
        number = int(np.int64(lo)) & 0xFFFFFFFF
        if private(number, True):
            bits |= 4
        if private(number, False):
            bits |= 4 << 9
    if (port or 5060) != sport:
        bits |= 16 | 16 << 9
    return bits


@kernel
def default_port(data: U8, at: int, end: int, secure: bool) -> int:
    """The port of a URI without one, by its transport (its parameters are data[at:end]) and scheme, as in sip.nat."""
    i = at
    while i < end:
        if data[i] == 63:
            break  # headers of the URI
        if data[i] == 59:
            k = i + 1
            if k + 9 <= end and same(data, k, 9, W_TRANSPORT):
                k += 9
                if k < end and data[k] == 61:
                    stop = k + 1
                    while stop < end and data[stop] != 59 and data[stop] != 63:
                        stop += 1
                    if stop > k + 1:
                        if same(data, k + 1, stop - k - 1, W_TLS):
                            return 5061
                        if same(data, k + 1, stop - k - 1, W_WS):
                            return 80
                        return 443 if same(data, k + 1, stop - k - 1, W_WSS) else 5060
                if k == end or data[k] == 61 or data[k] == 59 or data[k] == 63:
                    break
        i += 1
    return 5061 if secure else 5060


@kernel
def contact_bits(data: U8, at: int, end: int, source: tuple[np.uint64, np.uint64], sport: int) -> int:
    """The bits that the only Contact gives."""
    first, stop, left = at, at, -1
    quoted = False
    i = at
    while i < end:
        c = data[i]
        if c == 92 or c < 32 or c > 126:
            return ODD
        if quoted:
            quoted = c != 34
        elif c == 34:
            quoted = True
        elif c == 44:
            return ODD
        elif c == 60:
            left = i
            break
        i += 1
    if left >= 0:
        first = left + 1
        stop = first
        while stop < end and data[stop] != 62:
            stop += 1
        for i in range(stop, end):
            if data[i] == 44 or data[i] == 34 or data[i] == 60:
                return ODD
    elif quoted:
        return ODD
    else:
        while stop < end and data[stop] != 59:
            stop += 1
        if stop - first == 1 and data[first] == 42:
            return 0
    colon, sign, last = -1, -1, -1
    for i in range(first, stop):
        c = data[i]
        if c <= 32 or c > 126 or c == 34 or c == 92 or c == 60:
            return ODD
        if c == 58:
            colon = i if colon < 0 else colon
        elif c == 64:
            if sign < 0:
                sign, last = i, -1
        elif (c == 59 or c == 63) and last < 0:
            last = i
    secure = same(data, first, colon - first, W_SIPS)
    if not (secure or same(data, first, colon - first, W_SIP)):
        return ODD
    host = (sign if sign > colon else colon) + 1
    last = stop if last < 0 else last
    if last <= host or 0 <= sign < colon:
        return ODD
    kind, hi, lo, port = host_port(data, host, last)
    if kind == ODD or (last - host == 1 and data[host] == 42):
        return ODD
    bits = 0
    if kind == NAME or hi != source[0] or lo != source[1]:
        bits |= 32 << 9 | 1 << 17
    if kind == IPV4:
        number = int(np.int64(lo)) & 0xFFFFFFFF
        if private(number, True):
            bits |= 1
        if private(number, False):
            bits |= 1 << 9 | 1 << 16
    if (port or 5060) != sport:
        bits |= 128
    if (port or default_port(data, last, stop, secure)) != sport:
        bits |= 64 << 9
    return bits


@kernel
def scan_nat(
    data: U8,
    start: I64,
    length: I32,
    slices: I64,
    in_dialog: U8,
    src_hi: np.ndarray[tuple[int], np.dtype[np.uint64]],
    src_lo: np.ndarray[tuple[int], np.dtype[np.uint64]],
    sport: I32,
    transport: U8,
    out: I32,
) -> int:
    """Fill out[i]; 0 for responses and inside a dialog, ODD where a form is unusual. Returns how many are ODD."""
    odd = 0
    for i in range(len(start)):
        at = start[i]
        out[i] = 0
        if in_dialog[i] or (
            length[i] >= 4 and data[at] == 83 and data[at + 1] == 73 and data[at + 2] == 80 and data[at + 3] == 47
        ):
            continue
        source = (src_hi[i], src_lo[i])
        bits = 64 if transport[i] == _WS or transport[i] == _WSS else 0
        mapped = src_hi[i] == 0 and src_lo[i] >> np.uint64(32) == 0xFFFF
        if mapped and private(int(np.int64(src_lo[i])) & 0xFFFFFFFF, True):
            bits |= 32
        if slices[VIA, i, 1]:
            more = via_bits(data, slices[VIA, i, 0], slices[VIA, i, 0] + slices[VIA, i, 1], source, sport[i])
            bits = ODD if more == ODD else bits | more
        first, size = slices[CONTACT, i, 0], slices[CONTACT, i, 1]
        if size < 0:
            bits = ODD
        elif size and bits != ODD:
            more = contact_bits(data, first, first + size, source, sport[i])
            bits = ODD if more == ODD else bits | more
        first, size = slices[BODY, i, 0], slices[BODY, i, 1]
        if size > 0 and bits != ODD:
            last = first + size
            kind, kind_size = slices[CONTENT_TYPE, i, 0], slices[CONTENT_TYPE, i, 1]
            if kind_size >= 10 and same(data, kind, 10, W_MULTIPART):
                first, last = part_of(data, first, last, kind, kind + kind_size)
            elif kind_size and find(data, kind, kind + kind_size, W_SDP) < 0:
                last = first
            if first < 0:
                bits = ODD
            elif last > first:
                more = sdp_bits(data, first, last, source)
                bits = ODD if more == ODD else bits | more
        out[i] = bits
        odd += bits == ODD
    return odd


def nat_tests(block: MessageBlock) -> I32:
    """The NAT tests of each message of a block. Inside a dialog none are made: the far side is known by then."""
    out = np.empty(len(block), np.int32)
    if scan_nat(
        block.data,
        block.start,
        block.length,
        block.slices,
        block.in_dialog,
        block.src_hi,
        block.src_lo,
        block.sport,
        block.transport,
        out,
    ):
        for i in np.flatnonzero(out == ODD).tolist():
            raw = block.data[block.start[i] : block.start[i] + block.length[i]].tobytes()
            source = _address(int(block.src_hi[i]), int(block.src_lo[i]))
            over = TRANSPORTS[block.transport[i]]
            out[i] = packed(Sent(parse_message(raw), source, int(block.sport[i]), over))
    return out


def _address(hi: int, lo: int) -> str:
    if hi == 0 and lo >> 32 == 0xFFFF:
        return str(IPv4Address(lo & 0xFFFFFFFF))
    return str(IPv6Address(hi << 64 | lo))
