"""A reply did not go back to where its request came from, though rport asked for it or the Via's address is private."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.finding import Finding, public_name
from diagnose.replies import deaf, heeded, misdirected
from diagnose.report import fact
from sip.ip import is_private

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "critical", 60, "RFC 3581 section 4, RFC 3261 sections 18.2.1 and 18.2.2"


def check(call: Call) -> Iterator[Finding]:
    """One finding for each sender and wrong place. Silent where the sender goes on as if it had the reply."""
    told: set[tuple[str, str]] = set()
    for r in call.responses:
        key = r.m.src.ip, str(r.m.dst)
        if key in told:
            continue
        s = misdirected(call, r)
        if s is None:
            continue
        lost = deaf(call, s, r)
        if lost is None and heeded(call, s, r) is not None:
            continue
        told.add(key)
        via = s.m.sip.top_via
        rport = via is not None and "rport" in via.params
        asks = "asks with rport for replies to there" if rport else "is private, so replies belong to the source"
        evidence = [
            fact(s, f"the {s.m.sip.method} came from {s.m.src}, and its Via {asks}", s.header_line("Via")),
            fact(r, f"the {r.m.sip.code} went from {r.m.src} to {r.m.dst}", r.header_line("Via")),
        ]
        if lost is not None:
            evidence.append(lost)
        yield Finding(
            NAME,
            SEVERITY,
            "certain" if lost else "likely",
            f"{r.m.src.ip} sent its {r.m.sip.code} {r.m.sip.reason}".rstrip()
            + f" to {r.m.dst}{_private(r)} instead of {s.m.src}, where the {s.m.sip.method} came from.",
            tuple(evidence),
            "Replies over UDP go to the address (received) and, with rport, to the port that the request came from. "
            f"Switch that on at {r.m.src.ip} (rport, symmetric signalling, NAT support; Asterisk: force_rport), and "
            "check that no firewall or load balancer in between changes the request's source.",
            REFERENCE,
            PRECEDENCE,
        )


def _private(r: Step) -> str:
    return ", a private address," if is_private(r.m.dst.ip) else ""
