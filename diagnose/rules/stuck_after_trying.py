"""The next hop took the call with 100 Trying, and then nothing came from it: its own route is silent."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import SECOND, Call, Step
from diagnose.finding import Evidence, Finding, public_name
from diagnose.guards import silence
from diagnose.report import fact, seconds

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 10, "RFC 3261 sections 16.6 (step 11) and 16.7"
LONG = 5 * SECOND
"""From here on a caller wonders."""
TOO_LONG = 12 * SECOND


def check(call: Call) -> Iterator[Finding]:
    """One finding for each INVITE at the last hop that is seen of it; what a hop further on does is told there."""
    for s in call.invites:
        answers = call.answers_to(s)
        trying = next((a for a in answers if a.m.sip.code == 100), None)
        if trying is None or call.onward(s):
            continue
        further = next((a for a in answers if a.m.sip.code > 100), None)
        given_up = next(
            (c for c in call.requests if c.m.sip.method == "CANCEL" and c.key[2] == s.key[2] and c.number > s.number),
            None,
        )
        end: Step | None = given_up if given_up and (further is None or given_up.number < further.number) else further
        evidence: list[Evidence] = [fact(trying, f"{trying.m.src} said 100 after {seconds(trying.m.ts - s.m.ts)}")]
        confidence = "certain"
        if end is None:
            judged = silence(call, s, s.m.ts + TOO_LONG)
            if not judged.believable:
                continue
            waited, confidence = call.trace.capture_end - s.m.ts, judged.confidence
            evidence.append(
                fact(None, judged.why or f"then nothing for {seconds(waited)}, as far as this capture goes")
            )
            how = f"nothing else came for {seconds(waited)}"
        else:
            waited = end.m.ts - s.m.ts
            if waited < (LONG if end is given_up else TOO_LONG) or (end is further and end.m.sip.code < 300):
                continue
            said = "CANCEL" if end is given_up else f"{end.m.sip.code} {end.m.sip.reason}"
            evidence.append(fact(end, f"{said} from {end.m.src} after {seconds(waited)}, and nothing before it"))
            by = "the caller gave up" if end is given_up else f"it ended with {said}"
            how = f"nothing else came until {by} after {seconds(waited)}"
        yield Finding(
            NAME,
            SEVERITY if waited >= TOO_LONG else "warning",
            confidence,
            f"{trying.m.src.ip} took the call with 100 Trying, but {how}.",
            tuple(evidence),
            f"{trying.m.src.ip} has the call and waits for its own next hop: ask there for its outgoing leg.",
            REFERENCE,
            PRECEDENCE,
        )
