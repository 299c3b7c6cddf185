"""Where a request inside a dialog has to go: the route set and the target that its sender was told. Pure.

Only senders that began or ended the dialog are judged: what a proxy makes of a request is its own affair.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.call import Call, Step
from diagnose.dialogs import Dialog, dialogs, tags
from sip.address import SipUri, parse_name_addr, parse_uri
from sip.ip import is_ip, literal

_REACHED = (401, 407, 422, 488, 491)
"""Answers of the right side, whatever the way."""
_NOBODY_THERE = (404, 408, 410, 416, 480, 482, 483, 484, 485, 502, 503, 504, 604)
"""Answers that a wrong request URI gets; 481 is not among them, since a dialog is known by its tags."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a side was told when the dialog was made (RFC 3261 section 12.1)."""

    route: tuple[SipUri, ...]
    target: SipUri
    source: Step
    """The message that told it."""
    neighbours: frozenset[str]
    """Hosts that the INVITE itself passed between this side and the next hop."""


@dataclass(frozen=True, slots=True)
class Misrouted:
    """A request that does not go where its sender was told."""

    request: Step
    told: Told
    what: str
    expected: str
    found: str
    bypasses: bool
    """It went to another host, past the proxies of the dialog."""
    final: Step | None


def misrouted(call: Call) -> tuple[Misrouted, ...]:
    """Requests that bypass the route set, and those that failed with another route or target than they should have."""
    return call.once(_all_misrouted)


def _all_misrouted(call: Call) -> tuple[Misrouted, ...]:
    return tuple(_misrouted(call))


def _misrouted(call: Call) -> Iterator[Misrouted]:
    for d in dialogs(call):
        for r in d.requests:
            told = _told(call, d, r)
            if told is None:
                continue
            final = call.final_of(r)
            found = _bypass(r, told)
            bypasses = found is not None
            if found is None and final is not None and final.m.sip.code >= 400:
                found = _fatal(r, told, final.m.sip.code)
            if found is not None:
                yield Misrouted(r, told, *found, bypasses, final)


def difference(call: Call, request: Step) -> tuple[str, str, str] | None:
    """How a request differs from what its sender was told: (what, expected, found)."""
    for d in dialogs(call):
        if frozenset(tags(request)) == frozenset((d.caller, d.called)):
            told = _told(call, d, request)
            return _difference(request, told) if told is not None else None
    return None


def _told(call: Call, d: Dialog, r: Step) -> Told | None:
    """From the 2xx that the caller got, or the INVITE that the called side got; None for requests of proxies."""
    host = r.m.src.ip
    if len(r.m.sip.vias) != 1:
        return None
    cseq = d.answer.m.sip.cseq
    invites = [i for i in call.invites if i.side == d.caller and i.m.sip.cseq == cseq]
    if r.side == d.caller:
        own = [i for i in invites if i.m.src.ip == host and len(i.m.sip.vias) == 1]
        source = next((a for a in d.answers if a.m.dst.ip == host and a.number < r.number), None)
        if not own or source is None:
            return None
        recorded = tuple(reversed(source.m.sip.all("Record-Route")))
        near = {i.m.dst.ip for i in own} | {source.m.src.ip}
    else:
        source = next((i for i in invites if i.m.dst.ip == host and i.number < r.number), None)
        if source is None or call.onward(source):
            return None
        recorded = source.m.sip.all("Record-Route")
        near = {source.m.src.ip}
    target = _target(call, d, r, source)
    if target is None:
        return None
    route = tuple(parse_name_addr(v).uri for v in recorded)
    if any(literal(u.host) == literal(host) for u in route if is_ip(u.host)):
        return None  # It is itself one of the proxies.
    return Told(route, target, source, frozenset(near))


def _target(call: Call, d: Dialog, r: Step, source: Step) -> SipUri | None:
    """The latest Contact that reached this host from the other side (RFC 3261 section 12.2)."""
    found = source.m.sip.contacts[0].uri if source.m.sip.contacts else None
    pair = frozenset((d.caller, d.called))
    told = call.once(_targets).get((pair, r.m.src.ip), [])
    at = bisect_left(told, r.number, key=lambda t: t[0]) - 1
    return told[at][1] if at >= 0 and told[at][0] > source.number else found


def _targets(call: Call) -> dict[tuple[frozenset[str], str], list[tuple[int, SipUri]]]:
    """Contacts that came to a host within a dialog, with the numbers of their messages."""
    out: dict[tuple[frozenset[str], str], list[tuple[int, SipUri]]] = {}
    for s in call.steps:
        sip = s.m.sip
        if sip.method in ("INVITE", "UPDATE") and (sip.is_request or 200 <= sip.code < 300) and sip.contacts:
            out.setdefault((frozenset(tags(s)), s.m.dst.ip), []).append((s.number, sip.contacts[0].uri))
    return out


def _bypass(r: Step, told: Told) -> tuple[str, str, str] | None:
    first = next((parse_name_addr(v).uri for v in r.m.sip.all("Route")), None)
    known = {literal(u.host) for u in told.route} | {literal(n) for n in told.neighbours}
    if not told.route or literal(r.m.dst.ip) in known:
        return None
    if first is not None and not is_ip(first.host) and _place(first) == _place(told.route[0]):
        return None  # A name may stand for more hosts than were seen.
    return "destination", told.route[0].text, f"{r.m.dst.ip}, {'with' if first else 'without'} Route"


def _fatal(r: Step, told: Told, code: int) -> tuple[str, str, str] | None:
    """The difference to what the sender was told, where it explains this refusal."""
    found = _difference(r, told)
    if found is None or code in _REACHED:
        return None
    return found if found[0] == "Route" or code in _NOBODY_THERE else None


def _difference(r: Step, told: Told) -> tuple[str, str, str] | None:
    """Route set and request URI, as their sender should have written them (RFC 3261 section 12.2.1.1)."""
    sent = [parse_name_addr(v).uri for v in r.m.sip.all("Route")]
    loose = not told.route or "lr" in told.route[0].params
    route = list(told.route) if loose else [*told.route[1:], told.target]
    uri, target = parse_uri(r.m.sip.uri), told.target if loose else told.route[0]
    through_it = literal(r.m.dst.ip) in {literal(n) for n in told.neighbours}
    if [_place(u) for u in sent] != [_place(u) for u in route] and (sent or len(route) > 1 or not through_it):
        return "Route", _shown(route), _shown(sent)
    if (_place(uri), uri.user) != (_place(target), target.user):
        return "request URI", target.text, uri.text
    return None


def _place(uri: SipUri) -> tuple[str, int]:
    found = literal(uri.host)
    return str(found) if found else uri.host.lower(), uri.port or (5061 if uri.scheme == "sips" else 5060)


def _shown(route: list[SipUri]) -> str:
    return ", ".join(u.text for u in route) or "none"
