"""The call was refused, but the ACK for the refusal never came: the refusing side repeats it until it gives up."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import TIMEOUT, Call, Step
from diagnose.finding import Finding, public_name
from diagnose.guards import silence
from diagnose.report import fact, seconds

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 70, "RFC 3261 sections 17.1.1.3 and 17.2.1"
ENOUGH = 3
"""Sent so often: a single repetition is a lost packet."""


def check(call: Call) -> Iterator[Finding]:
    """One finding for each refusal on each hop; over a connection it is sent once and nobody can tell."""
    for s in call.responses:
        sip = s.m.sip
        sends = call.copies(s)
        if sip.method != "INVITE" or sip.code < 300 or s.m.transport != "udp" or len(sends) < ENOUGH:
            continue
        if any(a.m.dst.ip == s.m.src.ip and _same_try(a, s) for a in call.acks(s)):
            continue
        confidence, deadline = "certain", s.m.ts + TIMEOUT
        if call.trace.capture_end < deadline:
            confidence, deadline = "likely", sends[-1].m.ts
        judged = silence(call, s, deadline, confidence)
        if not judged.believable:
            continue
        took = seconds(sends[-1].m.ts - s.m.ts)
        evidence = [fact(s, f"{sip.code} {sip.reason} was sent {len(sends)} × within {took} and no ACK came")]
        via = sip.top_via
        if via is not None:
            where = f"{via.params.get('received', via.host)}:{via.params.get('rport') or via.port or 5060}"
            evidence.append(fact(s, f"it went to {s.m.dst}; its Via asks for {where}", s.header_line("Via")))
        if judged.why:
            evidence.append(fact(None, judged.why))
        yield Finding(
            NAME,
            SEVERITY,
            judged.confidence,
            f"{s.m.src.ip} refused the call with {sip.code} {sip.reason} and got no ACK from {s.m.dst.ip}: "
            "the refusal does not arrive there.",
            tuple(evidence),
            "Replies do not reach the caller, who goes on calling or shows a timeout instead of this reason: see that "
            "they go back to where the request came from (rport, NAT, a firewall that forgot the way).",
            REFERENCE,
            PRECEDENCE,
        )


def _same_try(ack: Step, final: Step) -> bool:
    """This ACK has the branch of the INVITE that was refused (RFC 3261 section 17.1.1.3)."""
    a, b = ack.m.sip.top_via, final.m.sip.top_via
    return a is None or b is None or a.branch == b.branch
