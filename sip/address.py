"""SIP and tel URIs, name-addr and Via values (RFC 3261 sections 19.1, 20.10, 20.42). Tolerant: bad input gives empty parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SipUri:
    """One URI. `host` keeps IPv6 without brackets."""

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


def split_list(value: str, separator: str = ",") -> list[str]:
    """Split at `separator`, but not inside quotes or angle brackets. Linear in the length."""
    if separator not in value:
        return [value.strip()] if value.strip() else []
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
            out.append(value[start:i].strip())
            start = i + 1
    out.append(value[start:].strip())
    return [p for p in out if p]


def parse_params(text: str) -> dict[str, str | None]:
    """';a=b;c' as a dictionary with lower-case names; the first of equal names counts."""
    out: dict[str, str | None] = {}
    for part in split_list(text, ";"):
        name, equals, value = part.partition("=")
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] == '"':
            value = value[1:-1]
        out.setdefault(name.strip().lower(), value if equals else None)
    return out


def _host_port(text: str) -> tuple[str, int | None]:
    text = text.strip()
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.strip().removeprefix(":")
    elif text.count(":") > 1:
        return text, None  # an IPv6 address without its brackets
    else:
        host, _, port = text.partition(":")
    port = port.strip()
    return host.strip(), int(port) if port.isascii() and port.isdigit() and len(port) < 8 else None


def parse_uri(text: str) -> SipUri:
    """A SIP, SIPS or tel URI; other schemes keep everything in `host`."""
    text = text.strip()
    scheme, colon, rest = text.partition(":")
    if not colon:
        return SipUri("", "", text, None, {}, text)
    scheme = scheme.lower()
    if scheme == "tel":
        number, _, params = rest.partition(";")
        return SipUri(scheme, number, "", None, parse_params(params), text)
    if scheme not in ("sip", "sips"):
        return SipUri(scheme, "", rest, None, {}, text)
    # The user part may itself hold ; and ?, so the @ is looked for first.
    user, at, after = rest.partition("@")
    if not at:
        user, after = "", rest
    after, _, _ = after.partition("?")
    hostport, _, params = after.partition(";")
    host, port = _host_port(hostport)
    return SipUri(scheme, user.partition(":")[0].partition(";")[0], host, port, parse_params(params), text)


def parse_name_addr(text: str) -> NameAddr:
    """'"Name" <uri>;params' or 'uri;params' (where the parameters are the header's: RFC 3261 section 20)."""
    quoted, escaped = False, False
    for i, c in enumerate(text):
        if escaped:
            escaped = False
        elif quoted:
            escaped, quoted = c == "\\", c != '"'
        elif c == '"':
            quoted = True
        elif c == "<":
            uri, _, rest = text[i + 1 :].partition(">")
            display = text[:i].strip()
            if len(display) > 1 and display[0] == display[-1] == '"':
                display = display[1:-1].replace('\\"', '"').replace("\\\\", "\\")
            return NameAddr(display, parse_uri(uri), parse_params(rest.partition(";")[2]))
    uri, _, params = text.partition(";")
    return NameAddr("", parse_uri(uri), parse_params(params))


def parse_via(text: str) -> Via:
    """'SIP/2.0/UDP host:port;params'."""
    sent, _, params = text.partition(";")
    # White space may stand around the slashes and the colon (RFC 3261 section 25.1).
    protocol, _, hostport = sent.replace(" /", "/").replace("/ ", "/").strip().partition(" ")
    host, port = _host_port(hostport.replace(" ", ""))
    return Via(protocol.rpartition("/")[2].upper(), host, port, parse_params(params))
