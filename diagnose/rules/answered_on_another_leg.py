"""A leg of a call failed, but the switch tried another way, and there the call was answered."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.beyond import final_refusal, siblings
from diagnose.call import Call
from diagnose.finding import Finding, public_name
from diagnose.refusals import said
from diagnose.report import fact

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "info", 36, "RFC 3261 section 6 (back-to-back user agent), RFC 3263 section 4.3"


def check(call: Call) -> Iterator[Finding]:
    """One finding on the leg that failed."""
    refusal = final_refusal(call)
    answered = next((c for c in siblings(call) if c.state in ("in-call", "completed")), None)
    if refusal is None or answered is None:
        return
    yield Finding(
        NAME,
        SEVERITY,
        "likely",
        f"This leg failed with {said(refusal.m.sip)}, but the call was answered by way of {answered.dst}.",
        (
            fact(refusal, f"{refusal.m.src.ip} refused this leg", refusal.m.sip.start_line),
            fact(None, f"leg {answered.call_id}: {answered.src} to {answered.dst}, answered"),
        ),
        "The caller noticed nothing but the delay. If this way fails often, put it behind the other one.",
        REFERENCE,
        PRECEDENCE,
    )
