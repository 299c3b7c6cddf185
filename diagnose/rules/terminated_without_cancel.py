"""487 for an INVITE that nobody cancelled here: it was ended on another leg, or by the called side's own timer."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call
from diagnose.causes import causes
from diagnose.finding import Finding, public_name
from diagnose.refusals import refusals, request_of, said
from diagnose.report import fact, seconds

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "info", 90, "RFC 3261 sections 9.2, 15.1.2 and 21.4.25"


def check(call: Call) -> Iterator[Finding]:
    """One finding a call, where its beginning is here and no CANCEL or BYE asked for it."""
    if not call.seen_from_start or any(s.m.sip.method in ("CANCEL", "BYE") for s in call.requests):
        return
    for s in refusals(call):
        asked = request_of(call, s)
        # A request of the side that was asked may have gone past this tap: only where it is heard is that not so.
        if s.m.sip.code != 487 or asked is None or s.m.src.ip not in call.trace.heard:
            continue
        later = call.answered_after(s)
        evidence = [fact(s, f"{s.m.src.ip} answered {said(s.m.sip)} after {seconds(s.m.ts - asked.m.ts)}")]
        evidence += [fact(s, f"it says why: {c.words}", c.line) for c in causes(s)]
        evidence.append(fact(None, "no CANCEL and no BYE is in this call"))
        if later is not None:
            evidence.append(fact(later, f"{later.m.src.ip} answered: this was the branch that lost"))
        yield Finding(
            NAME,
            SEVERITY,
            "certain" if not call.trace.losses else "possible",
            f"{s.m.src.ip} ended the call with 487 after {seconds(s.m.ts - asked.m.ts)}, and {s.m.dst.ip} had not "
            "cancelled it.",
            tuple(evidence),
            "Look for the CANCEL in the call's other leg, for another telephone that took the call, or for a timer of "
            f"{s.m.src.ip} that ends ringing.",
            REFERENCE,
            PRECEDENCE,
        )
        return
