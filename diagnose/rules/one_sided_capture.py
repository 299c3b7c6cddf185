"""Only one direction is visible at this capture point: what looks like silence may just not be seen here."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import TIMEOUT, Call, Step
from diagnose.finding import Finding, public_name
from diagnose.report import fact

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 0, "RFC 3261 section 17"


def check(call: Call) -> Iterator[Finding]:
    """One finding a host that speaks and is never spoken to."""
    told: set[str] = set()
    for s in (*call.requests, *call.responses):
        ip = s.m.src.ip
        if ip in told or ip in call.trace.heard or not _due(call, s):
            continue
        told.add(ip)
        what = s.m.sip.method if s.m.sip.is_request else f"{s.m.sip.code} for {s.m.sip.method}"
        evidence = [fact(s, f"{what} from {ip} to {s.m.dst}; no packet to {ip} within 10 minutes around the call")]
        sends = len(call.copies(s))
        if s.m.sip.is_request and sends > 1:
            evidence.append(
                fact(
                    call.copies(s)[-1],
                    f"it was sent {sends} ×: if both directions are mirrored after all, then {s.m.dst} is silent",
                )
            )
        yield Finding(
            NAME,
            SEVERITY,
            "likely",
            f"Packets from {ip} are captured, but none to it: only one direction is visible here.",
            tuple(evidence),
            "Let the mirror port copy both directions (rx and tx), or capture at another point. Until then nothing "
            "follows from missing replies.",
            REFERENCE,
            PRECEDENCE,
        )


def _due(call: Call, s: Step) -> bool:
    """Something must have gone to the sender while this capture ran: the reply, or the request that it replies to."""
    if s.m.sip.is_request:
        return s.m.sip.method != "ACK" and call.trace.capture_end >= s.m.ts + TIMEOUT
    return call.trace.capture_start <= s.m.ts - TIMEOUT
