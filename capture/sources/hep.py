"""Packets handed over by proxies and agents in HEP, over UDP, TCP and TLS: one receiver for all that connect.

It owns the sockets, their bounds and what it counts. What a packet means is `capture.hep`'s.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import ssl
import struct
import time
from collections import Counter
from dataclasses import dataclass, field, replace

from capture.frames import Payload
from capture.hep import KEEPALIVE, SIP, HepError, HepStream, parse_hep
from capture.hepframes import PREFIX, kept, to_payload
from sip.errors import Unreachable

log = logging.getLogger(__name__)

MOST_PACKETS = 4096
"""Packets of one poll: enough to work in columns, little enough to be searchable at once."""
MOST_CONNECTIONS = 1024
MOST_AGENTS = 1024
"""Agents that are told apart by name; those beyond share one, for names are whatever a packet says."""
SILENCE = 3600.0
"""Seconds after which a connection that sends nothing is closed."""
RECEIVE_BUFFER = 16 << 20
SO_RXQ_OVFL, SO_RCVBUFFORCE = 40, 33
KINDS = {5: "rtcp", 32: "qos", 34: "qos", 35: "qos", 53: "dns", 54: "isup", 56: "diameter"} | {86: "log", 100: "log"}
KINDS |= dict.fromkeys((87, 88, 89, 96), "control")
"""Protocol types that agents send beside SIP, as they are counted. OpenSIPS numbers its own: 86 is its log, 87 to 89
commands, HTTP requests and connections, 96 which calls belong together."""


@dataclass(slots=True, eq=False)
class _Connection:
    socket: socket.socket
    peer: str
    here: str
    """Our address of it."""
    heard: float
    stream: HepStream = field(default_factory=HepStream)
    shaking_hands: bool = False


class HepReceiver:
    """Listens until `close`. One thread polls it."""

    def __init__(self, key: bytes = b"") -> None:
        self._key = key
        self._selector = selectors.DefaultSelector()
        self._tls: dict[socket.socket, ssl.SSLContext] = {}
        self._overflow: dict[socket.socket, int] = {}
        self._connections: set[_Connection] = set()
        self._agents: set[str] = set()
        self.counters: Counter[str] = Counter()
        """packets, bad, wrong_key, keepalive, refused, and one of each kind that is no SIP."""

    def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Take packets on UDP and TCP of this address, or on TLS alone where a context is given."""
        kinds = [socket.SOCK_STREAM] if tls else [socket.SOCK_DGRAM, socket.SOCK_STREAM]
        for kind in kinds:
            try:
                sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((host, port))
            except (OSError, OverflowError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                raise Unreachable(
                    f"cannot listen for HEP on {host} port {port}: {reason}; choose with --hep"
                ) from error
            sock.setblocking(False)
            if kind == socket.SOCK_DGRAM:
                _widen(sock)
                self._overflow[sock] = 0
            else:
                sock.listen(128)
                if tls is not None:
                    self._tls[sock] = tls
            self._selector.register(sock, selectors.EVENT_READ, None)

    def poll(self, timeout: float) -> list[Payload]:
        """The SIP messages that arrived, waiting up to `timeout` seconds for the first."""
        out: list[Payload] = []
        for key, _ in self._selector.select(timeout):
            if isinstance(key.data, _Connection):
                self._read(key.data, out)
            elif key.fileobj in self._overflow:
                self._datagrams(key.fileobj, out)
            else:
                self._accept(key.fileobj)  # type: ignore[arg-type]
        self._drop_silent()
        return out

    def losses(self) -> int:
        """Datagrams that the kernel dropped since the start, as far as later ones told."""
        return sum(self._overflow.values())

    def close(self) -> None:
        """Stop listening."""
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()

    def _datagrams(self, sock: socket.socket, out: list[Payload]) -> None:
        for _ in range(MOST_PACKETS):
            try:
                data, extra, _, peer = sock.recvmsg(65_535, 64)
            except OSError:
                return
            for level, kind, value in extra:
                if level == socket.SOL_SOCKET and kind == SO_RXQ_OVFL and len(value) == 4:
                    self._overflow[sock] = struct.unpack("I", value)[0]
            self._packet(data, peer[0], sock.getsockname()[0], out)

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            sock, peer = listening.accept()
            if len(self._connections) >= MOST_CONNECTIONS:
                self.counters["refused"] += 1
                sock.close()
                return
            sock.setblocking(False)
            tls = self._tls.get(listening)
            if tls is not None:
                sock = tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            connection = _Connection(
                sock, peer[0], sock.getsockname()[0], time.monotonic(), shaking_hands=tls is not None
            )
            self._connections.add(connection)
            self._selector.register(sock, selectors.EVENT_READ, connection)

    def _read(self, connection: _Connection, out: list[Payload]) -> None:
        sock = connection.socket
        connection.heard = time.monotonic()
        try:
            if connection.shaking_hands:
                sock.do_handshake()  # type: ignore[attr-defined]
                connection.shaking_hands = False
            # TLS may hold more than the kernel shows, so a round ends only when nothing is left.
            while True:
                data = sock.recv(65_536)
                if not data:
                    self._hang_up(connection)
                    return
                before = connection.stream.lost
                for packet in connection.stream.feed(data):
                    self._packet(packet, connection.peer, connection.here, out)
                self.counters["bad"] += connection.stream.lost > before
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as error:
            log.info("HEP from %s: %s", connection.peer, error)
            self._hang_up(connection)

    def _packet(self, data: bytes, peer: str, here: str, out: list[Payload]) -> None:
        counters = self.counters
        counters["packets"] += 1
        try:
            packet = parse_hep(data)
        except HepError:
            counters["bad"] += 1
            return
        if self._key and packet.key != self._key:
            counters["wrong_key"] += 1
        elif (payload := to_payload(packet, (kept(data, packet, time.time_ns(), peer, here),))) is not None:
            out.append(self._named(payload))
        elif packet.kind == KEEPALIVE or not packet.data.strip(b"\r\n\0"):
            counters["keepalive"] += 1
        else:
            counters[KINDS.get(packet.kind, "not_sip" if packet.kind == SIP else "other")] += 1

    def _named(self, payload: Payload) -> Payload:
        """With a name that is one of few."""
        (frame,) = payload.frames
        if frame.interface not in self._agents:
            if len(self._agents) >= MOST_AGENTS:
                return replace(payload, frames=(replace(frame, interface=f"{PREFIX}others"),))
            self._agents.add(frame.interface)
        return payload

    def _drop_silent(self) -> None:
        edge = time.monotonic() - SILENCE
        for connection in [c for c in self._connections if c.heard < edge]:
            self._hang_up(connection)

    def _hang_up(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        self._selector.unregister(connection.socket)
        connection.socket.close()


def server_context(certificate: str, key: str | None) -> ssl.SSLContext:
    """A TLS server's context from PEM files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Unreachable(f"cannot use the certificate {certificate} for HEP over TLS: {reason}") from error
    return context


def _widen(sock: socket.socket) -> None:
    """As large a receive buffer as the kernel gives, and a count of what did not fit."""
    sock.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
