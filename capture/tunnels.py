"""Packets inside packets: GRE and its kin, VXLAN, GENEVE, GTP-U, L2TP. Pure; a step gives the inner packet or None."""

from __future__ import annotations

from typing import NamedTuple

from capture.links import TRANSPARENT_ETHERNET, after_ethertype, by_version, ppp

VXLAN, GENEVE, GTP_U, L2TP = 4789, 6081, 2152, 1701
ERSPAN, ERSPAN_3, PPP = 0x88BE, 0x22EB, 0x880B


class Inner(NamedTuple):
    """An inner packet: its ethertype and bytes."""

    kind: int
    data: bytes


def _inner(found: tuple[int, int], data: bytes) -> Inner | None:
    kind, at = found
    return Inner(kind, data[at:]) if kind else None


def gre(data: bytes) -> Inner | None:
    """GRE (RFC 2784, 2890), PPTP's version 1 (RFC 2637), transparent Ethernet, ERSPAN I, II and III."""
    if len(data) < 4:
        return None
    bits, kind = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
    version = bits & 7
    if version == 1:
        at = 8 + (4 if bits & 0x1000 else 0) + (4 if bits & 0x0080 else 0)
        return _inner(ppp(data, at), data) if kind == PPP else None
    if version or bits & 0x4000:
        return None  # source routing (RFC 1701) went out of use
    at = 4 + sum(4 for bit in (0x8000, 0x2000, 0x1000) if bits & bit)
    if kind == ERSPAN:
        # Type I has neither sequence number nor header; type II has both (8 bytes).
        kind, at = TRANSPARENT_ETHERNET, at + (8 if bits & 0x1000 else 0)
    elif kind == ERSPAN_3:
        # 12 bytes, and 8 more when its last bit says so.
        kind, at = TRANSPARENT_ETHERNET, at + 12 + (8 if len(data) > at + 11 and data[at + 11] & 1 else 0)
    elif kind == PPP:
        return _inner(ppp(data, at), data)
    return _inner(after_ethertype(data, kind, at), data)


def inside_udp(sport: int, dport: int, data: bytes) -> Inner | None:
    """What a UDP payload tunnels, by its port."""
    if len(data) < 9:
        return None
    if dport == VXLAN:
        return _inner(after_ethertype(data, TRANSPARENT_ETHERNET, 8), data) if data[0] & 8 else None  # RFC 7348
    if dport == GENEVE:
        at = 8 + (data[0] & 0x3F) * 4  # RFC 8926 section 3.4
        return _inner(after_ethertype(data, int.from_bytes(data[2:4], "big"), at), data) if data[0] >> 6 == 0 else None
    if GTP_U in (sport, dport):
        return _gtp(data)
    if L2TP in (sport, dport):
        return _l2tp(data)
    return None


def _gtp(data: bytes) -> Inner | None:
    """GTP-U version 1 (3GPP TS 29.281 section 5): optional fields and extension headers, then an IP packet."""
    if data[0] >> 4 != 3 or data[1] != 255:
        return None
    at = 8
    if data[0] & 7:
        following = data[11] if data[0] & 4 and len(data) > 11 else 0
        at = 12
        while following and at < len(data) and data[at]:
            at += data[at] * 4
            following = data[at - 1] if at <= len(data) else 0
    return _inner((by_version(data, at), at), data)


def _l2tp(data: bytes) -> Inner | None:
    """L2TP version 2 data messages (RFC 2661 section 3.1)."""
    bits = int.from_bytes(data[:2], "big")
    if bits & 0x8000 or bits & 15 != 2:
        return None
    at = 6 + (2 if bits & 0x4000 else 0) + (4 if bits & 0x0800 else 0)
    if bits & 0x0200:
        at += 2 + int.from_bytes(data[at : at + 2], "big")
    return _inner(ppp(data, at), data)
