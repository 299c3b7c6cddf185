"""Network interfaces of this machine, and the framing of what a raw socket sees on them."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

ETHERNET, RAW = 1, 101
_ARPHRD = {"1": ETHERNET, "772": ETHERNET, "65534": RAW, "512": RAW, "768": RAW, "776": RAW, "519": RAW}
"""ARPHRD number to LINKTYPE: Ethernet, loopback, none (tun, WireGuard), PPP, IP-in-IP, SIT."""


@dataclass(frozen=True, slots=True)
class Device:
    """One interface."""

    name: str
    up: bool
    link_type: int


def list_interfaces() -> list[Device]:
    """All interfaces that can be recorded, in the kernel's order."""
    out = []
    for _, name in socket.if_nameindex():
        folder = Path("/sys/class/net") / name
        try:
            up = int((folder / "flags").read_text(), 16) & 1 == 1
            kind = (folder / "type").read_text().strip()
        except OSError:
            # Another network namespace's sysfs may be mounted: assume what is usual.
            up, kind = True, "1"
        if kind in _ARPHRD:
            out.append(Device(name, up, _ARPHRD[kind]))
    return out
