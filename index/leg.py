"""One leg of a call as linking sees it: who called whom over which hop, when it was answered and ended, and the marks
that a back-to-back user agent (RFC 3261 section 6) may have carried over from the leg before. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from index.opening import Opening
from index.trace import Endpoint
from sip.address import parse_name_addr, parse_uri
from sip.message import SipMessage
from sip.sdp import SessionDescription

HEADERS = (
    "X-Call-ID",
    "X-CID",
    "X-Original-Call-ID",
    "X-Correlation-ID",
    "X-CorrelationID",
    "X-B2B-Call-ID",
    "Cisco-Guid",
    "X-Cisco-Guid",
)
"""Headers whose whole value names the call, or another leg's Call-ID."""
CORRELATION = "HEP correlation id"
NIL = "0" * 32
"""The nil UUID: "not known yet" (RFC 7989 section 4.2)."""
NAMELESS = frozenset({"", "anonymous", "unknown", "unavailable", "restricted", "private"})
_UUID = re.compile(r"(?:^|remote=)([0-9a-fA-F]{32})\b")
_ICID = re.compile(r'icid-value="?([^";,\s]+)', re.IGNORECASE)
_NO_DIGITS = re.compile(r"\D")
_LOOKS_LIKE_A_NUMBER = re.compile(r"\+?[0-9*#().\- ]+")


@dataclass(frozen=True, slots=True)
class LegRules:
    """What an installation may set."""

    headers: tuple[str, ...] = ()
    """Further headers whose value names the call."""
    digits: int = 7
    """Two numbers that end in as many equal digits are one number, written with different prefixes."""
    strip: tuple[str, ...] = ()
    """Regular expressions that are taken off the beginning of a number before it is compared."""
    hosts: tuple[frozenset[str], ...] = ()
    """Groups of addresses that are one machine."""

    def number(self, user: str) -> str:
        """A user part as it is compared: digits alone where it is a number, else in lower case."""
        user = user.partition(";")[0]
        for pattern in self.strip:
            user = re.sub(f"^(?:{pattern})", "", user)
        if _LOOKS_LIKE_A_NUMBER.fullmatch(user):
            return _NO_DIGITS.sub("", user)
        return user.lower()

    def host(self, ip: str) -> str:
        """The name of the machine that has the address."""
        return next((min(group) for group in self.hosts if ip in group), ip)


@dataclass(frozen=True, slots=True)
class Leg:
    """One Call-ID that begins with an INVITE. Times are ns since the epoch; None means "not seen"."""

    call_id: str
    start: int
    src: Endpoint
    dst: Endpoint
    callers: frozenset[str]
    """Numbers or names, as `LegRules.number` has them, of every header that names the caller."""
    callees: frozenset[str]
    """Numbers or names, as `LegRules.number` has them, of the To header and the Request-URI."""
    rang: int | None = None
    """The first provisional response but 100."""
    answered: int | None = None
    failed: int | None = None
    code: int = 0
    """Of the final failure."""
    ended: int | None = None
    """BYE or CANCEL, whoever sent it."""
    last: int = 0
    """Last message."""
    marks: frozenset[tuple[str, str]] = field(default=frozenset())
    """(header, value) of what names the call beyond this leg."""
    named: frozenset[str] = field(default=frozenset())
    """Call-IDs of other legs that this one names (Replaces, X-Call-ID, …)."""
    origin: str = ""
    """Of its offer: who made the session description (RFC 8866 section 5.2)."""
    media: frozenset[str] = field(default=frozenset())
    """Media addresses of its offer."""
    codecs: tuple[str, ...] = ()

    @property
    def settled(self) -> int | None:
        """When it was answered, or failed."""
        return self.answered if self.answered is not None else self.failed

    @property
    def over(self) -> int | None:
        """When it ended for good, as far as was seen."""
        return self.ended if self.answered is not None or self.failed is None else self.failed


def leg_of(call: Opening, rules: LegRules) -> Leg:
    """The leg of a call that was seen from its INVITE on."""
    sip = call.sip
    marks, named = _marks(sip, rules)
    if call.correlation and call.correlation != call.call_id:
        marks, named = marks | {(CORRELATION, call.correlation)}, named | {call.correlation}
    sdp = sip.sdp
    return Leg(
        call.call_id,
        call.at,
        call.src,
        call.dst,
        _users(rules, [sip.from_.uri.user if sip.from_ else "", *_asserted(sip)]),
        _users(rules, [sip.to.uri.user if sip.to else "", parse_uri(sip.uri).user]),
        call.rang,
        call.answered,
        call.failed,
        call.code,
        call.ended,
        call.last,
        marks,
        named,
        sdp.origin if sdp else "",
        _media(sdp) if sdp else frozenset(),
        tuple(c.name for s in sdp.media for c in s.codecs) if sdp else (),
    )


def _users(rules: LegRules, users: Iterable[str]) -> frozenset[str]:
    return frozenset(rules.number(u) for u in users if u.lower() not in NAMELESS)


def _asserted(sip: SipMessage) -> list[str]:
    """Who the trunk says is calling (RFC 3325, and the draft that came before it)."""
    return [parse_name_addr(v).uri.user for name in ("P-Asserted-Identity", "Remote-Party-ID") for v in sip.all(name)]


def _marks(sip: SipMessage, rules: LegRules) -> tuple[frozenset[tuple[str, str]], frozenset[str]]:
    marks: set[tuple[str, str]] = set()
    named: set[str] = set()
    for name in (*HEADERS, *rules.headers):
        value = sip.first(name).strip()
        if value:
            marks.add((name, value))
            named.add(value)
    for value in sip.all("Session-ID"):
        marks |= {("Session-ID", u.lower()) for u in _UUID.findall(value.replace(" ", "")) if u != NIL}
    marks |= {("P-Charging-Vector", u) for value in sip.all("P-Charging-Vector") for u in _ICID.findall(value)}
    named |= {value.partition(";")[0].strip() for name in ("Replaces", "Target-Dialog") for value in sip.all(name)}
    return frozenset(marks), frozenset(named)


def _media(sdp: SessionDescription) -> frozenset[str]:
    return frozenset(f"{s.address}:{s.port}" for s in sdp.media if s.port and s.address not in ("", "0.0.0.0", "::"))
