"""Bytes from the wire as text that loses nothing, and text that is safe to show."""

from __future__ import annotations

import codecs

_BASE = 0xEF00
"""A byte that is no UTF-8 becomes chr(0xEF00 + byte): private-use characters U+EF80 to U+EFFF."""


def _keep_byte(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    bad = error.object[error.start : error.end]
    return "".join(chr(_BASE + b) for b in bad), error.end


codecs.register_error("siptrail.keep", _keep_byte)


def text_of(raw: bytes) -> str:
    """Decode UTF-8; bytes that are not become private-use characters, so that `bytes_of` gives them back."""
    text = raw.decode("utf-8", "siptrail.keep")
    if text.isascii() or (b"\xee\xbe" not in raw and b"\xee\xbf" not in raw):
        return text
    # The wire itself carries our private-use characters: keep their three bytes one by one instead.
    out = []
    for piece in _split_private(raw):
        if piece[:2] in (b"\xee\xbe", b"\xee\xbf") and len(piece) == 3:
            out.append("".join(chr(_BASE + b) for b in piece))
        else:
            out.append(piece.decode("utf-8", "siptrail.keep"))
    return "".join(out)


def _split_private(raw: bytes) -> list[bytes]:
    pieces, start, at = [], 0, 0
    while at < len(raw):
        if (
            raw[at] == 0xEE
            and raw[at + 1 : at + 2] in (b"\xbe", b"\xbf")
            and 0x80 <= (raw[at + 2 : at + 3] or b"\0")[0] <= 0xBF
        ):
            pieces += [raw[start:at], raw[at : at + 3]]
            at += 3
            start = at
        else:
            at += 1
    pieces.append(raw[start:])
    return [p for p in pieces if p]


def bytes_of(text: str) -> bytes:
    """The reverse of `text_of`."""
    if text.isascii():
        return text.encode("ascii")
    return b"".join(
        bytes((ord(c) - _BASE,)) if 0xEF80 <= ord(c) <= 0xEFFF else c.encode("utf-8", "surrogatepass") for c in text
    )


def printable(text: str) -> str:
    """`text` with every control, format, surrogate and private-use character made visible.

    Nothing that a terminal, a page or a log could obey survives (C0, C1, bidirectional overrides)."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() else _visible(ord(c)) for c in text)


def _visible(code: int) -> str:
    if 0xEF80 <= code <= 0xEFFF:
        return f"\\x{code - _BASE:02x}"
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{{{code:x}}}"
