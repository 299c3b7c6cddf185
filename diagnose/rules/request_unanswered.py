"""OPTIONS, REGISTER or another request besides INVITE and BYE got no final answer: calls there will fail, too."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import TIMEOUT, Call, Step
from diagnose.connections import cut_requests
from diagnose.finding import Finding, public_name
from diagnose.guards import silence
from diagnose.report import fact, seconds
from diagnose.rules.nat_binding_expired import closed_ports
from diagnose.rules.ping_in_call_unanswered import hang_ups, unanswered
from diagnose.undelivered import refused_hops

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 10, "RFC 3261 sections 17.1.2.2 and 8.1.3.1"
NOT_HERE = frozenset({"INVITE", "ACK", "BYE", "CANCEL", "PRACK"})
IN_A_ROW = 3


def check(call: Call) -> Iterator[Finding]:
    """One finding for each method and silent target; three in a row say that it is gone."""
    silent: dict[tuple[str, str], list[Step]] = {}
    judgements = {}
    closed = closed_ports(call)
    refused, cut = refused_hops(call), cut_requests(call)
    pings = {s.number for b in hang_ups(call) for s in unanswered(call, b)}
    for s in call.requests:
        method = s.m.sip.method
        if method in NOT_HERE:
            continue
        key = (method, str(s.m.dst))
        if any(r.m.sip.code >= 200 for r in call.answers_to(s)):
            silent.pop(key, None)  # it answers again
            continue
        elsewhere = s.m.dst in closed or s.number in pings or (s.m.src, s.m.dst) in refused or s.number in cut
        if elsewhere or call.onward(s):
            continue
        judged = silence(call, s, s.m.ts + TIMEOUT)
        if judged.believable:
            silent.setdefault(key, []).append(s)
            judgements[s.number] = judged
    for (method, target), steps in silent.items():
        first = steps[0]
        judged = judgements[first.number]
        gone = len(steps) >= IN_A_ROW and method in ("OPTIONS", "REGISTER")
        evidence = []
        for s in steps[:IN_A_ROW]:
            sends = call.copies(s)
            took = seconds(sends[-1].m.ts - s.m.ts)
            evidence.append(fact(s, f"{method} to {target} was sent {len(sends)} × within {took}; no final answer"))
        if judged.why:
            evidence.append(fact(None, judged.why))
        times = f"{len(steps)} {method} in a row" if len(steps) > 1 else f"the {method}"
        yield Finding(
            NAME,
            "critical" if gone else SEVERITY,
            judged.confidence,
            f"{target} does not answer {times} of {first.m.src.ip}.",
            tuple(evidence),
            "The peer is down or unreachable from here (address, firewall, allow-list), or it does not know the "
            f"method {method}: calls to it will fail in the same way while that lasts.",
            REFERENCE,
            PRECEDENCE,
        )
