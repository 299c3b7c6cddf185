"""Link layers: where the network-layer packet begins in a frame (https://www.tcpdump.org/linktypes.html). Pure."""

from __future__ import annotations

from sip.errors import SiptrailError

IPV4, IPV6 = 0x0800, 0x86DD
VLAN = frozenset({0x8100, 0x88A8, 0x9100})
RAW = frozenset({12, 14, 101, 228, 229})
SUPPORTED = frozenset({0, 1, 108, 113, 276}) | RAW
"""LINKTYPE numbers: NULL, Ethernet, LOOP, Linux cooked v1 and v2, raw IP."""


class UnknownLinkType(SiptrailError):
    """A link type that cannot be decoded; named, never an empty list."""

    def __init__(self, link_type: int, where: str) -> None:
        super().__init__(f"{where} has link type {link_type}, which siptrail cannot decode; convert it, for example with editcap -T ether")


class Unreadable(ValueError):
    """The bytes end too early or contradict themselves."""


def network_layer(link_type: int, data: bytes) -> tuple[int, int]:
    """(ethertype, offset of the packet) of a frame; ethertype 0 where there is no IP packet in it."""
    if link_type in RAW:
        return by_version(data, 0), 0
    if link_type == 1:
        if len(data) < 14:
            raise Unreadable("short Ethernet frame")
        return after_ethertype(data, int.from_bytes(data[12:14], "big"), 14)
    if link_type == 113:
        if len(data) < 16:
            raise Unreadable("short SLL frame")
        return after_ethertype(data, int.from_bytes(data[14:16], "big"), 16)
    if link_type == 276:
        if len(data) < 20:
            raise Unreadable("short SLL2 frame")
        return after_ethertype(data, int.from_bytes(data[0:2], "big"), 20)
    if link_type in (0, 108):
        # The address family is in the capturing host's byte order (NULL) or network order (LOOP); IP tells its own version.
        if len(data) < 5:
            raise Unreadable("short loopback frame")
        return by_version(data, 4), 4
    raise UnknownLinkType(link_type, "the capture")


def by_version(data: bytes, at: int) -> int:
    """Ethertype by the version nibble of an IP packet."""
    return {4: IPV4, 6: IPV6}.get(data[at] >> 4, 0) if at < len(data) else 0


def after_ethertype(data: bytes, kind: int, at: int) -> tuple[int, int]:
    """Step over VLAN tags, PPPoE and MPLS."""
    for _ in range(8):
        if kind in VLAN:
            kind, at = int.from_bytes(data[at + 2:at + 4], "big"), at + 4
        elif kind == 0x8864:
            # PPPoE session (RFC 2516): 6 bytes, then the PPP protocol, which may be compressed to one byte (RFC 1661).
            return ppp(data, at + 6)
        elif kind in (0x8847, 0x8848):
            while at + 4 <= len(data) and not data[at + 2] & 1:
                at += 4
            return by_version(data, at + 4), at + 4
        else:
            return (kind, at) if kind in (IPV4, IPV6) else (0, at)
    return 0, at


def ppp(data: bytes, at: int) -> tuple[int, int]:
    """The packet inside PPP (with or without address and control bytes)."""
    if data[at:at + 2] == b"\xff\x03":
        at += 2
    if at >= len(data):
        return 0, at
    size = 1 if data[at] & 1 else 2
    return {0x21: IPV4, 0x57: IPV6}.get(int.from_bytes(data[at:at + size], "big"), 0), at + size
