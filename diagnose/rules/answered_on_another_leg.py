"""A leg of a call failed, but the switch tried another way, and there the call was answered."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.beyond import final_refusal, rescued_by
from diagnose.call import Call
from diagnose.finding import Finding, public_name
from diagnose.refusals import said
from diagnose.report import fact

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "info", 5, "RFC 3261 section 6 (back-to-back user agent), RFC 3263 section 4.3"


def check(call: Call) -> Iterator[Finding]:
    """One finding on the leg that failed."""
    if call.trace.legs is None or (answered := rescued_by(call)) is None:
        return
    refusal = final_refusal(call)
    if refusal is not None:
        how = f"failed with {said(refusal.m.sip)}"
        why = fact(refusal, f"{refusal.m.src.ip} refused this leg", refusal.m.sip.start_line)
    elif not call.responses:
        how = "got no answer at all"
        why = fact(call.invites[-1], f"nothing came back from {call.invites[-1].m.dst}")
    else:
        return  # still under way, or given up for the leg that answered first
    yield Finding(
        NAME,
        SEVERITY,
        "likely",
        f"This leg {how}, but the call was answered by way of {answered.dst}.",
        (why, fact(None, f"leg {answered.call_id}: {answered.src} to {answered.dst}, answered")),
        "The caller noticed nothing but the delay. If this way fails often, put it behind the other one.",
        REFERENCE,
        PRECEDENCE,
    )
