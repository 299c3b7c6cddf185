"""480 before anything rang: the network ended the call, not the called party (nobody registered, no route, barred)."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import SECOND, Call, Step
from diagnose.causes import causes
from diagnose.finding import Finding, public_name
from diagnose.guards import weakened
from diagnose.refusals import explanations, refusals, said, told_by_capacity
from diagnose.report import fact, seconds
from diagnose.scanners import is_scan

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "info", 90, "RFC 3261 section 21.4.18, RFC 3326"

_RING = 5 * SECOND
"""Nobody can be said not to have answered in less. A 183 may also be an announcement that says why the call ends."""


def check(call: Call) -> Iterator[Finding]:
    """One finding for the call; after a ring it is the called party who did not answer."""
    ends = [s for s in refusals(call) if s.m.sip.code == 480 and not told_by_capacity(s.m.sip)]
    if not ends or is_scan(call) or call.answered_after(ends[-1]) is not None:
        return
    s = ends[-1]
    before = [r for r in call.responses if r.m.sip.method == "INVITE" and r.number < s.number]
    early = next((r for r in before if r.m.sip.code == 183), None)
    if any(r.m.sip.code == 180 for r in before) or (early is not None and s.m.ts - early.m.ts >= _RING):
        return
    to = s.m.sip.to
    who = (to.uri.user or to.uri.host if to else "") or "The called party"
    why = next((c.words for c in causes(s)), "") or next((value for value, _ in explanations(s)), "no reason is given")
    evidence = [fact(s, f"{s.m.src.ip} answered {said(s.m.sip)}; {_no_ring(s, early)}", s.m.sip.start_line)]
    evidence += [fact(s, f"it says why: {value}", line) for value, line in explanations(s)]
    yield Finding(
        NAME,
        SEVERITY,
        weakened(call, "certain") if call.seen_from_start else "possible",
        f"{who} was not available at {s.m.src.ip}: {said(s.m.sip)}, {why}.",
        tuple(evidence),
        "See whether a device is registered for this number there, and whether it is barred or forwarded.",
        REFERENCE,
        PRECEDENCE,
    )


def _no_ring(s: Step, early: Step | None) -> str:
    if early is None:
        return "nothing had rung before"
    return f"{said(early.m.sip)} came {seconds(s.m.ts - early.m.ts)} before, too short for a ring: an announcement"
