"""Frames as a capture file: byte for byte what was on the wire, with the right link type and nanoseconds. Pure.

pcap where it can say everything, pcapng (draft-ietf-opsawg-pcapng) where it cannot.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from capture.frames import Frame

SNAP = 262_144
PCAP_END = 2**32 * 1_000_000_000
"""2106, in nanoseconds."""


def write_capture(frames: Iterable[Frame], comment: str = "") -> bytes:
    """A classic nanosecond pcap where all frames share a link type, else (or with a comment) a pcapng.

    A pcap counts seconds in 32 bits; frames of a clock beyond that need a pcapng, too."""
    every = list(frames)
    links = {f.link_type for f in every}
    if len(links) <= 1 and not comment and all(0 <= f.ts < PCAP_END for f in every):
        return _pcap(every, links.pop() if links else 1)
    return _pcapng(every, comment)


def _pcap(frames: list[Frame], link: int) -> bytes:
    out = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, SNAP, link)]
    for f in frames:
        seconds, rest = divmod(f.ts, 1_000_000_000)
        out += [struct.pack("<IIII", seconds, rest, len(f.data), max(f.original, len(f.data))), f.data]
    return b"".join(out)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def _block(kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + size + body + size


def _utf8(text: str, most: int) -> bytes:
    """At most so many bytes, and no half of a character at the end."""
    return text.encode("utf-8", "replace")[:most].decode("utf-8", "ignore").encode()


def _pcapng(frames: list[Frame], comment: str) -> bytes:
    options = _option(1, _utf8(comment, 60_000)) + _option(0, b"") if comment else b""
    out = [_block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + options)]
    known: dict[tuple[str, int], int] = {}
    for f in frames:
        key = (f.interface, f.link_type)
        if key not in known:
            known[key] = len(known)
            name = _utf8(f.interface, 255)
            out.append(
                _block(
                    1,
                    struct.pack("<HHI", f.link_type, 0, SNAP)
                    + _option(2, name)
                    + _option(9, b"\x09")
                    + _option(0, b""),
                )
            )
        head = struct.pack(
            "<IIIII", known[key], f.ts >> 32 & 0xFFFFFFFF, f.ts & 0xFFFFFFFF, len(f.data), max(f.original, len(f.data))
        )
        out.append(_block(6, head + f.data))
    return b"".join(out)
