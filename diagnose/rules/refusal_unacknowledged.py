"""The call was refused, but the refusal is repeated: no ACK for it came, so the caller may never have had it."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import MAGIC, TIMEOUT, Call, Step
from diagnose.finding import Evidence, Finding, public_name
from diagnose.replies import misdirected
from diagnose.report import fact, seconds
from diagnose.resends import next_due, unanswered
from diagnose.rules import missing_rport
from diagnose.undelivered import refused_hops

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 70, "RFC 3261 sections 17.1.1.3, 17.2.1 and 18.2.2"


def check(call: Call) -> Iterator[Finding]:
    """One finding for each INVITE whose refusal is repeated to the end."""
    told: set[int | None] = set()
    for s in call.responses:
        sip, sends = s.m.sip, call.copies(s)
        if sip.method != "INVITE" or sip.code < 300 or sip.cseq in told or len(sends) < 2:
            continue
        acks = [a for a in call.requests if _acknowledges(a, s)]
        if any(a.key[2] == s.key[2] or not a.key[2].startswith(MAGIC) for a in acks):
            continue
        again = _asked_again(call, s)
        end = min(call.trace.capture_end, s.m.ts + TIMEOUT)
        if again is None and next_due(sends) < end:
            continue  # It stopped early: it had its ACK on a path unseen.
        judged = unanswered(call, sends)
        if not judged.believable or _astray(call, s):
            continue
        told.add(sip.cseq)
        took = seconds(sends[-1].m.ts - s.m.ts)
        evidence = [
            fact(
                s,
                f"{sip.code} {sip.reason} went to {s.m.dst} {len(sends)} × within {took}; no ACK with its branch came",
                s.header_line("Via"),
            )
        ]
        why, advice = _cause(call, s, acks, again, evidence)
        if judged.why:
            evidence.append(fact(None, judged.why))
        yield Finding(
            NAME,
            SEVERITY,
            judged.confidence,
            f"{s.m.src.ip} repeats its {sip.code} {sip.reason} and gets no ACK from {s.m.dst.ip}: {why}.",
            tuple(evidence),
            advice,
            REFERENCE,
            PRECEDENCE,
        )


def _astray(call: Call, s: Step) -> bool:
    """Another rule tells that replies do not go to where the INVITE came from: the missing ACK is the consequence."""
    undelivered = (s.m.src, s.m.dst) in refused_hops(call)
    return (
        undelivered or misdirected(call, s) is not None or any(f.severity == "error" for f in missing_rport.check(call))
    )


def _acknowledges(a: Step, s: Step) -> bool:
    return (a.m.sip.method, a.m.sip.cseq, a.m.dst.ip) == ("ACK", s.m.sip.cseq, s.m.src.ip) and a.number > s.number


def _asked_again(call: Call, s: Step) -> Step | None:
    """The INVITE is repeated although its final response was sent half a second and more before."""
    asked = [i for i in call.steps if i.m.sip.is_request and i.key == s.key and i.m.dst.ip == s.m.src.ip]
    return next((i for i in asked if i.m.ts - s.m.ts > 400_000_000), None)


def _cause(call: Call, s: Step, acks: list[Step], again: Step | None, evidence: list[Evidence]) -> tuple[str, str]:
    """What the caller's own behaviour shows, and what to do then."""
    if acks:
        evidence.append(fact(acks[0], "this ACK has another branch than the INVITE", acks[0].header_line("Via")))
        return (
            "the ACK that came has the wrong branch",
            "The caller, or a proxy on the way, must give this ACK the branch of its INVITE; report it to the vendor.",
        )
    if again is not None:
        evidence.append(fact(again, "the INVITE was repeated after that: the caller never had the reply"))
        return (
            "the reply does not reach the caller",
            "Look at the way back: the address and port in the topmost Via, rport, NAT and the caller's firewall.",
        )
    went_on = next((r for r in call.requests if r.number > s.number and r.m.src.ip == s.m.dst.ip), None)
    if went_on is not None:
        evidence.append(fact(went_on, f"the caller went on with this {went_on.m.sip.method}: it had the reply"))
        return (
            "the caller had the reply but does not acknowledge it",
            "The caller must acknowledge every final response to an INVITE; update its software or report it.",
        )
    return (
        "the reply or its ACK is lost on the way",
        "Look at the way back first: the address and port in the topmost Via, rport, NAT and the caller's firewall. "
        "A capture next to the caller shows whether it had the reply and sent an ACK.",
    )
