"""What TLS says in the clear at the start of a connection (RFC 8446 section 5.1, RFC 5246 section 6.2): hellos, alerts.

It reads one direction's bytes in order and keeps no more of them than one hello needs. It decrypts nothing, knows
nothing of addresses, and takes any bytes: what is no TLS, or too long, only ends the reading. Sans-IO.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA, HEARTBEAT = range(20, 25)
CLIENT_HELLO, SERVER_HELLO = 1, 2
SERVER_NAME, ALPN, SUPPORTED_VERSIONS = 0, 16, 43
MOST_READ = 64 << 10
"""Bytes of a direction after which nothing in the clear is expected any more."""
MOST_RECORD = (1 << 14) + 2048
"""RFC 5246 section 6.2.3; TLS 1.3 allows less."""
MOST_HELLO = 16 << 10
MOST_NAMES = 16
"""Protocols or versions of one hello that are told."""

VERSIONS = {0x0300: "SSL 3.0", 0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2", 0x0304: "TLS 1.3"}
LEVELS = {1: "warning", 2: "fatal"}
ALERTS = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    21: "decryption_failed",
    22: "record_overflow",
    30: "decompression_failure",
    40: "handshake_failure",
    41: "no_certificate",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    60: "export_restriction",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    100: "no_renegotiation",
    109: "missing_extension",
    110: "unsupported_extension",
    111: "certificate_unobtainable",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
    114: "bad_certificate_hash_value",
    115: "unknown_psk_identity",
    116: "certificate_required",
    120: "no_application_protocol",
}
"""RFC 8446 section 6 and its predecessors; RFC 7301 has the last one."""


class ClientHello(NamedTuple):
    """What a client asks for."""

    server_name: str
    """'' where it names none."""
    alpn: tuple[str, ...]
    versions: tuple[str, ...]
    """Those it offers, best first."""


class ServerHello(NamedTuple):
    """What the server chose."""

    version: str
    alpn: str
    """'' where it is not told here; TLS 1.3 encrypts it."""


class Alert(NamedTuple):
    """An alert that anybody can read."""

    level: str
    name: str


Event = ClientHello | ServerHello | Alert


def begins_tls(data: bytes) -> bool:
    """Whether a stream that starts with these bytes is TLS: the header of a record."""
    return len(data) > 2 and CHANGE_CIPHER_SPEC <= data[0] <= APPLICATION_DATA and data[1] == 3 and data[2] < 5


class TlsReader:
    """One direction of a connection from its first byte on."""

    def __init__(self) -> None:
        self.done = False
        """Nothing that can be read will follow."""
        self._read = 0
        self._header = bytearray()
        self._kind = self._left = self._size = 0
        self._handshake: bytearray | None = bytearray()
        """The beginning of the first handshake message; None once it was read, or cannot be."""
        self._alert = bytearray()

    def feed(self, data: bytes) -> list[Event]:
        """What these bytes complete."""
        out: list[Event] = []
        at = 0
        while at < len(data) and not self.done:
            if self._left == 0:
                at = self._begin(data, at)
                continue
            piece = data[at : at + self._left]
            at += len(piece)
            self._left -= len(piece)
            if self._kind == HANDSHAKE and self._handshake is not None:
                out += self._hello(piece)
            elif self._kind == ALERT and self._size == 2:
                out += self._alerted(piece)
        self._read += len(data)
        self.done = self.done or self._read > MOST_READ
        return out

    def _begin(self, data: bytes, at: int) -> int:
        need = 5 - len(self._header)
        self._header += data[at : at + need]
        if len(self._header) == 5:
            kind, major, minor, size = struct.unpack(">BBBH", self._header)
            self._header.clear()
            self._kind, self._left, self._size = kind, size, size
            # What comes after application data is encrypted, alerts too (RFC 8446 section 5.2).
            self.done = not (CHANGE_CIPHER_SPEC <= kind <= HEARTBEAT and kind != APPLICATION_DATA)
            self.done = self.done or major != 3 or minor > 4 or size > MOST_RECORD
            if kind == CHANGE_CIPHER_SPEC:
                self._handshake = None
        return at + need

    def _hello(self, piece: bytes) -> list[Event]:
        held = self._handshake
        assert held is not None
        held += piece
        if len(held) < 4:
            return []
        kind, size = held[0], int.from_bytes(held[1:4], "big")
        if kind not in _READ or size > MOST_HELLO:
            self._handshake = None
        elif len(held) >= 4 + size:
            self._handshake = None
            try:
                event: Event = _READ[kind](bytes(held[4 : 4 + size]))
                return [event]
            except (IndexError, struct.error):
                pass  # no hello that anybody could answer
        return []

    def _alerted(self, piece: bytes) -> list[Event]:
        # Two bytes are an alert in the clear; an encrypted one is always longer.
        self._alert += piece
        if len(self._alert) < 2:
            return []
        level, what = self._alert
        self._alert.clear()
        return [Alert(LEVELS.get(level, f"level {level}"), ALERTS.get(what, f"alert {what}"))]


def _client_hello(body: bytes) -> ClientHello:
    """RFC 8446 section 4.1.2."""
    (legacy,) = struct.unpack_from(">H", body)
    at = 35 + body[34]
    at += 2 + _u16(body, at)
    at += 1 + body[at]
    found = _extensions(body, at)
    names = found.get(SERVER_NAME, b"")
    versions = found.get(SUPPORTED_VERSIONS, b"")
    offered = [_u16(versions, n) for n in range(1, len(versions) - 1, 2)] or [legacy]
    return ClientHello(
        # RFC 6066 section 3: a list, of which only the first host name counts. It is ASCII.
        names[5 : 5 + _u16(names, 3)].decode("ascii", "backslashreplace") if len(names) > 5 and names[2] == 0 else "",
        _protocols(found.get(ALPN, b"")),
        tuple(_version(v) for v in offered if not _grease(v))[:MOST_NAMES],
    )


def _server_hello(body: bytes) -> ServerHello:
    """RFC 8446 section 4.1.3; also a HelloRetryRequest, which chooses the version as well."""
    (version,) = struct.unpack_from(">H", body)
    found = _extensions(body, 38 + body[34])
    chosen = found.get(SUPPORTED_VERSIONS, b"")
    protocols = _protocols(found.get(ALPN, b""))
    return ServerHello(_version(_u16(chosen, 0) if len(chosen) == 2 else version), protocols[0] if protocols else "")


_READ: dict[int, Callable[[bytes], ClientHello | ServerHello]] = {
    CLIENT_HELLO: _client_hello,
    SERVER_HELLO: _server_hello,
}


def _extensions(body: bytes, at: int) -> dict[int, bytes]:
    """The first of each kind (RFC 8446 section 4.2); TLS 1.2 may have none."""
    found: dict[int, bytes] = {}
    end = min(len(body), at + 2 + _u16(body, at)) if at + 2 <= len(body) else 0
    at += 2
    while at + 4 <= end:
        kind, size = struct.unpack_from(">HH", body, at)
        found.setdefault(kind, body[at + 4 : min(end, at + 4 + size)])
        at += 4 + size
    return found


def _protocols(value: bytes) -> tuple[str, ...]:
    """RFC 7301 section 3.1."""
    out: list[str] = []
    at = 2
    while at < len(value) and len(out) < MOST_NAMES:
        name = value[at + 1 : at + 1 + value[at]]
        # Browsers mix in reserved names that mean nothing (RFC 8701).
        if not (len(name) == 2 and _grease(_u16(name, 0))):
            out.append(name.decode("utf-8", "backslashreplace"))
        at += 1 + value[at]
    return tuple(out)


def _u16(data: bytes, at: int) -> int:
    return int(struct.unpack_from(">H", data, at)[0])


def _version(number: int) -> str:
    return VERSIONS.get(number, f"{number:#06x}")


def _grease(number: int) -> bool:
    """Values that clients offer to keep servers honest (RFC 8701)."""
    return number & 0x0F0F == 0x0A0A and number >> 8 == number & 0xFF
