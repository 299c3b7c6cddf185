"""SIP and tel URIs, name-addr and Via values (RFC 3261 sections 19.1, 20.10, 20.42).

Tolerant: what cannot be read gives empty parts. Linear in the length, since all of it is somebody else's text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, wraps
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SipUri:
    """One URI. `host` keeps IPv6 without brackets, `port` what was written, even where no port can be so high."""

    scheme: str
    user: str
    host: str
    port: int | None
    params: Mapping[str, str | None] = field(default_factory=dict)
    text: str = ""


@dataclass(frozen=True, slots=True)
class NameAddr:
    """Display name, URI and header parameters."""

    display: str
    uri: SipUri
    params: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def tag(self) -> str:
        """The tag, '' where there is none."""
        return self.params.get("tag") or ""


@dataclass(frozen=True, slots=True)
class Via:
    """One Via value."""

    transport: str
    host: str
    port: int | None
    params: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def branch(self) -> str:
        """The branch, '' where there is none."""
        return self.params.get("branch") or ""


SPACE = " \t\r\n"
"""White space of SIP (RFC 3261 section 25.1). Python's own idea of it is wider and would eat bytes of a value."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
LONGEST_KEPT = 500
"""Characters of a value that is worth remembering."""
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)


def split_list(value: str, separator: str = ",") -> list[str]:
    """Split at `separator`, but not inside quotes or angle brackets. Linear in the length."""
    if separator not in value:
        return [value.strip(SPACE)] if value.strip(SPACE) else []
    if '"' not in value and "<" not in value:
        return [p for part in value.split(separator) if (p := part.strip(SPACE))]
    out, start, quoted, depth, escaped = [], 0, False, 0, False
    for i, c in enumerate(value):
        if escaped:
            escaped = False
        elif quoted:
            escaped = c == "\\"
            quoted = c != '"'
        elif c == '"':
            quoted = True
        elif c == "<":
            depth += 1
        elif c == ">":
            depth = max(0, depth - 1)
        elif c == separator and not depth:
            out.append(value[start:i].strip(SPACE))
            start = i + 1
    out.append(value[start:].strip(SPACE))
    return [p for p in out if p]


def parse_params(text: str) -> dict[str, str | None]:
    """';a=b;c' as a dictionary with lower-case names; the first of equal names counts."""
    out: dict[str, str | None] = {}
    for part in split_list(text, ";"):
        name, equals, value = part.partition("=")
        out.setdefault(name.strip(SPACE).lower(), _unquoted(value.strip(SPACE)) if equals else None)
    return out


def _unquoted(text: str) -> str:
    """A quoted-string without its quotes and backslashes; anything else as it is (RFC 3261 section 25.1)."""
    return _QUOTED_PAIR.sub(r"\1", text[1:-1]) if len(text) > 1 and text[0] == text[-1] == '"' else text


def _host_port(text: str) -> tuple[str, int | None]:
    text = text.strip(SPACE)
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.strip(SPACE).removeprefix(":")
    elif text.count(":") > 1:
        return text, None  # an IPv6 address without its brackets
    else:
        host, _, port = text.partition(":")
    port = port.strip(SPACE)
    return host.strip(SPACE), int(port) if port.isascii() and port.isdigit() and len(port) < 8 else None


def _remembered(parse: Callable[[str], T]) -> Callable[[str], T]:
    """The messages of a call repeat the same values, so each is parsed once. Long ones are not kept: they are rare, and
    whoever sends them must not fill the memory."""
    kept = lru_cache(maxsize=256)(parse)

    @wraps(parse)
    def look_up(text: str) -> T:
        return kept(text) if len(text) <= LONGEST_KEPT else parse(text)

    return look_up


@_remembered
def parse_uri(text: str) -> SipUri:
    """A SIP, SIPS or tel URI; other schemes (RFC 3261 section 19.1 allows any) keep all but their user in `host`."""
    text = text.strip(SPACE)
    scheme, colon, rest = text.partition(":")
    if not colon:
        return SipUri("", "", text, None, {}, text)
    if not _SCHEME.fullmatch(scheme):
        return SipUri("", "", "", None, {}, text)
    scheme = scheme.lower()
    if scheme == "tel":
        number, _, params = rest.partition(";")
        return SipUri(scheme, number.partition("@")[0].partition(":")[0], "", None, parse_params(params), text)
    # The user part may itself hold ; and ?, so the @ is looked for first.
    user, at, after = rest.partition("@")
    if not at:
        user, after = "", rest
    if scheme not in ("sip", "sips"):
        return SipUri(scheme, user.partition(":")[0].partition(";")[0], after, None, {}, text)
    after, _, _ = after.partition("?")
    hostport, _, params = after.partition(";")
    host, port = _host_port(hostport)
    return SipUri(scheme, user.partition(":")[0].partition(";")[0], host, port, parse_params(params), text)


@_remembered
def parse_name_addr(text: str) -> NameAddr:
    """'"Name" <uri>;params' or 'uri;params' (where the parameters are the header's: RFC 3261 section 20)."""
    quoted, escaped = False, False
    at = text.find("<") if '"' not in text else -1
    for i, c in enumerate(text) if '"' in text else ():
        if escaped:
            escaped = False
        elif quoted:
            escaped, quoted = c == "\\", c != '"'
        elif c == '"':
            quoted = True
        elif c == "<":
            at = i
            break
    if at >= 0:
        uri, _, rest = text[at + 1 :].partition(">")
        return NameAddr(_unquoted(text[:at].strip(SPACE)), parse_uri(uri), parse_params(rest.partition(";")[2]))
    if quoted:
        # A quote that nothing closes swallows the address: there is no telling where the name ends.
        return NameAddr(text.strip(SPACE), SipUri("", "", "", None))
    uri, _, params = text.partition(";")
    return NameAddr("", parse_uri(uri), parse_params(params))


@_remembered
def parse_via(text: str) -> Via:
    """'SIP/2.0/UDP host:port;params'."""
    sent, _, params = text.partition(";")
    # White space may stand around the slashes and the colon (RFC 3261 section 25.1).
    words = _close(_close(sent, "/"), ":").split()
    protocol, sent_by = (words[0] if words else ""), (words[1] if len(words) > 1 else "")
    host, port = _host_port(sent_by)
    return Via(protocol.rpartition("/")[2].upper(), host, port, parse_params(params))


def _close(text: str, separator: str) -> str:
    return separator.join(part.strip(SPACE) for part in text.split(separator))
