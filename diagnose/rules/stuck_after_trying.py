"""The next hop took the call (100 Trying), and then nothing: its own way onwards is silent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.beyond import further
from diagnose.call import SECOND, Call, Step
from diagnose.connections import cut_requests
from diagnose.finding import Finding, public_name
from diagnose.guards import silence
from diagnose.report import fact, seconds

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 40, "RFC 3261 sections 16.6, 16.7 and 17.2.1"
LONG, SILENT = 5 * SECOND, 12 * SECOND
"""From here on a caller doubts that anything happens, and gives up."""
_TIMER_C = 180 * SECOND
"""No proxy waits longer (RFC 3261 section 16.6, step 11)."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """An INVITE that got 100 and no sign of progress."""

    invite: Step
    trying: Step
    waited: int
    end: Step | None
    """What ended the wait: the caller's CANCEL, or a refusal."""


def check(call: Call) -> Iterator[Finding]:
    """One finding for each target, at the last hop that is seen to be stuck."""
    stuck = {s.number: found for s in call.invites if (found := _stuck(call, s))}
    told: set[str] = set()
    for found in stuck.values():
        s = found.invite
        onward = [o for o in call.onward(s) if not o.m.retransmission]
        if s.number in cut_requests(call):
            continue  # Its connection ended meanwhile, and that has a rule of its own.
        if s.m.dst.ip in told or any(o.number in stuck or not call.answers_to(o) for o in onward):
            continue  # The silence is further down: that hop, or the rule for an unanswered INVITE, speaks.
        judged = silence(call, s, s.m.ts + found.waited)
        if not judged.believable:
            continue
        told.add(s.m.dst.ip)
        waited = seconds(found.waited)
        evidence = [
            fact(s, f"the INVITE went to {s.m.dst}"),
            fact(found.trying, f"100 after {seconds(found.trying.m.ts - s.m.ts)}; nothing else for {waited}"),
        ]
        if found.end is not None:
            what = found.end.m.sip
            did = "the caller gave up" if what.is_request else f"then {what.code} {what.reason} came"
            evidence.append(fact(found.end, f"{did}, {waited} after the INVITE"))
        swallowed = next((r for o in onward for r in call.answers_to(o) if 100 < r.m.sip.code < 300), None)
        if swallowed is not None:
            evidence.append(
                fact(swallowed, f"{swallowed.m.sip.code} came from behind and was not passed on by {s.m.dst.ip}")
            )
        for way in further(call):
            came = "nothing came of it" if way.leg.final_code is None else f"ended with {way.leg.final_code}"
            came = "rang there" if way.leg.pdd_ms is not None else came
            evidence.append(fact(None, f"it went on to {way.leg.dst} as leg {way.leg.call_id}: {came}"))
        later = call.answered_after(s)
        if later is not None:
            evidence.append(fact(later, "another route then answered: the call did not fail"))
        if judged.why:
            evidence.append(fact(None, judged.why))
        yield Finding(
            NAME,
            SEVERITY if found.waited >= SILENT and later is None else "warning",
            judged.confidence,
            f"{s.m.dst} took the call with 100 and showed no progress for {waited}.",
            tuple(evidence),
            "The next hop accepted the call but its own route is silent: ask its operator for the outgoing leg of this "
            "call, and set a shorter timer for the first ringing so that another route is tried.",
            REFERENCE,
            PRECEDENCE,
        )


def _stuck(call: Call, s: Step) -> Stuck | None:
    answers = call.answers_to(s)
    trying = next((r for r in answers if r.m.sip.code == 100), None)
    if trying is None:
        return None
    end = next((r for r in answers if r.m.sip.code > 100), None)
    cancel = next(
        (c for c in call.requests if c.m.sip.method == "CANCEL" and c.key[2] == s.key[2] and c.number > s.number), None
    )
    if cancel is not None and (end is None or cancel.number < end.number):
        waited = cancel.m.ts - s.m.ts
        return Stuck(s, trying, waited, cancel) if waited >= LONG else None
    if end is not None:
        # Ringing, however late, is progress; a refusal within a dozen seconds is a far side at work.
        waited = end.m.ts - s.m.ts
        return Stuck(s, trying, waited, end) if end.m.sip.code >= 300 and waited >= SILENT else None
    waited = min(call.trace.capture_end - s.m.ts, _TIMER_C)
    return Stuck(s, trying, waited, None) if waited >= SILENT else None
