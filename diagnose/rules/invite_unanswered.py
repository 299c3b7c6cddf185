"""Nothing at all came back for an INVITE, not even 100 Trying."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import TIMEOUT, Call, Step
from diagnose.connections import cut_requests
from diagnose.finding import Finding, public_name
from diagnose.guards import silence
from diagnose.report import fact, seconds
from diagnose.undelivered import refused_hops

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "critical", 10, "RFC 3261 sections 17.1.1.2 and 8.1.3.1"


def check(call: Call) -> Iterator[Finding]:
    """One finding for each silent target."""
    refused, cut = refused_hops(call), cut_requests(call)
    for s in call.invites:
        # An ICMP error that tells why has a rule of its own, and so has a connection that ended.
        if (s.m.src, s.m.dst) in refused or s.number in cut or _anything_back(call, s):
            continue
        judged = silence(call, s, s.m.ts + TIMEOUT)
        if not judged.believable:
            continue
        sends = call.copies(s)
        took = seconds(sends[-1].m.ts - s.m.ts)
        evidence = [fact(s, f"the INVITE to {s.m.dst} was sent {len(sends)} × within {took}; nothing came back")]
        if judged.why:
            evidence.append(fact(None, judged.why))
        later = call.answered_after(s)
        if later is not None:
            evidence.append(fact(later, f"another target, {later.m.src.ip}, then answered: the call did not fail"))
        yield Finding(
            NAME,
            "warning" if later else SEVERITY,
            judged.confidence,
            f"Nothing came back from {s.m.dst} for the INVITE ({len(sends)} sent).",
            tuple(evidence),
            "Wrong address or port, a firewall or an allow-list, or the device is off. Ask the far side for a capture "
            "of the same time, and see whether OPTIONS or other calls to it are answered.",
            REFERENCE,
            PRECEDENCE,
        )


def _anything_back(call: Call, invite: Step) -> bool:
    """Any response to it, also one whose branch was spoilt: that is a fault of its own, but no silence."""
    return bool(call.answers_to(invite)) or any(
        r.m.sip.cseq == invite.m.sip.cseq
        and r.m.sip.method == "INVITE"
        and r.m.src.ip == invite.m.dst.ip
        and r.m.dst.ip == invite.m.src.ip
        for r in call.responses
    )
