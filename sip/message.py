"""A SIP message taken apart (RFC 3261 section 7): tolerant, complete, and keeping every byte.

It judges nothing but form: what is odd about a message's own bytes is listed in `defects`. It never raises on any
input, and takes time in proportion to its length.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from sip.address import SPACE, NameAddr, Via, parse_name_addr, parse_via, split_list
from sip.sdp import SessionDescription, parse_sdp
from sip.text import text_of

COMPACT = {
    "i": "Call-ID",
    "m": "Contact",
    "e": "Content-Encoding",
    "l": "Content-Length",
    "c": "Content-Type",
    "f": "From",
    "s": "Subject",
    "k": "Supported",
    "t": "To",
    "v": "Via",
    "o": "Event",
    "r": "Refer-To",
    "b": "Referred-By",
    "u": "Allow-Events",
    "a": "Accept-Contact",
    "j": "Reject-Contact",
    "d": "Request-Disposition",
    "x": "Session-Expires",
    "y": "Identity",
    "n": "Identity-Info",
}
"""Compact header names (RFC 3261 section 7.3.3 and the registry)."""
_USUAL = {
    name.lower(): name
    for name in (
        *COMPACT.values(),
        *("CSeq", "WWW-Authenticate", "MIME-Version", "RSeq", "RAck", "Min-SE", "Max-Forwards", "User-Agent", "Server"),
        *("Record-Route", "Route", "Reason", "Warning", "P-Asserted-Identity", "SIP-ETag", "SIP-If-Match"),
    )
}
"""The usual spelling of the names that matter here, whatever their case on the wire."""
LISTS = frozenset(
    {
        "via",
        "contact",
        "route",
        "record-route",
        "path",
        "service-route",
        "allow",
        "supported",
        "require",
        "proxy-require",
        "unsupported",
        "allow-events",
        "accept",
        "accept-encoding",
        "accept-language",
        "history-info",
        "diversion",
        "p-asserted-identity",
        "reason",
        "warning",
        "in-reply-to",
        "error-info",
        "alert-info",
        "call-info",
    }
)
"""Headers whose values are lists, split at commas."""
_STATUS = re.compile(r"SIP/[^ ]* *([0-9]*) *(.*)", re.DOTALL)
_CSEQ = re.compile(r"([0-9]*)[ \t]*(.*)", re.DOTALL)
_LINE = re.compile(rb"\r?\n")


@dataclass(frozen=True, slots=True)
class Header:
    """One header field. `line` is its 0-based line number in the message."""

    name: str
    value: str
    line: int
    written: str


@dataclass(frozen=True)
class SipMessage:
    """A message; `method` of a response is that of its CSeq, `code` of a request is 0."""

    raw: bytes
    start_line: str
    method: str
    uri: str
    code: int
    reason: str
    headers: tuple[Header, ...]
    body: bytes
    defects: tuple[str, ...]

    @cached_property
    def is_request(self) -> bool:
        """A request, as opposed to a response (one whose code is unreadable has the code 0, too)."""
        return not self.start_line.startswith("SIP/")

    @cached_property
    def _by_name(self) -> dict[str, list[Header]]:
        out: dict[str, list[Header]] = {}
        for header in self.headers:
            out.setdefault(header.name.lower(), []).append(header)
        return out

    def fields(self, name: str) -> list[Header]:
        """All header fields of that name, in order."""
        return self._by_name.get(name.lower(), [])

    def first(self, name: str) -> str:
        """Value of the first header of that name, '' where it is absent."""
        found = self.fields(name)
        return found[0].value if found else ""

    def all(self, name: str) -> tuple[str, ...]:
        """All values of that name; list headers are split at commas."""
        values = (h.value for h in self.fields(name))
        if name.lower() in LISTS:
            return tuple(v for value in values for v in split_list(value))
        return tuple(values)

    @property
    def call_id(self) -> str:
        """The first Call-ID, '' where there is none."""
        return self.first("Call-ID")

    @cached_property
    def _cseq(self) -> tuple[int | None, str]:
        return _cseq(self.first("CSeq"))

    @cached_property
    def cseq(self) -> int | None:
        """The CSeq number."""
        return self._cseq[0]

    @cached_property
    def cseq_method(self) -> str:
        """The CSeq method."""
        return self._cseq[1]

    @cached_property
    def vias(self) -> tuple[Via, ...]:
        """All Via values, topmost first."""
        return tuple(parse_via(v) for v in self.all("Via"))

    @cached_property
    def top_via(self) -> Via | None:
        """The topmost Via: that of whoever sent a request here."""
        found = self.fields("Via")
        values = split_list(found[0].value) if found else []
        return parse_via(values[0]) if values else None

    @cached_property
    def from_(self) -> NameAddr | None:
        """The From header."""
        return parse_name_addr(self.first("From")) if self.fields("From") else None

    @cached_property
    def to(self) -> NameAddr | None:
        """The To header."""
        return parse_name_addr(self.first("To")) if self.fields("To") else None

    @cached_property
    def contacts(self) -> tuple[NameAddr, ...]:
        """All Contact values ('*' gives one with an empty scheme)."""
        return tuple(parse_name_addr(v) for v in self.all("Contact"))

    @property
    def user_agent(self) -> str:
        """What sent it says of itself: User-Agent or Server, whichever stands first and is not empty."""
        return next((h.value for h in self.headers if h.name in ("User-Agent", "Server") and h.value), "")

    @cached_property
    def sdp(self) -> SessionDescription | None:
        """The session description in the body, also inside multipart (RFC 5621)."""
        if not self.body:
            return None
        kind = self.first("Content-Type").lower()
        if kind.startswith("multipart/"):
            match = re.search(r'boundary="?([^";]+)"?', self.first("Content-Type"), re.IGNORECASE)
            if match is None:
                return None
            for part in self.body.split(b"--" + match[1].strip().encode("utf-8", "replace")):
                head, _, rest = part.lstrip(b"\r\n").replace(b"\r\n", b"\n").partition(b"\n\n")
                if b"application/sdp" in head.lower():
                    return parse_sdp(rest.rstrip(b"\n"))
            return None
        return parse_sdp(self.body) if "sdp" in kind or not kind else None

    def lines(self) -> list[str]:
        """The whole message as lines of text."""
        return text_of(self.raw).replace("\r\n", "\n").split("\n")


def parse_message(raw: bytes) -> SipMessage:
    """Take a message apart. Never raises; what is wrong with its form is in `defects`."""
    start = 0
    while start < len(raw) and raw[start] in b"\r\n":
        start += 1
    match = re.search(rb"\r?\n\r?\n", raw[start:])
    defects: list[str] = []
    if match:
        head, body = raw[start : start + match.start()], raw[start + match.end() :]
    else:
        head, body = raw[start:], b""
        defects.append("no blank line ends the headers")
    lines = _LINE.split(head.removesuffix(b"\n").removesuffix(b"\r") if match is None else head)
    offset = raw[:start].count(b"\n")
    start_line = text_of(lines[0])
    headers = _headers(lines[1:], offset + 1, defects)
    status = _STATUS.match(start_line)
    method, uri, code, reason = "", "", 0, ""
    if status:
        code, reason = int(status[1][:6] or 0), status[2].strip(SPACE)
        if not (len(status[1]) == 3 and 100 <= code <= 699):
            defects.append(f"{status[1][:20]!r} is no status code")
        method = _cseq(next((h.value for h in headers if h.name == "CSeq"), ""))[1]
    else:
        method, _, rest = start_line.partition(" ")
        uri, _, version = rest.strip(SPACE).rpartition(" ")
        if not version.upper().startswith("SIP/"):
            defects.append("the start line is not that of SIP")
            uri = rest
        uri = uri.strip(SPACE)
    _check(headers, body, bool(match), defects)
    return SipMessage(raw, start_line, method, uri, code, reason, tuple(headers), body, tuple(defects))


def _cseq(value: str) -> tuple[int | None, str]:
    """Number and method; one white space of any kind may stand between them (RFC 3261 section 20.16)."""
    match = _CSEQ.match(value.strip(SPACE))
    assert match is not None, "the pattern matches anything"
    return (int(match[1]) if 0 < len(match[1]) < 19 else None), match[2].strip(SPACE)


def _headers(lines: list[bytes], first: int, defects: list[str]) -> list[Header]:
    out: list[Header] = []
    pending: list[bytes] = []
    at = first

    def close() -> None:
        if not pending:
            return
        text = text_of(b" ".join((pending[0].rstrip(b" \t\r"), *(p.strip(b" \t\r") for p in pending[1:]))))
        name, colon, value = text.partition(":")
        name = name.rstrip(" \t")
        # A value may be folded, a name not: the colon stands in the first line (RFC 3261 section 25.1, HCOLON).
        if colon and name and b":" in pending[0]:
            out.append(Header(canonical(name), value.strip(SPACE), at, name))
        else:
            defects.append(f"line {at + 1} is no header")

    for n, line in enumerate(lines):
        if line[:1] in (b" ", b"\t"):
            # What goes on from the start line goes on from no header (RFC 3261 section 7.3.1).
            if pending:
                pending.append(line)
            else:
                defects.append(f"line {first + n + 1} is no header")
            continue
        close()
        pending, at = [line], first + n
    close()
    return out


def canonical(name: str) -> str:
    """The full, usual spelling of a header name."""
    if not name.isascii():
        return name
    low = name.lower()
    if low in COMPACT:
        return COMPACT[low]
    return _USUAL.get(low) or "-".join(
        p[:1].upper() + p[1:].lower() if p.islower() or name.isupper() else p for p in name.split("-")
    )


def _check(headers: list[Header], body: bytes, complete: bool, defects: list[str]) -> None:
    ids = [h for h in headers if h.name == "Call-ID"]
    if not ids or not ids[0].value:
        defects.append("no Call-ID")
    elif len(ids) > 1:
        defects.append(f"{len(ids)} Call-IDs")
    length = next((h.value.strip() for h in headers if h.name == "Content-Length"), None)
    if length is not None and complete:
        if not (length.isascii() and length.isdigit()):
            defects.append(f"Content-Length {length!r} is no number")
        elif int(length.lstrip("0")[:18] or 0) != len(body):
            defects.append(f"Content-Length says {length}, {len(body)} bytes are there")
