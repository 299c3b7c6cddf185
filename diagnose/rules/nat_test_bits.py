"""The NAT tests of Kamailio and OpenSIPS for the first request of each sender, with the values that each true bit compared."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call
from diagnose.finding import Finding
from diagnose.nat import masks
from diagnose.report import fact

NAME, SEVERITY, PRECEDENCE, REFERENCE = (
    "nat-test-bits",
    "info",
    90,
    "Kamailio and OpenSIPS, modules nathelper and nat_traversal",
)
_HARMLESS_ALONE = {2, 16, 32, 64, 128, 256}
"""Bits that are usual without any NAT: other ports, separate media servers, a LAN trunk, WebSocket."""


def check(call: Call) -> Iterator[Finding]:
    """One finding a sender whose request makes a test of substance true."""
    told: set[str] = set()
    for s in call.requests:
        if s.m.sip.method not in ("INVITE", "REGISTER", "SUBSCRIBE", "MESSAGE", "OPTIONS") or s.m.src.ip in told:
            continue
        told.add(s.m.src.ip)
        results = masks(s.m)
        kamailio = results[0]
        substance = [b for b in kamailio.bits if b.value in (1, 4, 8)] or [
            b for b in kamailio.bits if b.value == 2 and s.m.transport == "udp"
        ]
        if not substance:
            continue
        evidence = [fact(s, str(r)) for r in results]
        for bit in kamailio.bits:
            usual = " (often harmless on its own)" if bit.value in _HARMLESS_ALONE else ""
            if bit.value in (16, 128) and s.m.transport != "udp":
                usual = " (normal on a connection: the source port is ephemeral)"
            evidence.append(fact(s, f"Kamailio {bit.value}, {bit.name}: {bit.compared}{usual}"))
        for bit in results[1].bits:
            if bit.value > 16:
                evidence.append(fact(s, f"OpenSIPS {bit.value}, {bit.name}: {bit.compared}"))
        yield Finding(
            NAME,
            SEVERITY,
            "certain",
            f"NAT tests of {s.m.src}: {'; '.join(str(r) for r in results[:2])}.",
            tuple(evidence),
            "Compare with the flags that your proxy tests. The numbers above 16 differ between Kamailio and OpenSIPS, so name the "
            "dialect with the number.",
            REFERENCE,
            PRECEDENCE,
        )
