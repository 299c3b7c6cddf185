"""A switch passed on a refusal: the leg that it made for the call was refused, and by whom."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.beyond import children, refused_by_switch
from diagnose.call import Call
from diagnose.finding import Finding, public_name
from diagnose.refusals import said
from diagnose.report import fact, listed

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "info", 38, "RFC 3261 section 6 (back-to-back user agent)"


def check(call: Call) -> Iterator[Finding]:
    """One finding, where every leg beyond the switch failed."""
    refusal, further = refused_by_switch(call), children(call)
    if refusal is None or not further or any(c.state not in ("failed", "unanswered", "busy") for c in further):
        return
    ends = [f"{_ip(c.dst)} ({_end(c.final_code, c.final_reason)})" for c in further]
    changed = further[-1].final_code not in (None, refusal.m.sip.code)
    evidence = [fact(refusal, f"{refusal.m.src.ip} answered", refusal.m.sip.start_line)]
    for c in further:
        evidence.append(fact(None, f"leg {c.call_id}: {c.src} to {c.dst}, {_end(c.final_code, c.final_reason)}"))
    yield Finding(
        NAME,
        SEVERITY,
        "likely",
        f"{refusal.m.src.ip} passed on what came back from {listed(ends)}"
        + (f", as {said(refusal.m.sip)}." if changed else "."),
        tuple(evidence),
        "The reason is beyond the switch: open the other leg (siptrail legs, or x in the call flow) and send its "
        "ladder and pcap to whoever refused it.",
        REFERENCE,
        PRECEDENCE,
    )


def _end(code: int | None, reason: str | None) -> str:
    return "no answer at all" if code is None else f"{code} {reason or ''}".rstrip()


def _ip(place: str) -> str:
    return place.rpartition(":")[0].strip("[]")
