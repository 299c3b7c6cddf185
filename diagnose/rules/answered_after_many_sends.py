"""A message had to be sent five times or more before its answer came: packets are lost, or the peer is overloaded."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.finding import Finding, public_name
from diagnose.forms import title
from diagnose.report import fact, seconds
from diagnose.undelivered import refused_hops

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 80, "RFC 3261 sections 17.1.2.2, 17.2.1 and 13.3.1.4"
_MANY = 5


def check(call: Call) -> Iterator[Finding]:
    """One finding for each direction; what never got an answer, and INVITEs, have rules of their own."""
    told: set[tuple[str, str]] = set()
    refused: frozenset[object] | None = None
    for s in (*call.requests, *call.responses):
        hop = (s.m.src.ip, s.m.dst.ip)
        sends = call.copies(s)
        if len(sends) < _MANY or hop in told or s.m.transport != "udp":
            continue
        answer = _answer(call, s)
        # With an answer between two sends, it is that answer which got lost; the sender says so by going on.
        # A 408 says that there was no answer.
        if answer is None or answer.m.sip.code == 408 or answer.number < sends[_MANY - 1].number:
            continue
        refused = frozenset(refused_hops(call)) if refused is None else refused
        if (s.m.src, s.m.dst) in refused:
            continue
        told.add(hop)
        before = sum(c.number < answer.number for c in sends)
        waited = seconds(answer.m.ts - s.m.ts)
        evidence = [
            fact(s, f"the {title(s)} went to {s.m.dst} {before} × before its answer"),
            fact(answer, f"{title(answer)} came {waited} after the first of them"),
        ]
        if call.trace.losses:
            evidence.append(fact(None, "packets were lost by the capture: an earlier answer may be among them"))
        yield Finding(
            NAME,
            SEVERITY,
            "possible" if call.trace.losses else "certain",
            f"The {title(s)} of {s.m.src.ip} to {s.m.dst.ip} was sent {before} times in {waited} "
            "until it was answered.",
            tuple(evidence),
            "Compare captures of both sides: is the message lost on the way there, or the answer on the way back? If "
            "neither, the peer is too slow; look at its load at this time.",
            REFERENCE,
            PRECEDENCE,
        )


def _answer(call: Call, s: Step) -> Step | None:
    """The final response to a request, the ACK for a final response to an INVITE."""
    sip = s.m.sip
    if sip.is_request:
        return call.final_of(s) if sip.method not in ("INVITE", "ACK") else None
    if sip.method != "INVITE" or sip.code < 200:
        return None
    return next((a for a in call.acks(s) if a.m.dst.ip == s.m.src.ip), None)
