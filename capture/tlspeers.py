"""Who speaks TLS to whom on SIP ports: one row a client address and server, bounded in number. Sans-IO.

It owns the table and joins both directions of a connection. It reads records through `tlsrecords` and decrypts nothing.
"""

from __future__ import annotations

import struct
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from capture.limits import DEFAULT_LIMITS, Limits
from capture.sipstream import Cut
from capture.tlsrecords import Alert, ClientHello, Event, ServerHello, TlsReader

MOST_NAMES = 4
"""Server names, protocols or versions told of one row."""
MOST_ALERTS = 16


@dataclass(frozen=True, slots=True)
class TlsAlert:
    """An alert in the clear, and how often one side sent it."""

    side: str
    """client or server."""
    level: str
    name: str
    count: int


@dataclass(frozen=True, slots=True)
class TlsPeer:
    """What one client address and one server said to each other in TLS."""

    client: str
    server: str
    """ip:port."""
    connections: int
    segments: int
    """TCP segments with data, sent again or not."""
    bytes: int
    first: int
    """ns since the epoch."""
    last: int
    server_names: tuple[str, ...]
    """What clients asked for (SNI)."""
    alpn: tuple[str, ...]
    """What the server chose; else what clients offered."""
    versions: tuple[str, ...]
    """What the server chose; else what clients offered at best."""
    alerts: tuple[TlsAlert, ...]
    unanswered: int
    """Connections with a ClientHello, and neither a ServerHello nor an alert of the server."""


@dataclass(slots=True)
class _Row:
    connections: int = 0
    segments: int = 0
    bytes: int = 0
    first: int = 0
    last: int = 0
    server_names: dict[str, None] = field(default_factory=dict)
    offered_alpn: dict[str, None] = field(default_factory=dict)
    alpn: dict[str, None] = field(default_factory=dict)
    offered: dict[str, None] = field(default_factory=dict)
    versions: dict[str, None] = field(default_factory=dict)
    alerts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    unanswered: int = 0


@dataclass(slots=True)
class _Connection:
    row: bytes
    """Client address, server address, server port."""
    hello_on: TlsStream | None = None
    waiting: bool = False
    """A ClientHello went out and nothing came back yet."""


class TlsStream:
    """One direction, in the place of a SIP stream: it takes the same calls and never finds a message."""

    transport = "tls"
    quiet = False
    between = False
    """Never: none of its bytes may be passed over."""

    def __init__(self, peers: TlsPeers, key: bytes) -> None:
        self._peers, self._key = peers, key
        self._reader = TlsReader()
        self.needed_from = 0

    @property
    def hopeless(self) -> bool:
        """Only encrypted records follow."""
        return self._reader.done

    def feed(self, data: bytes) -> list[Cut]:
        self.needed_from += len(data)
        for event in self._reader.feed(data):
            self._peers.note(self._key, self, event)
        return []

    def gap(self, missing: int, flag: int = 0) -> list[Cut]:
        """Where the next record begins is not known any more."""
        self.needed_from += missing
        self._reader.done = True
        return []

    def finish(self) -> list[Cut]:
        return []

    def pass_over(self, count: int) -> None:
        """Nothing is taken elsewhere from a stream that is never between two messages."""
        raise AssertionError("no byte of a TLS stream is passed over")

    def count(self, ts: int, size: int) -> None:
        """A segment with data was seen."""
        self._peers.count(self._key, ts, size)


class TlsPeers:
    """The table. Keys are those of TCP segments: source and destination address, then both ports."""

    def __init__(self, ports: frozenset[bytes], limits: Limits = DEFAULT_LIMITS) -> None:
        self._ports = ports
        self._limits = limits
        self._rows: OrderedDict[bytes, _Row] = OrderedDict()
        self._connections: OrderedDict[bytes, _Connection] = OrderedDict()
        self.segments = 0

    def open(self, key: bytes) -> TlsStream:
        """A direction that turned out to be TLS."""
        return TlsStream(self, key)

    def count(self, key: bytes, ts: int, size: int) -> None:
        self.segments += 1
        row = self._row(self._connection(key).row)
        row.segments += 1
        row.bytes += size
        row.first = min(row.first or ts, ts)
        row.last = max(row.last, ts)

    def note(self, key: bytes, stream: TlsStream, event: Event) -> None:
        """A direction said something in the clear."""
        connection = self._connection(key)
        if isinstance(event, ClientHello):
            if connection.hello_on is not None or connection.row != _client_first(key):
                # The same ports again, or what looked like the server is the client.
                connection = self._new(key, _client_first(key))
            connection.hello_on, connection.waiting = stream, True
            row = self._row(connection.row)
            row.unanswered += 1
            _add(row.server_names, event.server_name)
            _add(row.offered_alpn, *event.alpn)
            _add(row.offered, *event.versions[:1])
            return
        row = self._row(connection.row)
        from_client = connection.row == _client_first(key)
        if isinstance(event, ServerHello):
            _add(row.versions, event.version)
            _add(row.alpn, event.alpn)
        elif isinstance(event, Alert):
            kind = ("client" if from_client else "server", event.level, event.name)
            if kind in row.alerts or len(row.alerts) < MOST_ALERTS:
                row.alerts[kind] += 1
        if connection.waiting and not from_client:
            connection.waiting = False
            row.unanswered -= 1

    def peers(self) -> tuple[TlsPeer, ...]:
        """The rows as they are now, the latest first."""
        return by_time(_peer(key, row) for key, row in self._rows.items())

    def _connection(self, key: bytes) -> _Connection:
        name = _canonical(key)
        found = self._connections.get(name)
        if found is not None:
            self._connections.move_to_end(name)
            return found
        to_port, from_port = key[-2:] in self._ports, key[-4:-2] in self._ports
        return self._new(key, _client_first(key) if to_port or not from_port else _server_first(key))

    def _new(self, key: bytes, row: bytes) -> _Connection:
        name = _canonical(key)
        old = self._connections.pop(name, None)
        if old is not None and old.hello_on is None and old.row in self._rows:
            # It was counted for the wrong side: no ClientHello had been seen.
            self._rows[old.row].connections -= 1
        elif len(self._connections) >= self._limits.tls_connections:
            self._connections.popitem(last=False)
        self._connections[name] = connection = _Connection(row)
        self._row(row).connections += 1
        return connection

    def _row(self, key: bytes) -> _Row:
        row = self._rows.get(key)
        if row is None:
            if len(self._rows) >= self._limits.tls_peers:
                self._rows.popitem(last=False)
            row = self._rows[key] = _Row()
        else:
            self._rows.move_to_end(key)
        return row


def merged(*tables: Iterable[TlsPeer], most: int = DEFAULT_LIMITS.tls_peers) -> tuple[TlsPeer, ...]:
    """Several tables as one."""
    found: dict[tuple[str, str], TlsPeer] = {}
    for peer in (p for table in tables for p in table):
        key = (peer.client, peer.server)
        found[key] = _sum(found[key], peer) if key in found else peer
    return by_time(found.values())[:most]


def by_time(peers: Iterable[TlsPeer]) -> tuple[TlsPeer, ...]:
    """The latest first."""
    return tuple(sorted(peers, key=lambda p: (-p.last, p.client, p.server)))


def _sum(a: TlsPeer, b: TlsPeer) -> TlsPeer:
    alerts: Counter[tuple[str, str, str]] = Counter()
    for x in (*a.alerts, *b.alerts):
        alerts[x.side, x.level, x.name] += x.count
    return replace(
        a,
        connections=a.connections + b.connections,
        segments=a.segments + b.segments,
        bytes=a.bytes + b.bytes,
        first=min(a.first, b.first),
        last=max(a.last, b.last),
        server_names=tuple(dict.fromkeys(a.server_names + b.server_names))[:MOST_NAMES],
        alpn=tuple(dict.fromkeys(a.alpn + b.alpn))[:MOST_NAMES],
        versions=tuple(dict.fromkeys(a.versions + b.versions))[:MOST_NAMES],
        alerts=_alerts(alerts),
        unanswered=a.unanswered + b.unanswered,
    )


def _peer(key: bytes, row: _Row) -> TlsPeer:
    size = (len(key) - 2) // 2
    server, (port,) = str(ip_address(key[size : 2 * size])), struct.unpack(">H", key[-2:])
    return TlsPeer(
        str(ip_address(key[:size])),
        f"[{server}]:{port}" if ":" in server else f"{server}:{port}",
        row.connections,
        row.segments,
        row.bytes,
        row.first,
        row.last,
        tuple(row.server_names),
        tuple(row.alpn or row.offered_alpn),
        tuple(row.versions or row.offered),
        _alerts(row.alerts),
        row.unanswered,
    )


def _alerts(found: Counter[tuple[str, str, str]]) -> tuple[TlsAlert, ...]:
    return tuple(TlsAlert(*kind, count) for kind, count in found.most_common(MOST_ALERTS))


def _add(names: dict[str, None], *more: str) -> None:
    for name in more:
        if name and len(names) < MOST_NAMES:
            names[name] = None


def _halves(key: bytes) -> tuple[bytes, bytes]:
    size = (len(key) - 4) // 2
    return key[:size] + key[-4:-2], key[size : 2 * size] + key[-2:]


def _canonical(key: bytes) -> bytes:
    """The same for both directions."""
    return b"".join(sorted(_halves(key)))


def _client_first(key: bytes) -> bytes:
    """The row of a connection whose client sent this."""
    return key[:-4] + key[-2:]


def _server_first(key: bytes) -> bytes:
    size = (len(key) - 4) // 2
    return key[size : 2 * size] + key[:size] + key[-4:-2]
