"""SCTP user messages out of DATA chunks (RFC 9260 sections 3.3.1 and 6.9), which SIP rides on one each (RFC 4168).

It owns the fragments of messages that are not whole yet, and remembers numbers (TSN) that went by, to know a chunk that
was sent again. Sans-IO: time comes with the frames.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from typing import NamedTuple

from capture.flags import STREAM_GAP, TRUNCATED
from capture.frames import Frame
from capture.limits import DEFAULT_LIMITS, Limits
from capture.links import Unreadable
from capture.sipstream import Cut, looks_like_sip
from capture.tcpdirection import Found

DATA, LAST, FIRST, WHOLE = 0, 1, 2, 3
COPY_NS = 400_000_000
"""Nobody sends a chunk again sooner (RTO.Min is 1 s, RFC 9260 section 16): sooner it is a mirror port's copy."""
_TSN = 0xFFFFFFFF


class _Place(NamedTuple):
    """A chunk's place: its association in one direction (addresses, ports, verification tag), and its number."""

    flow: bytes
    tsn: int


class _Piece(NamedTuple):
    since: int
    bits: int
    data: bytes
    missing: bool
    """The capture cut it."""
    frames: tuple[Frame, ...]
    flags: int
    ip_id: int


class SctpMessages:
    """Associations of one capture. Bounded by `Limits` in number, bytes and time."""

    def __init__(self, sip_ports: frozenset[int], limits: Limits = DEFAULT_LIMITS) -> None:
        self._ports = sip_ports
        self._limits = limits
        self._waiting: OrderedDict[_Place, _Piece] = OrderedDict()
        self._done: OrderedDict[_Place, int] = OrderedDict()
        self._weight = 0
        self.lost = 0
        """Messages of which some, not all, fragments came."""

    def packet(
        self, addresses: bytes, body: bytes, frames: tuple[Frame, ...], flags: int, ip_id: int, out: list[Found]
    ) -> bool:
        """One SCTP packet; adds the messages that it completes to `out` and tells whether it may lead to SIP.

        Raises: Unreadable, when there is no SCTP header."""
        if len(body) < 12:
            raise Unreadable("short SCTP header")
        flow, at, before = addresses + body[:8], 12, len(out)
        while at + 4 <= len(body):
            kind, bits, size = struct.unpack_from(">BBH", body, at)
            if kind == DATA and size > 16 and at + 16 <= len(body):
                place = _Place(flow, int.from_bytes(body[at + 4 : at + 8], "big"))
                data, missing = body[at + 16 : at + size], at + size > len(body)
                self._chunk(place, _Piece(frames[-1].ts, bits & 3, data, missing, frames, flags, ip_id), out)
            at += max(4, (size + 3) & ~3)
        return len(out) > before or self._expected(flow)

    def expired(self, now: int | None, out: list[Found]) -> None:
        """Give up what is too old, or too much (everything when `now` is None): a message's beginning goes to `out`."""
        limits = self._limits
        while self._waiting:
            place, piece = next(iter(self._waiting.items()))
            crowded = len(self._waiting) > limits.datagrams or self._weight > limits.fragment_bytes
            if now is not None and not crowded and now - piece.since <= limits.stall_ns:
                break
            places = self._run(place, across_holes=True)
            run = self._take(places)
            together = [piece for n, piece in enumerate(run) if places[n].tsn == (places[0].tsn + n) & _TSN]
            begins = bool(run[0].bits & FIRST) and looks_like_sip(_joined(together))
            if begins:
                out.append(_found(place.flow, together, STREAM_GAP | TRUNCATED))
            self.lost += begins or self._expected(place.flow)

    def frames(self) -> list[Frame]:
        """Frames of everything that is still open."""
        return [f for piece in self._waiting.values() for f in piece.frames]

    def _expected(self, flow: bytes) -> bool:
        return not self._ports.isdisjoint(struct.unpack(">HH", flow[-8:-4]))

    def _chunk(self, place: _Place, piece: _Piece, out: list[Found]) -> None:
        whole = piece.bits == WHOLE
        if whole and not looks_like_sip(piece.data):
            return
        done = self._done.get(place)
        if place in self._waiting or (done is not None and not (whole and 0 <= piece.since - done < COPY_NS)):
            return
        if whole:
            out.append(_found(place.flow, [piece], 0))
            self._remember(place, piece.since)
            return
        self._waiting[place] = piece
        self._weight += _weight(piece)
        places = self._run(place)
        if self._waiting[places[0]].bits & FIRST and self._waiting[places[-1]].bits & LAST:
            run = self._take(places)
            for each in places:
                self._remember(each, piece.since)
            if looks_like_sip(_joined(run)):
                out.append(_found(place.flow, run, 0))

    def _remember(self, place: _Place, now: int) -> None:
        self._done[place] = now
        if len(self._done) > self._limits.datagrams:
            self._done.popitem(last=False)

    def _run(self, place: _Place, across_holes: bool = False) -> list[_Place]:
        """The fragments of one message around this one, in order; as far as there is no hole, or all that are here."""
        waiting = self._waiting

        def walk(step: int, end: int, other: int) -> list[_Place]:
            found, at = list[_Place](), place
            for _ in range(self._limits.fragments if not waiting[place].bits & end else 0):
                at = at._replace(tsn=(at.tsn + step) & _TSN)
                if at in waiting and not waiting[at].bits & other:
                    found.append(at)
                if waiting[at].bits if at in waiting else 0 if across_holes else WHOLE:
                    break
            return found

        return [*reversed(walk(-1, FIRST, LAST)), place, *walk(1, LAST, FIRST)]

    def _take(self, places: list[_Place]) -> list[_Piece]:
        run = [self._waiting.pop(place) for place in places]
        self._weight -= sum(map(_weight, run))
        return run


def _weight(piece: _Piece) -> int:
    return 200 + sum(200 + len(frame.data) for frame in piece.frames)


def _joined(run: list[_Piece]) -> bytes:
    return b"".join(piece.data for piece in run)


def _found(flow: bytes, run: list[_Piece], flags: int) -> Found:
    for piece in run:
        flags |= piece.flags | (TRUNCATED if piece.missing else 0)
    frames = {id(frame): frame for piece in sorted(run, key=lambda p: p.since) for frame in piece.frames}
    data = _joined(run)
    return Found(flow[:-4], "sctp", Cut(data, 0, 0, len(data)), tuple(frames.values()), flags, run[0].ip_id)
