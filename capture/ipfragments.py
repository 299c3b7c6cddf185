"""IP fragments put together (RFC 791 section 3.2, RFC 8200 section 4.5): any order, bounded, the first copy wins.

It owns datagrams that are not whole yet, and remembers those that just became whole, to know late copies of their
fragments. Sans-IO: time comes with the frames.
"""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import NamedTuple

from capture.frames import Frame
from capture.limits import DEFAULT_LIMITS, SECOND, Limits

LIFETIME_NS = {4: 30 * SECOND, 6: 60 * SECOND}
"""RFC 1122 section 3.3.2 asks for 60 to 120 s, hosts wait 30 s; RFC 8200 section 4.5: 60 s."""
MAX_DATAGRAM = 65_535


class Key(NamedTuple):
    """What fragments of one datagram have in common. (IPv6 does without the protocol, but it is the same in all.)"""

    src: bytes
    dst: bytes
    ident: int
    proto: int

    @property
    def version(self) -> int:
        """4 or 6."""
        return 4 if len(self.src) == 4 else 6


class Datagram(NamedTuple):
    """A payload, or its beginning, with the frames that carried it in order of arrival."""

    key: Key
    data: bytes
    frames: tuple[Frame, ...]
    flags: int


@dataclass(slots=True)
class _Partial:
    since: int
    flags: int = 0
    pieces: list[tuple[int, bytes]] = field(default_factory=list)
    """(offset, bytes) in order, not overlapping."""
    copies: set[tuple[int, int, int]] = field(default_factory=set)
    frames: dict[int, Frame] = field(default_factory=dict)
    total: int | None = None
    have: int = 0
    weight: int = 0
    hopeless: bool = False


class Fragments:
    """Open datagrams. `add` gives the whole payload once it is there; `expired` what will never be."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._open: dict[int, OrderedDict[Key, _Partial]] = {4: OrderedDict(), 6: OrderedDict()}
        self._done: OrderedDict[Key, tuple[int, set[tuple[int, int, int]]]] = OrderedDict()
        self._weight = 0

    def add(
        self, key: Key, offset: int, more: bool, data: bytes, frames: tuple[Frame, ...], flags: int = 0
    ) -> Datagram | None:
        """One fragment; returns the datagram when it completes it."""
        now = frames[-1].ts
        copy = (offset, len(data), hash(data))
        done = self._done.get(key)
        if done is not None:
            if copy in done[1] and now - done[0] <= LIFETIME_NS[key.version]:
                return None
            del self._done[key]
        table = self._open[key.version]
        partial = table.get(key)
        if partial is None:
            partial = table[key] = _Partial(now)
        if copy in partial.copies or partial.hopeless:
            return None
        if offset + len(data) > MAX_DATAGRAM or len(partial.copies) >= self._limits.fragments:
            partial.hopeless = True
            return None
        partial.flags |= flags
        partial.copies.add(copy)
        for frame in frames:
            if id(frame) not in partial.frames:
                partial.frames[id(frame)] = frame
                partial.weight += len(frame.data) + 200
                self._weight += len(frame.data) + 200
        if not more and partial.total is None:
            partial.total = offset + len(data)
        _fill(partial, offset, data)
        if partial.total is None or partial.have < partial.total or len(whole := _start(partial)) < partial.total:
            return None
        self._forget(key)
        self._done[key] = (now, partial.copies)
        if len(self._done) > self._limits.datagrams:
            self._done.popitem(last=False)
        return Datagram(key, whole[: partial.total], tuple(partial.frames.values()), partial.flags)

    def expired(self, now: int | None) -> list[Datagram]:
        """Datagrams given up (too old, or too much is held; all when `now` is None), as far as they begin."""
        out: list[Datagram] = []
        for version, table in self._open.items():
            while table:
                key, partial = next(iter(table.items()))
                crowded = len(table) > self._limits.datagrams or self._weight > self._limits.fragment_bytes
                if now is not None and not crowded and now - partial.since <= LIFETIME_NS[version]:
                    break
                self._forget(key)
                out.append(Datagram(key, _start(partial), tuple(partial.frames.values()), partial.flags))
        return out

    def frames(self) -> list[Frame]:
        """Frames of everything that is still open."""
        return [f for table in self._open.values() for p in table.values() for f in p.frames.values()]

    def _forget(self, key: Key) -> None:
        self._weight -= self._open[key.version].pop(key).weight


def _fill(partial: _Partial, offset: int, data: bytes) -> None:
    """Put in what is not there yet."""
    end = offset + len(data)
    at, fresh = offset, []
    for start, piece in partial.pieces:
        if start >= end:
            break
        if start > at:
            fresh.append((at, data[at - offset : start - offset]))
        at = max(at, start + len(piece))
    if at < end:
        fresh.append((at, data[at - offset :]))
    for piece_at, piece in fresh:
        insort(partial.pieces, (piece_at, piece))
        partial.have += len(piece)


def _start(partial: _Partial) -> bytes:
    out = []
    at = 0
    for offset, piece in partial.pieces:
        if offset != at:
            break
        out.append(piece)
        at += len(piece)
    return b"".join(out)
