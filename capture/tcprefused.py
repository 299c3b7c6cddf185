"""Who refuses TCP connections on SIP ports: a SYN that is answered with RST. One row a server, bounded. Sans-IO.

It owns the count. A SYN without any answer is no refusal: a firewall drops it, or the way back is not seen here.
"""

from __future__ import annotations

import struct
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from ipaddress import ip_address

SYN, RST, ACK = 0x02, 0x04, 0x10
_ASKED, _SERVERS, _CLIENTS = 10_000, 1_000, 100
"""Connections that wait for their answer, and rows, at most."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A server that turns connections away."""

    server: str
    """ip:port."""
    count: int
    clients: tuple[str, ...]
    """Whom, the most frequent first."""
    last: int
    """ns since the epoch."""


@dataclass(slots=True)
class _Row:
    count: int = 0
    last: int = 0
    clients: Counter[bytes] = field(default_factory=Counter)


class Refusals:
    """Keys are those of TCP segments: source and destination address, then both ports."""

    def __init__(self, ports: frozenset[bytes]) -> None:
        self._ports = ports
        self._asked: OrderedDict[bytes, None] = OrderedDict()
        self._rows: OrderedDict[bytes, _Row] = OrderedDict()

    def note(self, key: bytes, bits: int, ts: int) -> None:
        """A segment that begins a connection, or breaks one off."""
        if bits & SYN and not bits & (ACK | RST):
            if key[-2:] in self._ports:
                self._asked[key] = None
                self._asked.move_to_end(key)
                if len(self._asked) > _ASKED:
                    self._asked.popitem(last=False)
            return
        asked = reverse(key)
        if asked not in self._asked:
            return
        del self._asked[asked]
        if bits & RST:
            self._refused(asked, ts)

    def rows(self) -> tuple[Refused, ...]:
        """The servers as they are now, the one that refuses most first."""
        found = sorted(self._rows.items(), key=lambda kv: (-kv[1].count, kv[0]))
        return tuple(_told(server, row) for server, row in found)

    def _refused(self, asked: bytes, ts: int) -> None:
        size = (len(asked) - 4) // 2
        server = asked[size : 2 * size] + asked[-2:]
        row = self._rows.setdefault(server, _Row())
        self._rows.move_to_end(server)
        if len(self._rows) > _SERVERS:
            self._rows.popitem(last=False)
        row.count += 1
        row.last = max(row.last, ts)
        client = asked[:size]
        if client in row.clients or len(row.clients) < _CLIENTS:
            row.clients[client] += 1


def _told(server: bytes, row: _Row) -> Refused:
    host, (port,) = str(ip_address(server[:-2])), struct.unpack(">H", server[-2:])
    clients = tuple(str(ip_address(c)) for c, _ in row.clients.most_common())
    return Refused(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", row.count, clients, row.last)


def reverse(key: bytes) -> bytes:
    """The other direction of a connection."""
    size = (len(key) - 4) // 2
    return key[size : 2 * size] + key[:size] + key[-2:] + key[-4:-2]
