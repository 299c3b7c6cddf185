"""408: somebody further on did not answer in time, and this host says so in its place."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import SECOND, Call, Step
from diagnose.finding import Evidence, Finding, public_name
from diagnose.guards import losses_told, weakened
from diagnose.refusals import request_of, said
from diagnose.report import fact, seconds
from diagnose.rules import stuck_after_trying

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 40, "RFC 3261 sections 16.7, 17.1.1.2 and 21.4.9, RFC 4320 section 4.2"
_B = (30 * SECOND, 36 * SECOND)
"""Timer B or F of the host that answers, with the time it took itself."""


def check(call: Call) -> Iterator[Finding]:
    """One finding for each method, at the host that gave the 408 first; after ringing it is an ordinary no-answer."""
    told: set[str] = set()
    for s in call.responses:
        method = s.m.sip.method
        asked = request_of(call, s) if s.m.sip.code == 408 and method not in told else None
        if asked is None or method == "CANCEL":
            continue
        told.add(method)
        if method == "INVITE" and (_rang(call, asked) or any(stuck_after_trying.check(call))):
            continue
        waited = s.m.ts - asked.m.ts
        evidence = [fact(s, f"{s.m.src.ip} answered {said(s.m.sip)} after {seconds(waited)}", s.m.sip.start_line)]
        if _B[0] <= waited <= _B[1]:
            evidence.append(fact(None, "32 s is how long it waits for its own next hop"))
        evidence += _onward(call, asked)
        later = call.answered_after(s) if method == "INVITE" else None
        if later is not None:
            evidence.append(fact(later, "a later try was answered: the call did not fail"))
        doubt = losses_told(call)
        if doubt:
            evidence.append(fact(None, f"{doubt}: it may have rung before"))
        what = "got no answer behind it in time"
        severity = "info" if later else SEVERITY
        if method not in ("INVITE", "CANCEL"):
            severity = "info"
            evidence.append(
                fact(None, f"a {method} must not be answered with 408 at all: whoever asked has timed out too")
            )
        yield Finding(
            NAME,
            severity,
            weakened(call, "certain"),
            f"{s.m.src.ip} answered the {method} of {s.m.dst.ip} with 408 after {seconds(waited)}: it {what}.",
            tuple(evidence),
            f"The fault is behind {s.m.src.ip}: ask there where it sent the {method}, and look at that hop.",
            REFERENCE,
            90 if severity == "info" else PRECEDENCE,
        )


def _rang(call: Call, asked: Step) -> bool:
    return any(100 < a.m.sip.code < 200 for a in call.answers_to(asked))


def _onward(call: Call, asked: Step) -> list[Evidence]:
    """What that host had sent on, where it is seen here."""
    return [
        fact(o, f"it had sent it on to {o.m.dst}, which did not answer")
        for o in call.onward(asked)
        if not o.m.retransmission and not call.answers_to(o)
    ][:3]
