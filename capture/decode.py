"""The fast path's first kernel: which frames carry SIP, and where in them.

It takes the common shapes (Ethernet, VLAN/QinQ, SLL, SLL2, NULL/LOOP, raw IP; IPv4, IPv6; UDP) and marks whatever is
rare (fragments, TCP, tunnels, extension headers, other links) for the careful path. It parses no SIP beyond the
start line, and copies nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from capture.frames import FrameBlock
from capture.jit import kernel

U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]

OTHER, SIP_UDP, CAREFUL, UNREADABLE, NOISE, TCP, TAKEN = 0, 1, 2, 3, 4, 5, 6
"""Kinds of frame. NOISE: keep-alives on a SIP port (counted, never listed). TCP: a whole segment, which `tcpfast`
takes or makes CAREFUL."""


class Decoded(NamedTuple):
    """Columns over the frames of a block; all but `kind` are only meaningful where kind is SIP_UDP, or TCP (where the
    payload is the segment with its header, and ports are not read)."""

    kind: U8
    payload: I64
    """Offset into the block's data."""
    length: NDArray[np.int32]
    src_hi: U64
    src_lo: U64
    dst_hi: U64
    dst_lo: U64
    sport: NDArray[np.int32]
    dport: NDArray[np.int32]
    ip_id: NDArray[np.int32]
    flags: NDArray[np.int32]


@kernel
def be16(data: U8, at: int) -> int:
    """Two bytes in network order."""
    return (int(data[at]) << 8) | int(data[at + 1])


@kernel
def be64(data: U8, at: int) -> np.uint64:
    """Eight bytes in network order."""
    out = np.uint64(0)
    for i in range(8):
        out = (out << np.uint64(8)) | np.uint64(data[at + i])
    return out


@kernel
def starts_sip(data: U8, at: int, end: int) -> bool:
    """Whether data[at:end] begins with a SIP start line (RFC 3261 section 7): 'SIP/x' or 'METHOD … SIP/x'."""
    if end - at < 8:
        return False
    if data[at] == 83 and data[at + 1] == 73 and data[at + 2] == 80 and data[at + 3] == 47:
        return True
    i = at
    stop = min(end, at + 64)
    while i < stop:
        c = data[i]
        # token (RFC 3261 section 25.1): letters, digits and - . ! % * _ + ` ' ~
        if not (
            (65 <= c <= 90)
            or (97 <= c <= 122)
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
        ):
            break
        i += 1
    if i == at or i >= stop or data[i] != 32:
        return False
    last = min(end, at + 8192) - 5
    while i < last:
        c = data[i]
        if c == 13 or c == 10:
            return False
        if c == 32 and data[i + 1] == 83 and data[i + 2] == 73 and data[i + 3] == 80 and data[i + 4] == 47:
            return True
        i += 1
    return False


@kernel
def may_be_hep(data: U8, at: int, end: int) -> bool:
    """Whether data[at:end] begins like HEP 3, a squeezed packet of it, or a header of version 1 or 2."""
    if end - at < 8:
        return False
    a, b, c, last = int(data[at]), int(data[at + 1]), int(data[at + 2]), int(data[at + 3])
    if a == 72:
        return b == 69 and c == 80 and last == 51
    if a == 31:
        return b == 139 and c == 8
    four = c == 2 and (b == 16 or (a == 2 and b == 28))
    six = (c == 10 or c == 28 or c == 30) and (b == 40 or (a == 2 and b == 52))
    return (a == 1 or a == 2) and (four or six)


@kernel
def decode_frames(
    data: U8,
    offset: I64,
    captured: NDArray[np.int32],
    original: NDArray[np.int32],
    link: NDArray[np.int32],
    sip_port: U8,
    kind: U8,
    payload: I64,
    length: NDArray[np.int32],
    src_hi: U64,
    src_lo: U64,
    dst_hi: U64,
    dst_lo: U64,
    sport: NDArray[np.int32],
    dport: NDArray[np.int32],
    ip_id: NDArray[np.int32],
    flags: NDArray[np.int32],
) -> None:
    """Fill the columns of `Decoded`. `sip_port[p]` is 1 for the ports that SIP is expected on."""
    mapped = np.uint64(0xFFFF) << np.uint64(32)
    for f in range(len(offset)):
        at = offset[f]
        end = at + captured[f]
        kind[f] = OTHER
        flags[f] = 0
        ip_id[f] = -1
        lt = link[f]
        ethertype = 0
        if lt == 1:
            if end - at < 14:
                kind[f] = UNREADABLE
                continue
            ethertype = be16(data, at + 12)
            at += 14
        elif lt == 113:
            if end - at < 16:
                kind[f] = UNREADABLE
                continue
            ethertype = be16(data, at + 14)
            at += 16
        elif lt == 276:
            if end - at < 20:
                kind[f] = UNREADABLE
                continue
            ethertype = be16(data, at)
            at += 20
        elif lt == 101 or lt == 12 or lt == 228 or lt == 229:
            if end - at < 1:
                kind[f] = UNREADABLE
                continue
            ethertype = 0x0800 if data[at] >> 4 == 4 else 0x86DD
        else:
            kind[f] = CAREFUL
            continue
        tags = 0
        while (ethertype == 0x8100 or ethertype == 0x88A8 or ethertype == 0x9100) and tags < 4 and end - at >= 4:
            ethertype = be16(data, at + 2)
            at += 4
            tags += 1
        if ethertype == 0x0800:
            if end - at < 20 or data[at] >> 4 != 4:
                kind[f] = UNREADABLE
                continue
            head = (int(data[at]) & 15) * 4
            total = be16(data, at + 2)
            if head < 20 or end - at < head:
                kind[f] = UNREADABLE
                continue
            if total == 0:
                total = end - at  # segmentation offload leaves it zero
            if total < head:
                kind[f] = UNREADABLE
                continue
            if be16(data, at + 6) & 0x3FFF:
                kind[f] = CAREFUL
                continue
            proto = int(data[at + 9])
            ip_end = at + total
            ident = be16(data, at + 4)
            sh = np.uint64(0)
            sl = mapped | (be64(data, at + 12) >> np.uint64(32))
            dh = np.uint64(0)
            dl = mapped | (be64(data, at + 12) & np.uint64(0xFFFFFFFF))
            at += head
        elif ethertype == 0x86DD:
            if end - at < 40 or data[at] >> 4 != 6:
                kind[f] = UNREADABLE
                continue
            proto = int(data[at + 6])
            ip_end = at + 40 + be16(data, at + 4)
            if ip_end == at + 40:
                ip_end = end
            ident = -1
            sh, sl = be64(data, at + 8), be64(data, at + 16)
            dh, dl = be64(data, at + 24), be64(data, at + 32)
            at += 40
        elif ethertype == 0x8864 or ethertype == 0x8847 or ethertype == 0x8848 or ethertype == 0x6558:
            kind[f] = CAREFUL
            continue
        elif ethertype < 0x600 and end - at >= 8 and data[at] == 0xAA and data[at + 1] == 0xAA:
            kind[f] = CAREFUL  # LLC/SNAP (RFC 1042)
            continue
        else:
            continue
        if proto == 6 and ip_end <= end:
            kind[f] = TCP
            payload[f] = at
            length[f] = ip_end - at
            src_hi[f], src_lo[f], dst_hi[f], dst_lo[f], ip_id[f] = sh, sl, dh, dl, ident
            continue
        if proto != 17:
            # ICMP errors (destination unreachable, RFC 792 and RFC 4443 section 3.1; packet too big, section 3.2).
            if (proto == 1 and at < end and data[at] == 3) or (proto == 58 and at < end and 1 <= data[at] <= 2):
                kind[f] = CAREFUL
            # Cut TCP, tunnels (4, 41, 47, 115), IPv6 extension headers (0, 43, 44, 60, 51), SCTP: rare, so careful.
            if (
                proto == 6
                or proto == 4
                or proto == 41
                or proto == 47
                or proto == 0
                or proto == 43
                or proto == 44
                or proto == 60
                or proto == 51
                or proto == 132
                or proto == 137
            ):
                kind[f] = CAREFUL
            continue
        if end - at < 8:
            kind[f] = UNREADABLE
            continue
        sp, dp = be16(data, at), be16(data, at + 2)
        size = be16(data, at + 4)
        stop = min(ip_end, end)
        claimed = ip_end
        if size >= 8 and at + size < claimed:
            claimed = at + size
        stop = min(claimed, end)
        body = at + 8
        if dp == 4789 or dp == 6081 or dp == 2152 or sp == 2152 or dp == 1701 or sp == 1701:
            kind[f] = CAREFUL
            continue
        while body < stop and (data[body] == 13 or data[body] == 10):
            body += 1
        if not starts_sip(data, body, stop):
            if may_be_hep(data, body, stop):
                kind[f] = CAREFUL
            elif sip_port[sp] or sip_port[dp]:
                kind[f] = NOISE
            continue
        kind[f] = SIP_UDP
        payload[f] = body
        length[f] = stop - body
        src_hi[f], src_lo[f], dst_hi[f], dst_lo[f] = sh, sl, dh, dl
        sport[f], dport[f], ip_id[f] = sp, dp, ident
        if claimed > end or (original[f] > captured[f] and ip_end > end):
            flags[f] = 1


def decode(block: FrameBlock, sip_port: U8) -> Decoded:
    """Find the SIP in a block of frames."""
    n = len(block)
    links = np.array([i.link_type for i in block.interfaces], np.int32)
    out = Decoded(
        np.zeros(n, np.uint8),
        np.zeros(n, np.int64),
        np.zeros(n, np.int32),
        np.zeros(n, np.uint64),
        np.zeros(n, np.uint64),
        np.zeros(n, np.uint64),
        np.zeros(n, np.uint64),
        np.zeros(n, np.int32),
        np.zeros(n, np.int32),
        np.zeros(n, np.int32),
        np.zeros(n, np.int32),
    )
    decode_frames(block.data, block.offset, block.captured, block.original, links[block.interface], sip_port, *out)
    return out


def port_table(ports: frozenset[int]) -> U8:
    """A 65,536-entry table with 1 at each of the ports."""
    table = np.zeros(65536, np.uint8)
    table[list(ports)] = 1
    return table
