"""The caller gave up in the moment of the answer: it needs its ACK and its BYE all the same."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import SECOND, TIMEOUT, Call, Step
from diagnose.finding import Finding, public_name
from diagnose.guards import silence
from diagnose.report import fact, seconds

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 70, "RFC 3261 sections 9.1, 9.2 and 15"
NEAR = SECOND


def check(call: Call) -> Iterator[Finding]:
    """One finding a call. Where ACK and BYE follow it only tells why there are both; without them it is an error."""
    for c, answer in _races(call):
        acked = bool(call.acks(answer))
        ended = next((b for b in call.requests if b.m.sip.method == "BYE" and b.number > answer.number), None)
        severity, confidence, rest = SEVERITY, "certain", "and was then ended in order"
        evidence = [
            fact(c, f"CANCEL from {c.m.src.ip}"),
            fact(answer, f"{answer.m.sip.code} from {answer.m.src.ip}, {seconds(abs(answer.m.ts - c.m.ts))} apart"),
        ]
        if ended is not None:
            evidence.append(fact(ended, f"BYE from {ended.m.src.ip}"))
        if not acked or ended is None:
            judged = silence(call, answer, answer.m.ts + TIMEOUT)
            if not judged.believable:
                continue
            missing = " and ".join(["no ACK"] * (not acked) + ["no BYE"] * (ended is None))
            severity, confidence = "error", judged.confidence
            rest = f"but {missing} followed: the called side hears silence and may be billed"
            evidence.append(fact(None, judged.why or f"{missing} followed within {seconds(TIMEOUT)}"))
        yield Finding(
            NAME,
            severity,
            confidence,
            f"{c.m.src.ip} cancelled the call just when {answer.m.src.ip} answered it: it was answered, {rest}.",
            tuple(evidence),
            "A 200 that crosses the CANCEL wins. The calling side has to send ACK and then BYE; where it does not, its "
            "software or the box before it is at fault.",
            REFERENCE,
            PRECEDENCE,
        )
        return


def race(call: Call, answer: Step) -> bool:
    """The answer came together with the caller's CANCEL: whatever is missing after it is told by this rule."""
    return any(a.key == answer.key for _, a in _races(call))


def unheeded(call: Call) -> bool:
    """The caller did not take an answer that came together with its CANCEL."""
    return any(not call.acks(a) for _, a in _races(call))


def _races(call: Call) -> Iterator[tuple[Step, Step]]:
    """Each CANCEL whose INVITE was answered at the same time or later, with that answer."""
    for c in call.requests:
        if c.m.sip.method != "CANCEL":
            continue
        asked = next((s for s in call.requests if s.m.sip.method == "INVITE" and s.key[2] == c.key[2]), None)
        answer = asked and next((a for a in call.answers_to(asked) if 200 <= a.m.sip.code < 300), None)
        if answer is not None and answer.m.ts >= c.m.ts - NEAR:
            yield c, answer
