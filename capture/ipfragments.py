"""IP fragments put together (RFC 791 section 3.2, RFC 8200 section 4.5): any order, bounded, the first copy of a byte wins. Sans-IO."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from capture.frames import Frame

LIFETIME_NS = {4: 30_000_000_000, 6: 60_000_000_000}
MAX_OPEN = 4096
MAX_PIECES = 128
MAX_BYTES = 65_535
Key = tuple[str, str, int, int, int]
"""(source, destination, identification, protocol, IP version)."""


@dataclass(slots=True)
class Partial:
    """A datagram that is not whole yet."""

    since: int
    pieces: dict[int, bytes] = field(default_factory=dict)
    frames: list[Frame] = field(default_factory=list)
    total: int | None = None


class Fragments:
    """Open datagrams. `add` gives the whole payload once it is there; `expired` what will never be."""

    def __init__(self) -> None:
        self._open: OrderedDict[Key, Partial] = OrderedDict()

    def add(self, key: Key, offset: int, more: bool, data: bytes, frame: Frame) -> tuple[bytes, tuple[Frame, ...]] | None:
        """One fragment; returns (payload, frames in order of arrival) when it completes its datagram."""
        partial = self._open.setdefault(key, Partial(frame.ts))
        if frame not in partial.frames:
            partial.frames.append(frame)
        if offset + len(data) > MAX_BYTES or len(partial.pieces) >= MAX_PIECES:
            return None
        partial.pieces.setdefault(offset, data)
        if not more:
            partial.total = offset + len(data) if partial.total is None else partial.total
        whole = _whole(partial)
        if whole is None:
            return None
        del self._open[key]
        return whole, tuple(partial.frames)

    def expired(self, now: int | None) -> list[tuple[Key, bytes, tuple[Frame, ...]]]:
        """Datagrams given up (too old, or too many open; all of them when `now` is None), with the bytes from their start."""
        out = []
        for key, partial in list(self._open.items()):
            if now is not None and len(self._open) <= MAX_OPEN and now - partial.since <= LIFETIME_NS[key[4]]:
                break
            del self._open[key]
            out.append((key, _start(partial), tuple(partial.frames)))
        return out

    def frames(self) -> list[Frame]:
        """Frames of everything that is still open."""
        return [f for p in self._open.values() for f in p.frames]


def _start(partial: Partial) -> bytes:
    out = bytearray()
    for offset in sorted(partial.pieces):
        if offset > len(out):
            break
        out += partial.pieces[offset][len(out) - offset:]
    return bytes(out)


def _whole(partial: Partial) -> bytes | None:
    if partial.total is None or 0 not in partial.pieces:
        return None
    out = _start(partial)
    return out[:partial.total] if len(out) >= partial.total else None
