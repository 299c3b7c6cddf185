"""What the NAT tests of Kamailio and OpenSIPS say about a sender's first request, with the values they compared."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.finding import Finding, public_name
from diagnose.guards import crosses
from diagnose.nat import masks
from diagnose.report import fact
from sip.ip import literal

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "info", 90, "Kamailio and OpenSIPS, modules nathelper and nat_traversal"
_METHODS = frozenset({"INVITE", "REGISTER", "SUBSCRIBE", "MESSAGE", "OPTIONS"})
_HARMLESS_ALONE = {2, 16, 32, 64, 128, 256}
"""Bits that are usual without any NAT: other ports, separate media servers, a LAN trunk, WebSocket."""


def check(call: Call) -> Iterator[Finding]:
    """One finding a sender whose request shows a NAT; true bits on their own are no news."""
    told: set[str] = set()
    for s in call.requests:
        if s.m.sip.method not in _METHODS or s.m.src.ip in told:
            continue
        told.add(s.m.src.ip)
        if not _shows_nat(s):
            continue
        results = masks(s.m)
        evidence = [fact(s, str(r)) for r in results]
        for bit in results[0].bits:
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
            "Compare with the flags that your proxy tests. The numbers above 16 differ between Kamailio and OpenSIPS, "
            "so name the dialect with the number.",
            REFERENCE,
            PRECEDENCE,
        )


def _shows_nat(s: Step) -> bool:
    """A private address met a public one, or the Via's address is not where the packet came from."""
    via, sdp = s.m.sip.top_via, s.m.sip.sdp
    hosts = [c.uri.host for c in s.m.sip.contacts] + [m.address for m in (sdp.media if sdp else ())]
    if via is not None:
        hosts.append(via.host)
        if literal(via.host) is not None and literal(via.host) != literal(s.m.src.ip):
            return True
    return any(crosses(host, s) for host in hosts)
