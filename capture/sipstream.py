"""SIP messages in a byte stream (RFC 3261 section 18.3): cut by Content-Length, resynchronised on a start line. Sans-IO."""

from __future__ import annotations

import re
from dataclasses import dataclass

from capture.flags import HEADERS_CUT, LENGTH_LIES, STREAM_GAP, TRUNCATED

MAX_MESSAGE = 256 * 1024
START = re.compile(rb"(?:^|(?<=\n))(?:SIP/\d\.\d \d{3}|[A-Za-z0-9.!%*_+`'~-]{1,32} [^\r\n]{1,8000} SIP/\d\.\d\r?\n)")
_LENGTH = re.compile(rb"\r?\n(?:content-length|l)[ \t]*:[ \t]*(\d{1,9})", re.IGNORECASE)
_BLANK = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class Cut:
    """One message of a stream: its bytes, flags, and where in the stream it stood (byte numbers from the start of the stream)."""

    data: bytes
    flags: int
    start: int
    end: int


class SipStream:
    """One direction of a connection. Feed it bytes in order; `gap` says that some are missing."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._base = 0
        self._flags = 0
        self._synchronised = False
        self.skipped = 0
        """Bytes that belonged to no message."""

    @property
    def needed_from(self) -> int:
        """Stream position from which bytes are still held."""
        return self._base

    @property
    def quiet(self) -> bool:
        """Nothing found so far that looks like SIP."""
        return not self._synchronised

    def gap(self, missing: int) -> list[Cut]:
        """`missing` bytes of the stream were lost: what was begun is given as far as it came."""
        out = self._rest(STREAM_GAP) if self._synchronised else []
        self._base += len(self._buffer) + missing
        self._buffer.clear()
        self._flags |= STREAM_GAP
        self._synchronised = False
        return out

    def feed(self, data: bytes) -> list[Cut]:
        """The messages that these bytes complete."""
        self._buffer += data
        out: list[Cut] = []
        while True:
            cut = self._next()
            if cut is None:
                return out
            out.append(cut)

    def finish(self) -> list[Cut]:
        """The stream is over: what was begun and never ended."""
        out = self._rest(TRUNCATED) if self._synchronised else []
        self._drop(len(self._buffer))
        return out

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self._base += count

    def _rest(self, flag: int) -> list[Cut]:
        if not START.match(self._buffer):
            return []
        cut_head = 0 if _BLANK.search(self._buffer) else HEADERS_CUT
        return [Cut(bytes(self._buffer), self._take_flags() | flag | cut_head, self._base, self._base + len(self._buffer))]

    def _take_flags(self) -> int:
        flags, self._flags = self._flags, 0
        return flags

    def _next(self) -> Cut | None:
        # Keep-alives (RFC 5626 section 3.5.1) stand between messages.
        blank = len(self._buffer) - len(self._buffer.lstrip(b"\r\n"))
        if blank:
            self._drop(blank)
        if not self._buffer:
            return None
        if not START.match(self._buffer):
            found = START.search(self._buffer)
            if found is None:
                if not self._synchronised or len(self._buffer) > 16_384 or b"\n" in self._buffer:
                    # Keep the last, unfinished line: a start line may be on its way.
                    keep = len(self._buffer) - (self._buffer.rfind(b"\n") + 1)
                    waste = len(self._buffer) - (keep if keep < 16_384 else 0)
                    self.skipped += waste
                    self._drop(waste)
                return None
            self.skipped += found.start()
            self._drop(found.start())
        self._synchronised = True
        head = _BLANK.search(self._buffer)
        if head is None:
            if len(self._buffer) > MAX_MESSAGE:
                cut = Cut(bytes(self._buffer), self._take_flags() | HEADERS_CUT, self._base, self._base + len(self._buffer))
                self._drop(len(self._buffer))
                return cut
            return None
        length = _LENGTH.search(self._buffer, 0, head.end())
        # Without a Content-Length on a stream the body is empty, and the next start line says whether that was true.
        size = int(length[1]) if length else 0
        end = head.end() + size
        flags = 0
        if size:
            # A start line inside of what is claimed as body (outside of message/sipfrag) means the length lies.
            inner = START.search(self._buffer, head.end(), min(end, len(self._buffer)))
            if inner is not None and b"sipfrag" not in self._buffer[:head.end()].lower() and b"message/" not in self._buffer[:head.end()].lower():
                end, flags = inner.start(), LENGTH_LIES
        if size > MAX_MESSAGE and not flags:
            end, flags = head.end(), LENGTH_LIES
        if len(self._buffer) < end:
            return None
        if length is None or not flags:
            following = START.search(self._buffer, end)
            if following is not None and following.start() > end and self._buffer[end:following.start()].strip(b"\r\n"):
                end, flags = following.start(), flags | LENGTH_LIES
        cut = Cut(bytes(self._buffer[:end]), self._take_flags() | flags, self._base, self._base + end)
        self._drop(end)
        return cut
