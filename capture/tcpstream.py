"""TCP connections as two byte streams (RFC 9293), each cut into SIP messages. Sans-IO: time comes with the segments.

Out-of-order segments wait (bounded in bytes and time); retransmitted and overlapping bytes count once; a hole that stays
is skipped, flagged and counted; connections already open when capture began are joined at the next start line.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from capture.frames import Frame
from capture.sipstream import Cut, SipStream

MAX_WAITING = 64 * 1024
WAIT_NS = 3_000_000_000
MAX_STREAMS = 20_000
GIVE_UP = 2048
"""A stream on no SIP port whose first bytes hold no start line is left alone after this many bytes."""
SYN, FIN, RST = 2, 1, 4
Key = tuple[str, int, str, int]


@dataclass(slots=True)
class _Direction:
    sip: SipStream = field(default_factory=SipStream)
    next: int | None = None
    """Sequence number expected next."""
    at: int = 0
    """Stream position of that number."""
    waiting: dict[int, tuple[bytes, Frame]] = field(default_factory=dict)
    waiting_since: int = 0
    parts: list[tuple[int, int, Frame]] = field(default_factory=list)
    """(start, end, frame) of bytes that the SIP stream still holds."""
    ignored: bool = False


def _ahead(a: int, b: int) -> int:
    """Signed distance from b to a in sequence space."""
    return (a - b + 0x80000000) % 0x100000000 - 0x80000000


class TcpStreams:
    """All connections. `segment` gives finished messages with the frames that carried them."""

    def __init__(self, sip_ports: frozenset[int]) -> None:
        self._ports = sip_ports
        self._open: OrderedDict[Key, _Direction] = OrderedDict()
        self.gaps = 0
        self.evicted = 0

    def segment(self, key: Key, seq: int, flags: int, data: bytes, frame: Frame) -> list[tuple[Cut, tuple[Frame, ...]]]:
        """One TCP segment; `key` is (src, sport, dst, dport)."""
        d = self._open.get(key)
        if d is None:
            if not data and not flags & SYN:
                return []
            d = self._open[key] = _Direction()
            if len(self._open) > MAX_STREAMS:
                self._open.popitem(last=False)
                self.evicted += 1
        else:
            self._open.move_to_end(key)
        if flags & SYN:
            fresh = (seq + 1) & 0xFFFFFFFF
            if d.next is not None and d.next != fresh:
                d = self._open[key] = _Direction()
            d.next = fresh
            seq = fresh
        if d.ignored:
            return []
        out: list[tuple[Cut, tuple[Frame, ...]]] = []
        if data:
            if d.next is None:
                d.next = seq
            self._accept(d, seq, data, frame, out)
            if d.waiting and (sum(len(w) for w, _ in d.waiting.values()) > MAX_WAITING or frame.ts - d.waiting_since > WAIT_NS):
                self._skip(d, out)
            if d.sip.quiet and d.at > GIVE_UP and not (key[1] in self._ports or key[3] in self._ports):
                d.ignored, d.waiting, d.parts = True, {}, []
        if flags & (FIN | RST) and not d.waiting:
            out += self._cuts(d, d.sip.finish())
            if flags & RST or self._open.get(key) is d:
                self._open.pop(key, None)
        return out

    def flush(self) -> list[tuple[Key, Cut, tuple[Frame, ...]]]:
        """The end of the capture: what waits behind a hole, and what was begun."""
        out: list[tuple[Key, Cut, tuple[Frame, ...]]] = []
        for key, d in self._open.items():
            mine: list[tuple[Cut, tuple[Frame, ...]]] = []
            while d.waiting:
                self._skip(d, mine)
            mine += self._cuts(d, d.sip.finish())
            out += [(key, cut, frames) for cut, frames in mine]
        self._open.clear()
        return out

    def frames(self) -> list[Frame]:
        """Frames that hold bytes of unfinished messages."""
        return [f for d in self._open.values() for f in [*(p[2] for p in d.parts), *(w[1] for w in d.waiting.values())]]

    def _accept(self, d: _Direction, seq: int, data: bytes, frame: Frame, out: list[tuple[Cut, tuple[Frame, ...]]]) -> None:
        assert d.next is not None
        ahead = _ahead(seq, d.next)
        if ahead > 0:
            if ahead > 1 << 30:
                return
            if not d.waiting:
                d.waiting_since = frame.ts
            old = d.waiting.get(seq)
            if old is None or len(old[0]) < len(data):
                d.waiting[seq] = (data, frame)
            return
        self._append(d, data[-ahead:] if ahead else data, frame, out)
        while d.waiting:
            ready = next((s for s in d.waiting if _ahead(s, d.next) <= 0), None)
            if ready is None:
                return
            late, late_frame = d.waiting.pop(ready)
            self._append(d, late[-_ahead(ready, d.next):] if _ahead(ready, d.next) else late, late_frame, out)

    def _append(self, d: _Direction, data: bytes, frame: Frame, out: list[tuple[Cut, tuple[Frame, ...]]]) -> None:
        if not data:
            return
        assert d.next is not None
        d.parts.append((d.at, d.at + len(data), frame))
        d.next = (d.next + len(data)) & 0xFFFFFFFF
        d.at += len(data)
        out += self._cuts(d, d.sip.feed(data))

    def _cuts(self, d: _Direction, cuts: list[Cut]) -> list[tuple[Cut, tuple[Frame, ...]]]:
        out = [(cut, tuple(f for a, b, f in d.parts if a < cut.end and b > cut.start)) for cut in cuts]
        held = d.sip.needed_from
        d.parts = [p for p in d.parts if p[1] > held]
        return out

    def _skip(self, d: _Direction, out: list[tuple[Cut, tuple[Frame, ...]]]) -> None:
        """Go on behind the hole."""
        assert d.next is not None
        expected = d.next
        nearest = min(d.waiting, key=lambda s: _ahead(s, expected))
        missing = _ahead(nearest, d.next)
        self.gaps += 1
        out += self._cuts(d, d.sip.gap(missing))
        d.parts.clear()
        d.at += missing
        d.next = nearest
        data, frame = d.waiting.pop(nearest)
        d.waiting_since = frame.ts
        self._accept(d, nearest, data, frame, out)
