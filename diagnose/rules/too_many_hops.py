"""483: a request passed so many devices that its Max-Forwards was used up, or it began with too few."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.finding import Finding, public_name
from diagnose.refusals import refusals, request_of, said
from diagnose.report import fact
from diagnose.routes import circle

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 39, "RFC 3261 sections 16.3, 8.1.1.6 and 21.4.21"
_FEW = 20
"""A request that begins with less than this is meant to go nowhere far: 70 is the recommended value."""


def check(call: Call) -> Iterator[Finding]:
    """One finding a method. Pings with few hops want just that answer, and a circle that is seen is the cause."""
    told: set[str] = set()
    stops = [s for s in refusals(call) if s.m.sip.code == 483]
    stops += [s for s in call.responses if s.m.sip.code == 483 and s.m.sip.method not in ("INVITE", "OPTIONS")]
    for s in stops:
        if s.m.sip.method in told or circle(call):
            continue
        told.add(s.m.sip.method)
        yield _finding(call, s)


def _finding(call: Call, s: Step) -> Finding:
    sip, asked = s.m.sip, request_of(call, s)
    evidence = [fact(s, f"{s.m.src.ip} answered {said(sip)}", sip.start_line)]
    headline = f"{s.m.src.ip} says that the {sip.method} passed too many devices: {said(sip)}."
    advice = "Look at the Vias: a device in them twice means a circle. Otherwise raise Max-Forwards where it starts."
    if asked is not None:
        hops, left = len(asked.m.sip.vias), asked.m.sip.first("Max-Forwards")
        evidence.append(
            fact(
                asked, f"it came with {hops} Via and Max-Forwards {left or 'absent'}", asked.header_line("Max-Forwards")
            )
        )
        headline = (
            f"{s.m.src.ip} refused the {sip.method} after {hops} hop{'s' if hops != 1 else ''}, with Max-Forwards "
            f"{left or 'absent'}: {said(sip)}."
        )
        if left.isdecimal() and int(left[:6]) + hops < _FEW:
            advice = (
                f"The request began with about {int(left[:6]) + hops - 1} hops to go; 70 is usual. Raise Max-Forwards "
                "at the device that sends it first."
            )
    later = call.answered_after(s) if sip.method == "INVITE" else None
    if later is not None:
        evidence.append(fact(later, f"{later.m.src.ip} answered all the same"))
    severity = "info" if later else SEVERITY
    return Finding(NAME, severity, "certain", headline, tuple(evidence), advice, REFERENCE, PRECEDENCE)
