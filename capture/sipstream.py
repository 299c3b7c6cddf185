"""SIP messages in a byte stream (RFC 3261 section 18.3): cut by Content-Length, resynchronised on a start line.

It owns no connection and no sequence number; it is told of missing bytes. An honest Content-Length always wins over
what a body looks like; only where it cannot be true does the next start line decide. Sans-IO.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from capture.flags import HEADERS_CUT, LENGTH_LIES, STREAM_GAP, TRUNCATED

_TOKEN = rb"[A-Za-z0-9.!%*_+`'~-]{1,63}"
_START = rb"(?:SIP/\d\.\d \d{3}|" + _TOKEN + rb" [^\r\n]{1,8000} SIP/\d\.\d[ \t]*\r?\n)"
START = re.compile(_START)
"""A start line (RFC 3261 section 7) at this place; of a status line its beginning is enough."""
_START_BELOW = re.compile(rb"(?<=\n)" + _START)
_MESSAGE_BELOW = re.compile(
    rb"(?<=\n)(?:SIP/\d\.\d \d{3}[^\r\n]*|"
    + _TOKEN
    + rb" [^\r\n]{1,8000} SIP/\d\.\d[ \t]*)\r?\n"
    + _TOKEN
    + rb"[ \t]*:"
)
"""A start line and the name of a header below it: no line of text that only looks like a start line."""
_BEGUN = re.compile(rb"SIP/[^\r\n]{0,8}|" + _TOKEN + rb"(?: [^\r\n]{0,8010})?\r?")
"""A last line without its end that may still become a start line."""
_IDLE = re.compile(rb"[\r\n\0]+")
"""Keep-alives between messages (RFC 5626 section 3.5.1; some send zeros)."""
_BLANK = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb"\n(?:content-length|l)[ \t]*:([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)", re.IGNORECASE)
_QUOTES_SIP = re.compile(rb"\n(?:content-type|c)[ \t]*:\s*(?:message|multipart)/", re.IGNORECASE)
"""Bodies that hold SIP by right: message/sipfrag (RFC 3420), message/sip, multipart."""
_KNOWN = re.compile(
    rb"SIP/\d\.\d \d|(?:INVITE|ACK|BYE|CANCEL|REGISTER|OPTIONS|PRACK|SUBSCRIBE|NOTIFY|PUBLISH"
    rb"|INFO|REFER|MESSAGE|UPDATE) "
)
"""Tells a start line from text that runs into one ('hello' + 'INVITE sip:…'), and 'E sip:…' from a whole method."""
_LOOKS = re.compile(_TOKEN + rb"(?= )[^\r\n]*? SIP/")


class Cut(NamedTuple):
    """One message: its bytes, flags, and where in the stream it stood (byte numbers from the start of the stream)."""

    data: bytes
    flags: int
    start: int
    end: int


def looks_like_sip(data: bytes) -> bool:
    """Whether a payload begins with a start line; the same verdict as the fast path's kernel."""
    if len(data) < 8:
        return False
    if data[:4] == b"SIP/":
        return True
    found = _LOOKS.match(data, 0, 8192)
    return found is not None and found.end() < min(len(data), 8192)


class SipStream:
    """One direction of a connection. Feed it bytes in order; `gap` says that some are missing."""

    __slots__ = (
        "_base", "_buffer", "_end", "_flags", "_head", "_lies", "_limit", "_scanned", "_started", "_trusts_body",
        "quiet",
    )  # fmt: skip
    transport = "tcp"
    hopeless = False

    def __init__(self, limit: int = 256 << 10, base: int = 0) -> None:
        self.quiet = True
        """No start line was found yet."""
        self._limit = limit
        self._buffer = bytearray()
        self._base = base
        self._flags = 0
        self._forget()

    @property
    def needed_from(self) -> int:
        """Stream position from which bytes are still held."""
        return self._base

    @property
    def received(self) -> int:
        """Stream position of the next byte."""
        return self._base + len(self._buffer)

    @property
    def between(self) -> bool:
        """Messages were found, and none is begun."""
        return not (self.quiet or self._started or self._buffer or self._flags)

    def pass_over(self, count: int) -> None:
        """Whole messages of so many bytes were taken elsewhere."""
        self._base += count

    def feed(self, data: bytes) -> list[Cut]:
        """The messages that these bytes complete."""
        self._buffer += data
        out: list[Cut] = []
        while (cut := self._next()) is not None:
            out.append(cut)
        return out

    def gap(self, missing: int, flag: int = STREAM_GAP) -> list[Cut]:
        """`missing` bytes were lost here: what was begun is given as far as it came."""
        out = self._rest(flag)
        self._base += missing
        self._flags |= flag & STREAM_GAP
        return out

    def finish(self) -> list[Cut]:
        """The stream is over, or no more will come: what was begun and never ended."""
        return self._rest(TRUNCATED)

    def _forget(self) -> None:
        self._started = False
        """A start line stands at the head of the buffer."""
        self._head = 0
        """Where its body begins, once known."""
        self._end = 0
        """Where its Content-Length puts the end."""
        self._scanned = 0
        self._lies = 0
        self._trusts_body = True

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self._base += count

    def _emit(self, end: int, flags: int) -> Cut:
        cut = Cut(bytes(self._buffer[:end]), self._flags | flags, self._base, self._base + end)
        self._flags = 0
        self._drop(end)
        self._forget()
        return cut

    def _rest(self, flag: int) -> list[Cut]:
        out = [self._emit(len(self._buffer), flag if self._head else flag | HEADERS_CUT)] if self._started else []
        self._drop(len(self._buffer))
        return out

    def _next(self) -> Cut | None:
        if not self._started and not self._seek():
            return None
        buffer = self._buffer
        if not self._head:
            blank = _BLANK.search(buffer, max(0, self._scanned - 3))
            if blank is None:
                self._scanned = len(buffer)
                return self._emit(len(buffer), HEADERS_CUT) if len(buffer) > self._limit else None
            # A second start line before the first blank line: the first message never got to its end.
            if (second := _START_BELOW.search(buffer, 1, blank.end())) is not None:
                return self._emit(second.start(), HEADERS_CUT)
            self._measure(blank.end())
        if len(buffer) < self._end:
            return self._overrun()
        return self._whole()

    def _seek(self) -> bool:
        """Bring a start line to the head of the buffer; what precedes it belongs to no message."""
        buffer = self._buffer
        while True:
            if (idle := _IDLE.match(buffer)) is not None:
                self._drop(idle.end())
            if not buffer:
                return False
            if START.match(buffer):
                self._started, self.quiet = True, False
                return True
            if (found := _START_BELOW.search(buffer)) is None:
                # Keep an unfinished last line only while it may become a start line.
                tail = buffer.rfind(b"\n") + 1
                self._drop(tail if _BEGUN.fullmatch(buffer, tail) else len(buffer))
                return False
            self._drop(found.start())

    def _measure(self, head: int) -> None:
        self._head = self._end = self._scanned = head
        length = _LENGTH.search(self._buffer, 0, head)
        if length is None:
            return  # no body then (section 18.3); what follows tells whether that was true
        value = length[1].strip()
        size = int(value) if value.isdigit() and len(value) < 10 else self._limit + 1
        if size > self._limit:
            self._lies = LENGTH_LIES
        else:
            self._end += size
        self._trusts_body = _QUOTES_SIP.search(self._buffer, 0, head) is not None

    def _overrun(self) -> Cut | None:
        """The body is not complete; when the next message stands in it, it never will be."""
        if self._trusts_body:
            return None
        found = _MESSAGE_BELOW.search(self._buffer, self._scanned)
        if found is not None:
            return self._emit(found.start(), LENGTH_LIES)
        # The next search begins two lines up: a start line may lack only its first header.
        line = self._buffer.rfind(b"\n", self._head)
        self._scanned = max(self._head, self._buffer.rfind(b"\n", self._head, line) + 1 if line > 0 else 0)
        return None

    def _whole(self) -> Cut:
        """All that Content-Length promised is there; check it against what follows."""
        buffer, head, end = self._buffer, self._head, self._end
        line = buffer.rfind(b"\n", 0, end) + 1
        if head <= line < end and not _KNOWN.match(buffer, end) and _KNOWN.match(buffer, line):
            across = START.match(buffer, line)
            if across is not None and across.end() > end:
                return self._emit(line, LENGTH_LIES)
        if self._fits(end):
            return self._emit(end, self._lies)
        inside = None if self._trusts_body else _MESSAGE_BELOW.search(buffer, head)
        if inside is not None and inside.start() < end:
            return self._emit(inside.start(), LENGTH_LIES)
        # More body than promised: show it, up to the next start line or the end of what is here.
        following = _START_BELOW.search(buffer, end)
        if following is not None:
            return self._emit(following.start(), LENGTH_LIES)
        tail = buffer.rfind(b"\n") + 1
        unfinished = end < tail < len(buffer) and _BEGUN.fullmatch(buffer, tail)
        return self._emit(tail if unfinished else len(buffer), LENGTH_LIES)

    def _fits(self, at: int) -> bool:
        """Whether a message may end here: nothing follows, or a start line, or what may become one."""
        buffer = self._buffer
        if (idle := _IDLE.match(buffer, at)) is not None:
            at = idle.end()
        if at == len(buffer) or START.match(buffer, at):
            return True
        return buffer.find(b"\n", at) < 0 and _BEGUN.fullmatch(buffer, at) is not None
