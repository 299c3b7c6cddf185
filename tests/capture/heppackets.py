"""HEP packets as agents write them, chunk by chunk."""

from __future__ import annotations

import struct
import zlib
from ipaddress import ip_address

SECONDS, MICROS = 1_763_000_000, 123_456


def chunk(kind: int, value: bytes, vendor: int = 0) -> bytes:
    """One chunk of HEP 3."""
    return struct.pack(">HHH", vendor, kind, len(value) + 6) + value


def hep3(
    data: bytes,
    *extra: bytes,
    src: str = "192.0.2.1",
    dst: str = "198.51.100.2",
    protocol: int = 17,
    kind: int = 1,
    compress: bool = False,
    ports: tuple[int, int] = (5060, 5080),
    later: int = 0,
) -> bytes:
    """A whole packet; `extra` are more chunks, put before the payload, `later` microseconds."""
    a, b = ip_address(src), ip_address(dst)
    v6 = a.version == 6
    body = b"".join(
        (
            chunk(1, bytes([10 if v6 else 2])),
            chunk(2, bytes([protocol])),
            chunk(5 if v6 else 3, a.packed),
            chunk(6 if v6 else 4, b.packed),
            chunk(7, struct.pack(">H", ports[0])),
            chunk(8, struct.pack(">H", ports[1])),
            chunk(9, struct.pack(">I", SECONDS)),
            chunk(10, struct.pack(">I", MICROS + later)),
            chunk(11, bytes([kind])),
            chunk(12, struct.pack(">I", 2001)),
            *extra,
            chunk(16, zlib.compress(data)) if compress else chunk(15, data),
        )
    )
    return b"HEP3" + struct.pack(">H", len(body) + 6) + body


def hep12(data: bytes, version: int, order: str = "<", src: str = "192.0.2.1", dst: str = "198.51.100.2") -> bytes:
    """A packet of version 1 or 2; `order` is the agent's byte order in the time header."""
    a, b = ip_address(src), ip_address(dst)
    size = 8 + 2 * len(a.packed)
    family = 2 if a.version == 4 else 10
    head = struct.pack(">BBBBHH", version, size if version == 1 else size + 12, family, 17, 5060, 5080)
    time = struct.pack(f"{order}IIHH", SECONDS, MICROS, 7, 0) if version == 2 else b""
    return head + a.packed + b.packed + time + data
