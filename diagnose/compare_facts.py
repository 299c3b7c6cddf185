"""What of one message counts when two calls are compared: facts without the noise that differs in every call.

Left out are tags, branches, Call-IDs, CSeq numbers, times, SDP session ids and ports. Addresses of a call's own hosts
are told by their place in the call, so that two phones with differing addresses compare as equal. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from index.trace import TraceMessage
from sip.address import parse_uri
from sip.ip import is_private, literal
from sip.message import LISTS, SipMessage
from sip.sdp import Codec, Media, SessionDescription


@dataclass(frozen=True, slots=True)
class Fact:
    """One property of a message. `same` decides whether two are equal, `shown` is what people read."""

    what: str
    same: str
    shown: str
    weight: int


Facts = dict[str, Fact]
SETS = {"Require": 78, "Proxy-Require": 70, "Unsupported": 82, "Supported": 42, "Allow": 40, "Allow-Events": 20}
"""Headers that are sets of tokens: order and repetition mean nothing."""
VALUES = {
    **{"Warning": 90, "Reason": 86, "Retry-After": 70, "Session-Expires": 52, "Min-SE": 50, "Expires": 40},
    **{"Accept": 30, "Content-Type": 45, "Privacy": 40, "Event": 60, "Subscription-State": 50},
}
"""Headers whose text is compared as it is."""
COUNTED = {"Via": 35, "Route": 60, "Record-Route": 60, "Path": 50}
PRESENT = {
    **{"Authorization": 62, "Proxy-Authorization": 62, "P-Asserted-Identity": 48, "Diversion": 44, "History-Info": 40},
    **{"Identity": 44, "WWW-Authenticate": 60, "Proxy-Authenticate": 60, "RSeq": 45, "Referred-By": 40, "Replaces": 50},
}
NOISE = {
    *("From", "To", "Call-ID", "CSeq", "Contact", "Max-Forwards", "Content-Length", "Date", "Timestamp", "RAck"),
    *("User-Agent", "Server", "Subject", "SIP-ETag", "Call-Info", "Organization"),
}
"""Compared in another way, or not at all."""
OTHER_HEADER = 28
_STREAM = re.compile(r"SDP \S* \d+ ")
"""Facts of one stream."""
Hosts = Mapping[str, int]
"""The call's addresses with their numbers in order of appearance."""


def hosts(messages: tuple[TraceMessage, ...]) -> dict[str, int]:
    """Addresses that sent or received, numbered from 1."""
    found: dict[str, int] = {}
    for m in messages:
        for ip in (m.src.ip, m.dst.ip):
            found.setdefault(ip, len(found) + 1)
    return found


def facts_of(m: TraceMessage, known: Hosts) -> Facts:
    """Everything about a message that counts."""
    sip = m.sip
    found = [Fact("transport", m.transport, m.transport, 62)]
    found += _start(sip, known)
    found += _headers(sip)
    found += _addresses(m, known)
    found += _bodies(sip, known)
    if sip.defects:
        found.append(Fact("form", ";".join(sip.defects), "; ".join(sip.defects), 72))
    return {f.what: f for f in found}


def _start(sip: SipMessage, known: Hosts) -> Iterator[Fact]:
    if not sip.is_request:
        # Another phrase with the same code tells something only when it failed.
        yield Fact("reason phrase", sip.reason.lower(), sip.reason, 74 if sip.code >= 300 else 8)
        return

    uri = parse_uri(sip.uri)
    yield Fact("Request-URI scheme", uri.scheme, uri.scheme, 64)
    yield _place("Request-URI host", uri.host, known, 58)
    yield from _user("Request-URI", uri.user, 56)
    params = sorted(f"{k}={v}" if v is not None else k for k, v in uri.params.items())
    yield Fact("Request-URI parameters", ";".join(params), ";".join(params), 54)


def _user(where: str, user: str, weight: int) -> Iterator[Fact]:
    """How a number is written may route it elsewhere; which number it is differs between any two calls."""
    yield Fact(f"{where} number format", _shape(user), user, weight)
    yield Fact(f"{where} user", user, user, 10)


def _shape(user: str) -> str:
    digits = user.lstrip("+")
    if not digits.isascii() or not digits.isdigit():
        return "name" if user else ""
    return ("+" if user.startswith("+") else "00" if digits.startswith("00") else "") + str(len(digits))


def _place(what: str, host: str, known: Hosts, weight: int) -> Fact:
    """A host of the call by its number, any other address by its kind, a name as it is."""
    found = literal(host)
    if found is None:
        return Fact(what, host.lower(), host, weight)
    number = known.get(str(found)) or known.get(host)
    if number:
        return Fact(what, f"host {number}", f"{host} (host {number})", weight)
    kind = "unspecified" if found.is_unspecified else "private" if is_private(host) else "public"
    return Fact(what, kind, f"{host} ({kind}, no host of this call)", weight)


def _headers(sip: SipMessage) -> Iterator[Fact]:
    for name, weight in SETS.items():
        tokens = sorted({v.lower() for v in sip.all(name)})
        yield Fact(name, ",".join(tokens), ", ".join(tokens), weight)
    for name, weight in VALUES.items():
        text = ", ".join(sip.all(name))
        yield Fact(name, "".join(text.lower().split()), text, weight)
    for name, weight in COUNTED.items():
        count = str(len(sip.all(name)))
        yield Fact(f"{name} headers", count, count, weight)
    for name, weight in PRESENT.items():
        there = "present" if sip.fields(name) else ""
        yield Fact(name, there, there, weight)
    agent = sip.user_agent
    yield Fact("User-Agent", agent, agent, 46)
    told = {*SETS, *VALUES, *COUNTED, *PRESENT, *NOISE}
    for name in sorted({h.name for h in sip.headers} - told):
        yield Fact(f"header {name}", "present", "present", OTHER_HEADER)


def _addresses(m: TraceMessage, known: Hosts) -> Iterator[Fact]:
    sip = m.sip
    for name, party in (("From", sip.from_), ("To", sip.to)):
        if party is not None:
            yield _place(f"{name} host", party.uri.host, known, 44)
            yield from _user(name, party.uri.user, 38)
    if sip.contacts:
        uri = sip.contacts[0].uri
        yield _place("Contact host", uri.host, known, 76)
        transport = (uri.params.get("transport") or "").lower()
        yield Fact("Contact transport", transport, transport, 55)
    via = sip.top_via
    if via is not None and sip.is_request:
        rport = "present" if "rport" in via.params else ""
        yield Fact("Via rport", rport, rport, 50)
    for name in ("Route", "Record-Route"):
        strict = [v for v in sip.all(name) if ";lr" not in v.lower()]
        yield Fact(f"{name} without lr", str(len(strict)), ", ".join(strict), 66)


def _bodies(sip: SipMessage, known: Hosts) -> Iterator[Fact]:
    sdp = sip.sdp
    yield Fact("SDP", "present" if sdp else "", "present" if sdp else "", 80)
    if sdp is None:
        return
    yield Fact("SDP streams", ",".join(m.kind for m in sdp.media), ", ".join(m.kind for m in sdp.media), 79)
    for n, stream in enumerate(sdp.media, 1):
        yield from _stream(f"SDP {stream.kind} {n}", stream, sdp, known)


def _stream(where: str, stream: Media, sdp: SessionDescription, known: Hosts) -> Iterator[Fact]:
    refused = "refused (port 0)" if stream.port == 0 else "wanted"
    yield Fact(f"{where} stream", refused, refused, 92)
    yield Fact(f"{where} profile", stream.proto.upper(), stream.proto, 84)
    codecs = [codec_text(c) for c in stream.codecs]
    yield Fact(f"{where} codecs", ",".join(codecs).lower(), ", ".join(codecs), 83)
    for c in stream.codecs:
        fmtp = ";".join(sorted(p.strip() for p in (c.fmtp or "").split(";")))
        yield Fact(f"{where} fmtp of {codec_text(c)}", fmtp.lower(), c.fmtp or "", 77)
    yield Fact(f"{where} direction", stream.direction, stream.direction, 81)
    for name, weight in (("ptime", 60), ("maxptime", 30), ("setup", 55), ("rtcp-mux", 35)):
        value = stream.attribute(name)
        shown = "present" if value == "" else value or ""
        yield Fact(f"{where} {name}", shown, shown, weight)
    keys = keying(stream, sdp)
    yield Fact(f"{where} keys", ",".join(keys), ", ".join(keys), 82)
    yield _place(f"{where} address", stream.address, known, 75)


def codec_text(c: Codec) -> str:
    """A codec as `name/clock`, with channels where there are two."""
    return f"{c.name}/{c.clock}" + (f"/{c.channels}" if c.channels > 1 else "")


def keying(stream: Media, sdp: SessionDescription) -> list[str]:
    """How SRTP keys are given: the suites of a=crypto, and the hash of a=fingerprint. Never the keys themselves."""
    found = []
    for name, value in (*stream.attributes, *sdp.attributes):
        words = (value or "").split()
        if name == "crypto" and len(words) > 1:
            found.append(f"crypto {words[1]}")
        elif name == "fingerprint" and words:
            found.append(f"fingerprint {words[0].lower()}")
    return list(dict.fromkeys(found))


def changed(a: Facts, b: Facts) -> Iterator[tuple[str, str, str, int]]:
    """What differs between two messages: what, shown on each side, weight."""
    for what in dict.fromkeys((*a, *b)):
        one, two = a.get(what), b.get(what)
        if (what.startswith("SDP ") and _differ(a, b, "SDP")) or (_STREAM.match(what) and _differ(a, b, "SDP streams")):
            continue  # said already: it is missing as a whole
        if (one.same if one else "") == (two.same if two else ""):
            continue
        user = what.removesuffix(" user")
        if user != what and _differ(a, b, f"{user} number format"):
            continue  # said already: the way it is written
        weight = max(f.weight for f in (one, two) if f)
        yield what, _shown(one, two, what), _shown(two, one, what), weight


def _differ(a: Facts, b: Facts, what: str) -> bool:
    one, two = a.get(what), b.get(what)
    return (one.same if one else "") != (two.same if two else "")


def _shown(mine: Fact | None, theirs: Fact | None, what: str) -> str:
    """The value; of sets only what the other side lacks, where both have some."""
    if mine is None or not mine.shown:
        return "-"
    if what.lower() in LISTS and what in SETS and theirs is not None and theirs.shown:
        more = [t for t in mine.shown.split(", ") if t not in theirs.shown.split(", ")]
        return f"also {', '.join(more)}" if more else "nothing more"
    return mine.shown
