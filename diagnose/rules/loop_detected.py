"""The call runs in circles: devices send it back and forth until one of them stops it (482 Loop Detected)."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.finding import Evidence, Finding, public_name
from diagnose.refusals import refusals, request_of, said
from diagnose.report import fact, listed
from diagnose.routes import branches, circle

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 39, "RFC 3261 sections 16.3 and 8.2.2.2, RFC 5393"
_ADVICE = (
    "Look at the routes of both for this number: usually one has a default route to the other, which sends unknown "
    "numbers back. Give the number a route of its own, or refuse it."
)


def check(call: Call) -> Iterator[Finding]:
    """One finding: for the circle that is seen, or else for the 482."""
    round_trip = circle(call)
    stops = [s for s in refusals(call) if s.m.sip.code in (482, 483)]
    told = next((s for s in stops if s.m.sip.code == 482), None)
    if round_trip:
        yield _seen(call, round_trip, stops[0] if stops else None)
    elif told is not None:
        yield _told(call, told)


def _seen(call: Call, arrivals: list[Step], stop: Step | None) -> Finding:
    host = arrivals[0].m.dst.ip
    others = list(dict.fromkeys(s.m.src.ip for s in arrivals[1:]))
    evidence = [
        fact(s, f"arrival {n} at {host}, from {s.m.src.ip}: {len(s.m.sip.vias)} Via, Max-Forwards {_left(s)}")
        for n, s in enumerate(arrivals[:5], 1)
    ]
    if stop is not None:
        evidence.append(fact(stop, f"{stop.m.src.ip} stopped it: {said(stop.m.sip)}", stop.m.sip.start_line))
    return _finding(
        call,
        arrivals[-1],
        "certain",
        f"The call runs in circles between {host} and {listed(others)}: it came to {host} {len(arrivals)} ×.",
        evidence,
        _ADVICE,
    )


def _told(call: Call, stop: Step) -> Finding:
    host, asked = stop.m.src.ip, request_of(call, stop)
    evidence = [fact(stop, f"{host} answered {said(stop.m.sip)}", stop.m.sip.start_line)]
    twin = _twin(call, asked) if asked is not None else None
    if asked is not None and twin is not None:
        evidence.append(fact(twin, f"the same request from {twin.m.src.ip}, by another way"))
        evidence.append(fact(asked, f"and from {asked.m.src.ip}: neither has the other's Via"))
        headline = f"The same call reached {host} by two ways and it took one of them: {said(stop.m.sip)}."
        advice = "A proxy before it forks to two ways that meet again. Let only one of them lead there."
    else:
        headline, advice = f"{host} says that the call runs in circles: {said(stop.m.sip)}.", _ADVICE
        if asked is not None:
            evidence.append(fact(asked, f"the request came with {len(asked.m.sip.vias)} Via from {asked.m.src.ip}"))
    return _finding(call, stop, "likely", headline, evidence, advice)


def _finding(call: Call, last: Step, confidence: str, headline: str, evidence: list[Evidence], advice: str) -> Finding:
    later = call.answered_after(last)
    if later is not None:
        evidence.append(fact(later, f"{later.m.src.ip} answered all the same"))
    severity = "info" if later else SEVERITY
    return Finding(NAME, severity, confidence, headline, tuple(evidence), advice, REFERENCE, PRECEDENCE)


def _left(s: Step) -> str:
    return s.m.sip.first("Max-Forwards") or "absent"


def _twin(call: Call, asked: Step) -> Step | None:
    """The same request at the same host on a way of its own (a merged request)."""
    for i in call.invites:
        same = (i.m.dst.ip, i.m.sip.cseq, i.side) == (asked.m.dst.ip, asked.m.sip.cseq, asked.side)
        if same and i.number < asked.number and i.key != asked.key:
            one, other = branches(i), branches(asked)
            if not one <= other and not other <= one:
                return i
    return None
