"""Packet sockets opened early, so that the right to open them can be given up before any other thread exists.

Libraries start threads while they are imported, and a thread keeps the capabilities it was born with. This module
imports nothing of that kind: open the sockets, drop the rights, then import the rest.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from capture import netdevices, privileges

SPARE = 8
"""For so many interfaces that come later there are sockets of each kind."""


class PacketSockets:
    """Sockets that are bound to nothing and are given no packet yet; `missing` says why there are none."""

    _closed = False

    def __init__(self, workers: int = 1, leave_root: Callable[[], None] | None = None) -> None:
        """Opens `workers` sockets an interface; then `leave_root` changes the user, where that is wanted."""
        self._idle: dict[int, list[socket.socket]] = {}
        self.missing: str | None = None
        if not privileges.can_capture():
            self.missing = privileges.missing_capability_text()
        else:
            devices = netdevices.list_interfaces()
            for kind in (socket.SOCK_RAW, socket.SOCK_DGRAM):
                wanted = (sum(framing(d) == kind for d in devices) + SPARE) * workers
                # Protocol 0: nothing arrives until a ring binds the socket.
                self._idle[kind] = [socket.socket(socket.AF_PACKET, kind, 0) for _ in range(wanted)]
        self.threads = privileges.PreferredThreads()
        if leave_root is not None:
            leave_root()
        self.threads.drop_capabilities()
        privileges.drop_capabilities()

    def take(self, kind: int) -> socket.socket | None:
        """A socket of that kind; None when none is left."""
        left = self._idle.get(kind)
        return left.pop() if left else None

    def give_back(self, kind: int, sock: socket.socket) -> None:
        """A socket that is no longer needed, without a ring and bound to nothing."""
        if self._closed:
            sock.close()
        else:
            self._idle.setdefault(kind, []).append(sock)

    def close(self) -> None:
        """Close those that nobody took."""
        self._closed = True
        for left in self._idle.values():
            while left:
                left.pop().close()


def framing(device: netdevices.Device) -> int:
    """Links without an Ethernet header are read without any header, which makes every such link raw IP."""
    return socket.SOCK_RAW if device.link_type == netdevices.ETHERNET else socket.SOCK_DGRAM
