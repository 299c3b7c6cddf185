"""Packets inside packets: GRE and its kin, VXLAN, GENEVE, GTP-U, L2TP. Pure; each step gives the inner packet or None."""

from __future__ import annotations

from typing import NamedTuple

from capture.links import IPV4, IPV6, after_ethertype, by_version, ppp


class Inner(NamedTuple):
    """An inner packet: ethertype (0: not IP) and bytes."""

    kind: int
    data: bytes


def ethernet(data: bytes) -> Inner:
    """An Ethernet frame inside a tunnel."""
    if len(data) < 14:
        return Inner(0, b"")
    kind, at = after_ethertype(data, int.from_bytes(data[12:14], "big"), 14)
    return Inner(kind, data[at:])


def gre(data: bytes) -> Inner | None:
    """GRE (RFC 2784, 2890), PPTP's version 1 (RFC 2637), transparent Ethernet, ERSPAN I, II and III."""
    if len(data) < 4:
        return None
    bits, kind = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
    at = 4
    if bits & 7 == 1:
        at += 4 + (4 if bits & 0x1000 else 0) + (4 if bits & 0x0080 else 0)
        found, inner = ppp(data, at)
        return Inner(found, data[inner:])
    for bit in (0x8000, 0x2000, 0x1000):
        at += 4 if bits & bit else 0
    if kind in (IPV4, IPV6):
        return Inner(kind, data[at:])
    if kind == 0x6558:
        return ethernet(data[at:])
    if kind == 0x88BE:
        # ERSPAN I has neither sequence number nor a header of its own; II has 8 bytes.
        return ethernet(data[at + (8 if bits & 0x1000 else 0):])
    if kind == 0x22EB:
        extra = 8 if len(data) > at + 11 and data[at + 11] & 1 else 0
        return ethernet(data[at + 12 + extra:])
    if kind == 0x880B:
        found, inner = ppp(data, at)
        return Inner(found, data[inner:])
    found, inner = after_ethertype(data, kind, at)
    return Inner(found, data[inner:])


def inside_udp(sport: int, dport: int, data: bytes) -> Inner | None:
    """What a UDP payload tunnels, by its port."""
    if dport == 4789 and len(data) > 8 and data[0] & 8:
        return ethernet(data[8:])
    if dport == 6081 and len(data) > 8:
        kind = int.from_bytes(data[2:4], "big")
        at = 8 + (data[0] & 0x3F) * 4
        return ethernet(data[at:]) if kind == 0x6558 else Inner(kind if kind in (IPV4, IPV6) else 0, data[at:])
    if (dport == 2152 or sport == 2152) and len(data) > 8 and data[0] >> 5 == 1 and data[1] == 255:
        return _gtp(data)
    if (dport == 1701 or sport == 1701) and len(data) > 8:
        return _l2tp(data)
    return None


def _gtp(data: bytes) -> Inner:
    """GTP-U version 1 (3GPP TS 29.281): optional fields and extension headers, then an IP packet."""
    at = 8
    if data[0] & 7:
        following = data[11] if len(data) > 11 else 0
        at = 12
        while following and data[0] & 4 and at < len(data) and data[at]:
            size = data[at] * 4
            following, at = data[at + size - 1] if at + size <= len(data) else 0, at + size
    return Inner(by_version(data, at), data[at:])


def _l2tp(data: bytes) -> Inner | None:
    """L2TP version 2 data messages (RFC 2661)."""
    bits = int.from_bytes(data[:2], "big")
    if bits & 0x8000 or bits & 15 != 2:
        return None
    at = 6 + (2 if bits & 0x4000 else 0) + (4 if bits & 0x0800 else 0)
    if bits & 0x0200:
        at += 2 + int.from_bytes(data[at:at + 2], "big")
    found, inner = ppp(data, at)
    return Inner(found, data[inner:])
