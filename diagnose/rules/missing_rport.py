"""A request came through a port translation without `rport` in its Via: replies go to the port in the Via, which the NAT drops."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call
from diagnose.finding import Finding
from diagnose.report import fact

NAME, SEVERITY, PRECEDENCE, REFERENCE = (
    "missing-rport",
    "warning",
    60,
    "RFC 3581 sections 3 and 4, RFC 3261 section 18.2.2",
)


def check(call: Call) -> Iterator[Finding]:
    """One finding a sender. UDP only: on connections the reply goes back on the connection."""
    told: set[str] = set()
    for s in call.requests:
        via = s.m.sip.top_via
        if via is None or s.m.transport != "udp" or s.m.src.ip in told or "rport" in via.params:
            continue
        port = via.port or 5060
        if port == s.m.src.port:
            continue
        told.add(s.m.src.ip)
        evidence = [
            fact(
                s,
                f"Via says port {port}, the packet came from port {s.m.src.port}, and Via has no rport",
                s.header_line("Via"),
            )
        ]
        wrong = next(
            (
                r
                for r in call.steps
                if not r.m.sip.is_request
                and r.m.src.ip == s.m.dst.ip
                and r.m.dst.ip == s.m.src.ip
                and r.m.dst.port == port
            ),
            None,
        )
        if wrong is not None:
            evidence.append(fact(wrong, f"the reply went to {wrong.m.dst}, where the request did not come from"))
        forced = next((r for r in call.answers_to(s) if r.m.dst.port == s.m.src.port), None)
        if forced is not None and wrong is None:
            evidence.append(fact(forced, f"the reply still went to port {s.m.src.port}: the proxy forces rport"))
        yield Finding(
            NAME,
            "error" if wrong else "info" if forced else SEVERITY,
            "certain",
            f"{s.m.src} sends without rport: replies go to port {port} instead of {s.m.src.port}.",
            tuple(evidence),
            "Switch rport (symmetric response routing) on in the device, or let the proxy force it (force_rport).",
            REFERENCE,
            PRECEDENCE,
        )
