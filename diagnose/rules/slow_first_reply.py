"""The INVITE had to be sent again before the first reply came: packets are lost on the way, or the peer is busy."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call
from diagnose.finding import Finding, public_name
from diagnose.guards import leaps
from diagnose.replies import misdirected
from diagnose.report import fact, seconds
from diagnose.rules import missing_rport
from diagnose.undelivered import refused_hops

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 70, "RFC 3261 sections 17.1.1.2 and 17.2.1"
_MANY = 3


def check(call: Call) -> Iterator[Finding]:
    """One finding for each slow target, from three sends on: one repetition is an everyday loss."""
    told: set[str] = set()
    refused = refused_hops(call)
    for s in call.invites:
        answers = call.answers_to(s)
        if (
            s.m.transport != "udp"
            or not answers
            or s.m.dst.ip in told
            or leaps(s, answers[0])
            or (s.m.src, s.m.dst) in refused
        ):
            continue
        first = answers[0]
        sends = [c for c in call.copies(s) if c.number < first.number]
        # A hop further on that is slow is told there, and replies that go astray are told as that.
        if len(sends) < _MANY or any(o.number < first.number for o in call.onward(s)):
            continue
        if misdirected(call, first) is not None or any(f.severity == "error" for f in missing_rport.check(call)):
            return
        told.add(s.m.dst.ip)
        waited = seconds(first.m.ts - s.m.ts)
        evidence = [
            fact(s, f"the INVITE to {s.m.dst} was sent {len(sends)} × before anything came back"),
            fact(first, f"the first reply, {first.m.sip.code} {first.m.sip.reason}, after {waited}"),
        ]
        if call.trace.losses:
            evidence.append(fact(None, "packets were lost by the capture: an earlier reply may be among them"))
        yield Finding(
            NAME,
            "info" if call.trace.losses else SEVERITY,
            "possible" if call.trace.losses else "certain",
            f"{s.m.dst.ip} gave its first reply to the INVITE of {s.m.src.ip} after {waited} and {len(sends)} sends.",
            tuple(evidence),
            "100 Trying should come within 0.2 s. Look for loss on the path (compare both sides' captures), for a peer "
            "that is overloaded or asks a slow database first, and for tries that a firewall drops.",
            REFERENCE,
            PRECEDENCE,
        )
