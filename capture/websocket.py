"""SIP over WebSocket (RFC 7118) in one direction of a TCP connection: the HTTP upgrade, then frames (RFC 6455).

A stream that turns out to be no HTTP is handed to `SipStream`. Frames joined midway are found where a segment begins
with a frame that holds SIP. Compressed messages (RFC 7692) are inflated, with the sender's context. Sans-IO.
"""

from __future__ import annotations

import re
import zlib
from typing import Any, NamedTuple

from capture.flags import STREAM_GAP, TRUNCATED
from capture.sipstream import Cut, SipStream, looks_like_sip

MAX_HEAD = 16 << 10
_HTTP = (b"GET ", b"HTTP/1.1 ")
_UPGRADE = re.compile(rb"\nupgrade[ \t]*:[ \t]*websocket", re.IGNORECASE)
NEW, PLAIN, HTTP, FRAMES, LOST = range(5)


class _Frame(NamedTuple):
    final: bool
    compressed: bool
    opcode: int
    payload: bytes
    """Unmasked; shorter than promised when the frame is not all there."""
    size: int
    """Length of the whole frame on the wire."""


class WebStream:
    """A direction on a port where WebSocket is expected; the same interface as SipStream."""

    __slots__ = (
        "_base", "_buffer", "_compressed", "_flags", "_inflater", "_limit", "_message", "_message_from", "_mode",
        "_plain", "hopeless",
    )  # fmt: skip

    def __init__(self, limit: int = 256 << 10) -> None:
        self._limit = limit
        self._mode = NEW
        self._plain = SipStream(limit)
        self._buffer = bytearray()
        self._base = 0
        """Stream position of the buffer."""
        self._message = bytearray()
        self._message_from: int | None = None
        self._compressed = False
        self._inflater: Any = None
        """Made when the first compressed message comes: it takes more memory than all the rest."""
        self._flags = 0
        self.hopeless = False
        """HTTP without an upgrade: nothing of ours will follow."""

    @property
    def settled(self) -> SipStream | None:
        """What takes this stream's place, once it carries plain SIP for sure."""
        return self._plain if self._mode == PLAIN and not self._plain.quiet else None

    @property
    def transport(self) -> str:
        """What a message found now came over."""
        return "tcp" if self._mode == PLAIN else "ws"

    @property
    def quiet(self) -> bool:
        """Neither SIP nor an upgrade was found yet."""
        return self._plain.quiet if self._mode == PLAIN else self._mode not in (FRAMES, LOST)

    @property
    def needed_from(self) -> int:
        """Stream position from which bytes are still held."""
        if self._mode == PLAIN:
            return self._plain.needed_from
        return self._base if self._message_from is None else self._message_from

    @property
    def between(self) -> bool:
        """It is no WebSocket after all, messages were found, and none is begun."""
        return self._mode == PLAIN and self._plain.between

    def pass_over(self, count: int) -> None:
        """Whole messages of so many bytes were taken elsewhere."""
        self._plain.pass_over(count)

    def feed(self, data: bytes) -> list[Cut]:
        """The messages that these bytes complete."""
        if self._mode == PLAIN:
            if not self._plain.quiet or not _holds_sip(data):
                return self._plain.feed(data)
            self._base = self._plain.received
            self._mode = FRAMES
        elif self._mode == LOST:
            if not _holds_sip(data):
                self._base += len(data)
                return []
            self._mode = FRAMES
        self._buffer += data
        if self._mode == NEW:
            return self._decide()
        if self._mode == HTTP:
            return self._http()
        return self._frames()

    def gap(self, missing: int, flag: int = STREAM_GAP) -> list[Cut]:
        """`missing` bytes were lost here; frames are found again at the start of a later segment."""
        if self._mode in (NEW, PLAIN):
            return self._become_plain() + self._plain.gap(missing, flag)
        out = self._rest(flag)
        self._base += missing
        self._mode = LOST
        self._flags |= flag & STREAM_GAP
        return out

    def finish(self) -> list[Cut]:
        """The stream is over: what was begun and never ended."""
        if self._mode in (NEW, PLAIN):
            return self._become_plain() + self._plain.finish()
        return self._rest(TRUNCATED)

    def _decide(self) -> list[Cut]:
        start = bytes(self._buffer[:9])
        if start.startswith(_HTTP):
            self._mode = HTTP
            return self._http()
        if any(h.startswith(start) for h in _HTTP):
            return []
        if _holds_sip(bytes(self._buffer[:8300])):
            self._mode = FRAMES
            return self._frames()
        return self._become_plain()

    def _become_plain(self) -> list[Cut]:
        if self._mode == PLAIN:
            return []
        self._mode, self._plain = PLAIN, SipStream(self._limit, self._base)
        held = bytes(self._buffer)
        self._buffer.clear()
        return self._plain.feed(held)

    def _http(self) -> list[Cut]:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            self.hopeless = len(self._buffer) > MAX_HEAD
            return []
        if not _UPGRADE.search(self._buffer, 0, end):
            self.hopeless = True
            self._drop(len(self._buffer))
            return []
        self._drop(end + 4)
        self._mode = FRAMES
        return self._frames()

    def _frames(self) -> list[Cut]:
        out: list[Cut] = []
        while self._mode == FRAMES:
            frame = _parse(self._buffer, self._limit)
            if frame is None:
                self._rest(STREAM_GAP)
                self._mode = LOST
                break
            if frame.size == 0 or len(self._buffer) < frame.size:
                break
            start = self._base
            self._drop(frame.size)
            if frame.opcode >= 8:
                continue  # close, ping, pong
            if frame.opcode:
                self._message.clear()
                self._message_from, self._compressed = start, frame.compressed
            if self._message_from is None:
                continue  # the end of a message whose beginning was not seen
            self._message += frame.payload
            if frame.final or len(self._message) > self._limit:
                out += self._finish_message(0 if frame.final else TRUNCATED)
        return out

    def _finish_message(self, flag: int) -> list[Cut]:
        data, begun = bytes(self._message), self._message_from
        self._message.clear()
        self._message_from = None
        if self._compressed:
            data = self._inflate(data)
        data = data.lstrip(b"\r\n")
        if begun is None or not looks_like_sip(data):
            return []
        flags, self._flags = self._flags | flag, 0
        return [Cut(data, flags, begun, self._base)]

    def _inflate(self, data: bytes) -> bytes:
        # RFC 7692 section 7.2.2: the sender left these four bytes out.
        try:
            self._inflater = self._inflater or zlib.decompressobj(-15)
            out: bytes = self._inflater.decompress(data + b"\0\0\xff\xff", self._limit)
        except zlib.error:
            self._inflater = None
            return b""
        if self._inflater.eof or self._inflater.unconsumed_tail:
            self._inflater = None
        return out

    def _rest(self, flag: int) -> list[Cut]:
        frame = _parse(self._buffer, self._limit) if self._buffer and self._mode == FRAMES else None
        if frame is not None and frame.size and frame.opcode < 8:
            if frame.opcode:
                self._message.clear()
                self._message_from, self._compressed = self._base, frame.compressed
            self._message += frame.payload
        self._drop(len(self._buffer))
        out = self._finish_message(flag)
        self._inflater = None
        return out

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self._base += count


def _parse(data: bytes | bytearray, limit: int) -> _Frame | None:
    """The frame at the head of `data` (RFC 6455 section 5.2); size 0 before its header is all there; None: no frame."""
    if len(data) < 2:
        return _Frame(False, False, 0, b"", 0)
    first, second = data[0], data[1]
    opcode, size, at = first & 15, second & 127, 2
    # Not a frame: reserved bits and opcodes, control frames in pieces or long, compression from a second frame on.
    if first & 0x30 or opcode not in (0, 1, 2, 8, 9, 10) or (not opcode and first & 0x40):
        return None
    if opcode >= 8 and (size > 125 or first & 0xC0 != 0x80):
        return None
    if size >= 126:
        at = 4 if size == 126 else 10
        if len(data) < at:
            return _Frame(False, False, 0, b"", 0)
        size = int.from_bytes(data[2:at], "big")
    if size > limit:
        return None
    mask = b""
    if second & 128:
        mask = bytes(data[at : at + 4])
        at += 4
        if len(data) < at:
            return _Frame(False, False, 0, b"", 0)
    payload = bytes(data[at : at + size])
    if mask:
        key = (mask * (len(payload) // 4 + 1))[: len(payload)]
        payload = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(len(payload), "big")
    return _Frame(bool(first & 128), bool(first & 0x40), opcode, payload, at + size)


def _holds_sip(data: bytes) -> bool:
    """Whether a segment begins with a frame that holds a SIP message: good enough to join a connection midway."""
    if not data or data[0] & 0x7F not in (1, 2):
        return False
    frame = _parse(data, 256 << 10)
    return frame is not None and looks_like_sip(frame.payload.lstrip(b"\r\n"))
