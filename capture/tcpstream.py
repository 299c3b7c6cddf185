"""TCP connections as two byte streams (RFC 9293), each cut into SIP messages. Sans-IO: time comes with the segments.

Out-of-order segments wait (bounded in bytes and time); retransmitted and overlapping bytes count once, the first copy
wins; a hole that stays is skipped, flagged and counted; connections already open when capture began are joined at a
start line. Of TLS on SIP ports only what it says in the clear is read, into `tls`. Positions count bytes from the first
one seen, so that sequence numbers may wrap.
"""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict

from capture.flags import CLOSED, RESET, STREAM_GAP, TRUNCATED
from capture.frames import Frame
from capture.limits import DEFAULT_LIMITS, Limits
from capture.sipstream import Cut, SipStream
from capture.tcpdirection import Direction, Found, Part, Segment, Waiting, place_in_stream, weight_of
from capture.tcprefused import Refusals, reverse
from capture.tlspeers import TlsPeers, TlsStream
from capture.tlsrecords import begins_tls
from capture.websocket import WebStream

FIN, SYN, RST = 1, 2, 4
FAR = 1 << 20
"""A jump beyond any window in use: another connection on the same ports, or nonsense."""
STRAYS = {True: 3, False: 64}
"""So many segments in a row far away, or old ones, and the stream goes on where they are."""
EARLY = 4
"""First segments kept of a connection joined midway."""
_WRAP, _HALF = 0xFFFFFFFF, 0x80000000


class TcpStreams:
    """All connections. `segment` and `tick` add finished messages, with the frames that carried them, to `out`."""

    def __init__(
        self, sip_ports: frozenset[int], ws_ports: frozenset[int] = frozenset(), limits: Limits = DEFAULT_LIMITS
    ) -> None:
        self._ports = frozenset(p.to_bytes(2, "big") for p in sip_ports | ws_ports)
        self._limits = limits
        self._open: OrderedDict[bytes, Direction] = OrderedDict()
        self._holes: dict[bytes, int] = {}
        """Streams that wait behind a hole, and since when."""
        self._begun: OrderedDict[bytes, int] = OrderedDict()
        """Streams that hold bytes of a message, and when they last got some."""
        self._weight = 0
        self.gaps = self.evicted = 0
        self.tls = TlsPeers(self._ports, limits)
        self.refusals = Refusals(self._ports)
        self.touched: set[bytes] = set()
        """Streams that changed since somebody cleared this."""

    def segment(self, s: Segment, out: list[Found]) -> bool:
        """One segment; returns whether its stream may lead to SIP."""
        led = self._segment(s, out)
        if s.bits & (FIN | RST):
            self._over(s, out)
        return led

    def _segment(self, s: Segment, out: list[Found]) -> bool:
        if s.bits & (SYN | RST):
            self.refusals.note(s.key, s.bits, s.frames[-1].ts)
        d = self._open.get(s.key)
        self.touched.add(s.key)
        if d is None:
            if not (s.data or s.missing or s.bits & SYN):
                return self._on_port(s.key)
            d = self._begin(s.key, out)
        else:
            self._open.move_to_end(s.key)
        seq = s.seq
        if s.bits & SYN:
            seq = (seq + 1) & _WRAP
            if d.next is not None and (d.next - d.at) & _WRAP != seq:
                self._close(s.key, d, out)
                d = self._open[s.key] = self._new(s.key)
            if d.next is None:
                d.next = seq
            self._past_early(d)
        if (s.data or s.missing) and not d.ignored:
            d = self._data(d, seq, s, out)
        tls = d.stream if isinstance(d.stream, TlsStream) else None
        if tls is not None and (s.data or s.missing):
            tls.count(s.frames[-1].ts, len(s.data) + s.missing)
        if d.ignored:
            return False
        if s.bits & FIN and d.next is not None:
            ahead = _ahead(seq + len(s.data) + s.missing, d.next)
            if abs(ahead) <= FAR:
                d.end = d.at + ahead
        if s.bits & RST or (d.end is not None and d.at >= d.end):
            self._close(s.key, d, out)
            d.end = None
        self._note(s.key, d, s.frames[-1].ts, out)
        return not d.ignored and tls is None and (d.expected or not d.stream.quiet or d.at < self._limits.give_up)

    def _over(self, s: Segment, out: list[Found]) -> None:
        """The first FIN or RST of a connection that carried SIP is told; what follows it is its consequence."""
        own, other = self._open.get(s.key), self._open.get(reverse(s.key))
        both = [d for d in (own, other) if d is not None]
        carried = next((d for d in both if d.carried), None)
        if carried is None or any(d.over for d in both):
            return
        if own is not None and own.next is not None and abs(_ahead(s.seq, own.next)) > FAR:
            return  # of an older connection on the same ports, or a blind guess (RFC 5961 section 3)
        for d in both:
            d.over = True
        flag = RESET if s.bits & RST else CLOSED
        cut = Cut(b"", flag, carried.at, carried.at)
        out.append(Found(s.key, carried.stream.transport, cut, s.frames, s.flags, s.ip_id))

    def between(self, key: bytes) -> int | None:
        """The sequence number at which a stream goes on that stands between two messages; None for all others."""
        d = self._open.get(key)
        if d is None or d.ignored or d.parts or d.waiting or d.end is not None or not d.stream.between:
            return None
        self._past_early(d)
        return d.next

    def advance(self, key: bytes, count: int) -> None:
        """Whole messages of so many bytes were taken elsewhere from a stream that stood between two messages."""
        d = self._open[key]
        self._open.move_to_end(key)
        self._forward(d, count)
        d.stream.pass_over(count)
        d.strays = 0

    def tick(self, now: int, out: list[Found]) -> None:
        """Time has come to `now`: skip old holes, give up what was begun long ago."""
        while self._holes:
            key, since = next(iter(self._holes.items()))
            if now - since <= self._limits.hole_ns:
                break
            d = self._open[key]
            self.touched.add(key)
            self._skip(d, out)
            del self._holes[key]
            self._note(key, d, now, out)
        while self._begun:
            key, last = next(iter(self._begun.items()))
            if now - last <= self._limits.stall_ns:
                break
            d = self._open[key]
            self.touched.add(key)
            self._emit(key, d, d.stream.finish(), out)
            del self._begun[key]
            self._note(key, d, now, out)

    def flush(self, out: list[Found]) -> None:
        """The end of the capture: what waits behind a hole, and what was begun."""
        for key, d in self._open.items():
            self._close(key, d, out)
        self._open.clear()
        self._holes.clear()
        self._begun.clear()
        self._weight = 0

    def frames(self) -> list[Frame]:
        """Frames that hold bytes of unfinished messages."""
        open_ = [self._open[key] for key in {**self._begun, **self._holes}]
        segments = [s for d in open_ for s in ([p.segment for p in d.parts] + [w.segment for w in d.waiting])]
        return [f for segment in segments for f in segment.frames]

    def _on_port(self, key: bytes) -> bool:
        return key[-4:-2] in self._ports or key[-2:] in self._ports

    def _new(self, key: bytes) -> Direction:
        expected = self._on_port(key)
        limit = self._limits.stream_bytes
        return Direction(WebStream(limit) if expected else SipStream(limit), expected)

    def _begin(self, key: bytes, out: list[Found]) -> Direction:
        if len(self._open) >= self._limits.streams:
            self._evict(next(iter(self._open)), out)
        d = self._open[key] = self._new(key)
        return d

    def _evict(self, key: bytes, out: list[Found]) -> None:
        d = self._open.pop(key)
        self.touched.add(key)
        self._close(key, d, out)
        self._holes.pop(key, None)
        self._begun.pop(key, None)
        self._weight -= d.counted
        self.evicted += 1

    def _note(self, key: bytes, d: Direction, now: int, out: list[Found]) -> None:
        """Keep the books of one stream after it changed."""
        limits = self._limits
        if d.waiting and (d.waiting_bytes > limits.hole_bytes or len(d.waiting) > limits.segments):
            self._skip(d, out)
            self._holes.pop(key, None)
        if len(d.parts) > limits.segments:
            self._emit(key, d, d.stream.finish(), out)
        if d.stream.hopeless or (not d.expected and d.stream.quiet and d.at > limits.give_up):
            self._ignore(d)
        if d.waiting:
            self._holes.setdefault(key, now)
        elif self._holes:
            self._holes.pop(key, None)
        if d.parts:
            self._begun[key] = now
            self._begun.move_to_end(key)
        elif self._begun:
            self._begun.pop(key, None)
        self._weight += d.weight - d.counted
        d.counted = d.weight
        while self._weight > limits.held_bytes:
            self._evict(next(iter(self._begun or self._holes or self._open)), out)

    def _ignore(self, d: Direction) -> None:
        d.ignored, d.early, d.weight, d.waiting_bytes = True, None, 0, 0
        d.waiting.clear()
        d.parts.clear()

    def _past_early(self, d: Direction) -> None:
        if d.early is not None:
            d.weight -= sum(weight_of(w.segment) for w in d.early)
            d.early = None

    def _drop_parts(self, d: Direction, before: int) -> None:
        while d.parts and d.parts[0].end <= before:
            d.weight -= weight_of(d.parts.pop(0).segment)

    def _data(self, d: Direction, seq: int, s: Segment, out: list[Found]) -> Direction:
        if d.next is None:
            d.next, d.early = seq, []
        if d.at == 0 and begins_tls(s.data) and not isinstance(d.stream, TlsStream):
            if not d.expected:
                self._ignore(d)
                return d
            d.stream = self.tls.open(s.key)
            self._past_early(d)
        ahead = _ahead(seq, d.next)
        at = d.at + ahead
        if d.early is not None:
            if d.stream.quiet and len(d.early) < EARLY:
                if -FAR < at < 0:
                    return self._rejoin(d, at, s, out)
                d.early.append(Waiting(at, s))
                d.weight += weight_of(s)
            else:
                self._past_early(d)
        old = at + len(s.data) + s.missing <= d.at
        if old or abs(ahead) > FAR:
            # A keep-alive probe (RFC 9293 section 3.8.4) and a retransmission carry nothing new.
            d.strays += 1
            if d.strays < STRAYS[abs(ahead) > FAR]:
                return d
            self._close(s.key, d, out)
            self.gaps += 1
            d.next, d.end, at = seq, None, d.at
            self._emit(s.key, d, d.stream.gap(0), out)
        d.strays = 0
        if at > d.at:
            self._wait(d, at, s)
        else:
            self._take(d, at, s, out)
            self._drain(d, out)
        return d

    def _rejoin(self, d: Direction, at: int, s: Segment, out: list[Found]) -> Direction:
        """Nothing was made of this stream yet, and a segment from before its first one arrives: begin again there."""
        pieces = sorted([Waiting(at, s), *(d.early or [])], key=place_in_stream)
        origin = pieces[0].at
        fresh = self._open[s.key] = self._new(s.key)
        fresh.next, fresh.counted = pieces[0].segment.seq, d.counted
        fresh.end = None if d.end is None else d.end - origin
        fresh.early = [Waiting(p.at - origin, p.segment) for p in pieces]
        fresh.weight = sum(weight_of(p.segment) for p in pieces)
        for place, segment in fresh.early:
            self._wait(fresh, place, segment)
        self._drain(fresh, out)
        return fresh

    def _wait(self, d: Direction, at: int, s: Segment) -> None:
        for w in d.waiting:
            if w.at == at and len(w.segment.data) >= len(s.data):
                return
        insort(d.waiting, Waiting(at, s), key=place_in_stream)
        d.waiting_bytes += len(s.data)
        d.weight += weight_of(s)

    def _drain(self, d: Direction, out: list[Found]) -> None:
        while d.waiting and d.waiting[0].at <= d.at:
            at, segment = d.waiting.pop(0)
            d.waiting_bytes -= len(segment.data)
            d.weight -= weight_of(segment)
            self._take(d, at, segment, out)

    def _take(self, d: Direction, at: int, s: Segment, out: list[Found]) -> None:
        """A segment that continues the stream, or overlaps its end."""
        data = s.data[d.at - at :] if d.at > at else s.data
        missing = min(s.missing, at + len(s.data) + s.missing - d.at)
        if data:
            d.parts.append(Part(d.at, d.at + len(data), s))
            d.weight += weight_of(s)
            self._forward(d, len(data))
            self._emit(s.key, d, d.stream.feed(data), out)
        if missing > 0:
            self._emit(s.key, d, d.stream.gap(missing, TRUNCATED), out)
            self._forward(d, missing)

    def _forward(self, d: Direction, count: int) -> None:
        assert d.next is not None
        d.next = (d.next + count) & _WRAP
        d.at += count

    def _skip(self, d: Direction, out: list[Found]) -> None:
        """Go on behind the hole."""
        first = d.waiting[0]
        missing = first.at - d.at
        self.gaps += 1
        self._emit(first.segment.key, d, d.stream.gap(missing, STREAM_GAP), out)
        self._forward(d, missing)
        self._drain(d, out)

    def _close(self, key: bytes, d: Direction, out: list[Found]) -> None:
        """No more will come; the place in the sequence is kept, to know late retransmissions."""
        while d.waiting:
            self._skip(d, out)
        self._emit(key, d, d.stream.finish(), out)
        self._past_early(d)

    def _emit(self, key: bytes, d: Direction, cuts: list[Cut], out: list[Found]) -> None:
        for cut in cuts:
            parts = [p.segment for p in d.parts if p.start < cut.end and p.end > cut.start]
            flags = 0
            frames: list[Frame] = []
            for segment in parts:
                flags |= segment.flags
                frames += [f for f in segment.frames if not any(f is g for g in frames[-2:])]
            out.append(Found(key, d.stream.transport, cut, tuple(frames), flags, parts[0].ip_id if parts else -1))
        self._drop_parts(d, d.stream.needed_from)
        if isinstance(d.stream, WebStream) and (plain := d.stream.settled) is not None:
            d.stream = plain


def _ahead(a: int, b: int) -> int:
    """Signed distance from b to a in sequence space."""
    return ((a - b + _HALF) & _WRAP) - _HALF
