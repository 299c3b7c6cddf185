"""Which network interfaces there are, whether they are up, and how their frames are framed.

It asks the kernel through ioctls (they answer for the caller's network namespace; /sys may show another one's).
It opens no packet socket and changes nothing.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from dataclasses import dataclass

ETHERNET, RAW = 1, 101
"""libpcap link types: with an Ethernet header, or the IP packet alone."""

SIOCGIFFLAGS, SIOCGIFHWADDR, SIOCETHTOOL = 0x8913, 0x8927, 0x8946
ETHTOOL_GET_TS_INFO = 0x41
RAW_HARDWARE = 1 << 6
"""SOF_TIMESTAMPING_RAW_HARDWARE (linux/net_tstamp.h): the device's own clock."""
IFF_UP, IFF_LOOPBACK = 0x1, 0x8

# Hardware types (linux/if_arp.h) whose frames begin with an Ethernet header: Ethernet, loopback.
WITH_ETHERNET_HEADER = frozenset({1, 772})
# CAN, 802.11 and 802.15.4 in monitor mode, netlink monitors: no IP right behind the link header.
WITHOUT_IP = frozenset({280, 801, 802, 803, 804, 805, 820, 821, 824})


@dataclass(frozen=True, slots=True)
class Device:
    """One interface of this machine."""

    name: str
    up: bool
    link_type: int
    loopback: bool = False


def device(name: str) -> Device | None:
    """The interface of that name; None when there is none, or none that carries IP."""
    asked = name.encode()
    if not 0 < len(asked) < 16 or b"\0" in asked:
        return None
    if not hasattr(socket, "AF_PACKET"):
        return Device(name, True, ETHERNET) if name in (n for _, n in socket.if_nameindex()) else None
    from fcntl import ioctl

    request = struct.pack("16s24x", asked)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            flags = struct.unpack_from("H", ioctl(sock, SIOCGIFFLAGS, request), 16)[0]
            hardware = struct.unpack_from("H", ioctl(sock, SIOCGIFHWADDR, request), 16)[0]
        except OSError as error:
            if error.errno in (errno.ENODEV, errno.ENXIO):
                return None
            raise
    if hardware in WITHOUT_IP:
        return None
    link = ETHERNET if hardware in WITH_ETHERNET_HEADER else RAW
    return Device(name, bool(flags & IFF_UP), link, bool(flags & IFF_LOOPBACK))


def stamps_frames(name: str) -> bool:
    """Whether the device can put its own time on the frames that it receives."""
    if not hasattr(socket, "AF_PACKET"):
        return False
    from fcntl import ioctl

    # struct ethtool_ts_info: the command, what the device can stamp, then nine words that do not matter here.
    info = (ctypes.c_uint32 * 11)(ETHTOOL_GET_TS_INFO)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            ioctl(sock, SIOCETHTOOL, struct.pack("16sP16x", name.encode(), ctypes.addressof(info)))
        except OSError:
            return False
    return bool(info[1] & RAW_HARDWARE)


def list_interfaces() -> list[Device]:
    """Every interface that can be recorded, in the kernel's order."""
    return [found for _, name in socket.if_nameindex() if (found := device(name)) is not None]
