"""One side hung up and the other never answered: it may keep the call, and its bill, running."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import TIMEOUT, Call, Step
from diagnose.finding import Finding, public_name
from diagnose.guards import crosses, silence
from diagnose.report import fact, seconds

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 70, "RFC 3261 sections 15 and 17.1.2.2"


def check(call: Call) -> Iterator[Finding]:
    """One finding for each BYE, at the last hop that it reached."""
    byes = [s for s in call.requests if s.m.sip.method == "BYE"]
    for s in byes:
        if call.onward(s) or _answered(call, s):
            continue
        if any(b.side != s.side and _answered(call, b) for b in byes):
            continue  # both hung up at once: the other one's BYE ended the call
        judged = silence(call, s, s.m.ts + TIMEOUT)
        if not judged.believable:
            continue
        sends = call.copies(s)
        confidence = judged.confidence
        if len(sends) == 1 and confidence == "certain":
            confidence = "likely"  # a sender that tries only once did not wait for an answer
        took = seconds(sends[-1].m.ts - s.m.ts)
        evidence = [fact(s, f"the BYE to {s.m.dst} was sent {len(sends)} × within {took}; nothing came back")]
        target = s.m.sip.start_line
        host = target.split()[1].partition("@")[2].split(";")[0].rpartition(":")[0] if "@" in target else ""
        if host and crosses(host, s):
            evidence.append(fact(s, f"it is addressed to {host}, a private address", target))
        if judged.why:
            evidence.append(fact(None, judged.why))
        yield Finding(
            NAME,
            SEVERITY,
            confidence,
            f"{s.m.src.ip} hung up, but nothing came back from {s.m.dst} ({len(sends)} sent): the far side may keep "
            "the call.",
            tuple(evidence),
            "The far side is gone, or its address (the Contact it gave, or the port its NAT had opened) is not valid "
            "any more. Look there for a call that never ends, and for the bill; session timers would end it.",
            REFERENCE,
            PRECEDENCE,
        )


def _answered(call: Call, bye: Step) -> bool:
    """On this hop, also by a response whose branch was spoilt."""
    asked = (bye.m.sip.cseq, bye.side, bye.m.src.ip)
    return any(r.m.sip.code >= 200 for r in call.answers_to(bye)) or any(
        r.m.sip.method == "BYE" and r.m.sip.code >= 200 and (r.m.sip.cseq, r.side_of_request, r.m.dst.ip) == asked
        for r in call.responses
    )
