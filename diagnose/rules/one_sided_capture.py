"""Only one direction is visible at this capture point: what looks like silence may just not be seen here."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import TIMEOUT, Call
from diagnose.finding import Finding
from diagnose.report import fact

NAME, SEVERITY, PRECEDENCE, REFERENCE = "one-sided-capture", "warning", 0, "RFC 3261 section 17"


def check(call: Call) -> Iterator[Finding]:
    """One finding a host that sends requests and is never sent anything."""
    told: set[str] = set()
    for s in call.requests:
        ip = s.m.src.ip
        if s.m.sip.method == "ACK" or ip in told or ip in call.trace.heard or call.trace.capture_end < s.m.ts + TIMEOUT:
            continue
        told.add(ip)
        yield Finding(
            NAME,
            SEVERITY,
            "likely",
            f"Packets from {ip} are captured, but none to it: only one direction is visible here.",
            (fact(s, f"{s.m.sip.method} from {ip} to {s.m.dst}; no packet to {ip} within 10 minutes around the call"),),
            "Let the mirror port copy both directions (rx and tx), or capture at another point. Until then nothing follows from missing replies.",
            REFERENCE,
            PRECEDENCE,
        )
