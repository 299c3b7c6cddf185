"""A server asked for credentials and none followed, or they followed late: the device has none for that realm."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import SECOND, TIMEOUT, Call, Step
from diagnose.credentials import Digest, challenges, proofs, succeeded_after
from diagnose.finding import Evidence, Finding, public_name
from diagnose.guards import leaps, silence
from diagnose.refusals import said
from diagnose.report import fact, seconds
from diagnose.scanners import is_scan

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 30, "RFC 3261 sections 22.1, 22.2 and 22.3"
_LATE = 2 * SECOND
_ALIVE_ALL_THE_SAME = ("OPTIONS", "ACK", "CANCEL")
"""A ping is answered by a challenge as well as by anything else, and the others cannot be challenged."""


def check(call: Call) -> Iterator[Finding]:
    """One finding for each realm that nobody answers, or answers late."""
    told: set[tuple[str, str]] = set()
    for s, offered in challenges(call):
        realm = offered[0].get("realm")
        if s.m.sip.method in _ALIVE_ALL_THE_SAME or (realm, s.m.sip.method) in told:
            continue
        told.add((realm, s.m.sip.method))
        if is_scan(call):
            return
        given = [r for d in offered for r, _ in proofs(call, s.m.sip.code, d.get("realm"))]
        after = next((r for r in given if r.number > s.number and r.m.sip.method == s.m.sip.method), None)
        if after is not None:
            if after.m.ts - s.m.ts > _LATE and not leaps(s, after):
                yield _late(s, offered[0], after)
        elif not given and succeeded_after(call, s) is None:
            judged = silence(call, s, s.m.ts + TIMEOUT)
            if judged.believable:
                yield _never(call, s, offered[0], judged.confidence, judged.why)


def _late(s: Step, asked: Digest, after: Step) -> Finding:
    waited = seconds(after.m.ts - s.m.ts)
    return Finding(
        NAME,
        "warning",
        "certain",
        f"{s.m.dst.ip} took {waited} to give its credentials to {s.m.src.ip} (realm {asked.get('realm')}).",
        (
            fact(s, f"{s.m.src.ip} asked with {said(s.m.sip)}", asked.line),
            fact(after, f"the credentials came {waited} later"),
        ),
        "Look at what the device does in between: usually it waits for DNS, or for a directory with its password.",
        REFERENCE,
        PRECEDENCE,
    )


def _never(call: Call, s: Step, asked: Digest, confidence: str, doubt: str) -> Finding:
    sip = s.m.sip
    realm, waited = asked.get("realm"), seconds(TIMEOUT)
    evidence: list[Evidence] = [
        fact(s, f"{s.m.src.ip} asked with {said(sip)}; no {sip.method} with credentials followed", asked.line)
    ]
    if sip.method == "INVITE" and not call.acks(s):
        evidence.append(fact(s, f"{s.m.dst.ip} did not even send the ACK: the challenge may never have arrived"))
    if doubt:
        evidence.append(fact(None, doubt))
    return Finding(
        NAME,
        SEVERITY,
        confidence,
        f"{s.m.src.ip} wants a password for realm {realm}, and {s.m.dst.ip} gave none within {waited} ({sip.method}).",
        tuple(evidence),
        "Give the device the user name and password for this realm; or, if this trunk is to be known by its address, "
        "enter that address on the far side.",
        REFERENCE,
        PRECEDENCE,
    )
