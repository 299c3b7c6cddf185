"""Packet sockets opened early, so that the right to open them can be given up before any other thread exists.

Libraries start threads while they are imported, and a thread keeps the capabilities it was born with. This module
imports nothing of that kind: open the sockets, drop the rights, then import the rest.
"""

from __future__ import annotations

import socket

from capture import netdevices, privileges

SPARE = 2
"""Sockets of each kind beyond the interfaces there are now."""


class PacketSockets:
    """Sockets that are bound to nothing and are given no packet yet; `missing` says why there are none."""

    def __init__(self) -> None:
        self._idle: dict[int, list[socket.socket]] = {}
        self.missing: str | None = None
        if not privileges.can_capture():
            self.missing = privileges.missing_capability_text()
        else:
            devices = netdevices.list_interfaces()
            for kind in (socket.SOCK_RAW, socket.SOCK_DGRAM):
                wanted = sum(framing(d) == kind for d in devices) + SPARE
                # Protocol 0: nothing arrives until a ring binds the socket.
                self._idle[kind] = [socket.socket(socket.AF_PACKET, kind, 0) for _ in range(wanted)]
        privileges.drop_capabilities()

    def take(self, kind: int) -> socket.socket | None:
        """A socket of that kind; None when none is left."""
        left = self._idle.get(kind)
        return left.pop() if left else None

    def close(self) -> None:
        """Close those that nobody took."""
        for left in self._idle.values():
            for sock in left:
                sock.close()
            left.clear()


def framing(device: netdevices.Device) -> int:
    """Links without an Ethernet header are read without any header, which makes every such link raw IP."""
    return socket.SOCK_RAW if device.link_type == netdevices.ETHERNET else socket.SOCK_DGRAM
