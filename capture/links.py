"""Link layers: where the network-layer packet begins in a frame (https://www.tcpdump.org/linktypes.html). Pure."""

from __future__ import annotations

from sip.errors import Unreachable

IPV4, IPV6, TRANSPARENT_ETHERNET = 0x0800, 0x86DD, 0x6558
VLAN = frozenset({0x8100, 0x88A8, 0x9100})
MPLS = frozenset({0x8847, 0x8848})
PPPOE_SESSION = 0x8864
ETHERNET, NULL, LOOP, SLL, SLL2 = 1, 0, 108, 113, 276
RAW = frozenset({12, 14, 101, 228, 229})
SUPPORTED = frozenset({ETHERNET, NULL, LOOP, SLL, SLL2}) | RAW
"""LINKTYPE numbers: Ethernet, NULL, LOOP, Linux cooked v1 and v2, raw IP."""
_TYPED = {ETHERNET: (12, 14), SLL: (14, 16), SLL2: (0, 20)}
"""Where the ethertype stands, and where the header ends."""
_VERSION = {4: IPV4, 6: IPV6}
_PPP = {0x21: IPV4, 0x57: IPV6}


class UnknownLinkType(Unreachable):
    """A link type that cannot be decoded; named, never an empty list."""

    def __init__(self, link_type: int, where: str) -> None:
        super().__init__(
            f"{where} has link type {link_type}, which siptrail cannot decode; record Ethernet, Linux cooked or raw IP "
            "frames, or, where only the label is wrong, set it with editcap -T"
        )


class Unreadable(ValueError):
    """The bytes end too early or contradict themselves."""


def network_layer(link_type: int, data: bytes) -> tuple[int, int]:
    """(ethertype, offset of the packet) of a frame; ethertype 0 where there is no IP packet in it."""
    if (typed := _TYPED.get(link_type)) is not None:
        at, end = typed
        if len(data) < end:
            raise Unreadable("short link header")
        return after_ethertype(data, int.from_bytes(data[at : at + 2], "big"), end)
    # NULL and LOOP begin with an address family, in one of two byte orders and with numbers that differ between
    # systems: the packet tells its version itself.
    if link_type in RAW or link_type in (NULL, LOOP):
        at = 0 if link_type in RAW else 4
        if len(data) <= at:
            raise Unreadable("nothing behind the link header")
        return by_version(data, at), at
    raise UnknownLinkType(link_type, "the capture")


def by_version(data: bytes, at: int) -> int:
    """Ethertype by the version nibble of an IP packet; 0 when it is none."""
    return _VERSION.get(data[at] >> 4, 0) if at < len(data) else 0


def after_ethertype(data: bytes, kind: int, at: int) -> tuple[int, int]:
    """Step over what may stand between Ethernet and IP: VLAN tags, PPPoE, MPLS, LLC/SNAP, Ethernet again."""
    for _ in range(8):
        if kind in VLAN:
            kind, at = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
        elif kind in MPLS:
            kind, at = mpls(data, at)
        elif kind == TRANSPARENT_ETHERNET:
            kind, at = int.from_bytes(data[at + 12 : at + 14], "big"), at + 14
        elif kind == PPPOE_SESSION:
            return ppp(data, at + 6)  # RFC 2516 section 4
        elif kind < 0x600 and data[at : at + 6] == b"\xaa\xaa\x03\0\0\0":
            kind, at = int.from_bytes(data[at + 6 : at + 8], "big"), at + 8  # RFC 1042
        else:
            break
    return (kind, at) if kind in (IPV4, IPV6) else (0, at)


def mpls(data: bytes, at: int) -> tuple[int, int]:
    """What follows a label stack (RFC 3032); labels do not name it, so it is told by its first nibble."""
    while at + 4 <= len(data):
        at += 4
        if data[at - 2] & 1:
            break
    if at < len(data) and data[at] >> 4 == 0:
        return TRANSPARENT_ETHERNET, at + 4  # the control word of an Ethernet pseudowire (RFC 4448 section 4.6)
    return by_version(data, at), at


def ppp(data: bytes, at: int) -> tuple[int, int]:
    """The packet inside PPP (RFC 1661): address and control bytes may lack, the protocol may be one byte."""
    if data[at : at + 2] == b"\xff\x03":
        at += 2
    if at >= len(data):
        return 0, at
    size = 1 if data[at] & 1 else 2
    return _PPP.get(int.from_bytes(data[at : at + size], "big"), 0), at + size
