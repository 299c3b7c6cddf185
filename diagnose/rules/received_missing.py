"""A reply does not note where its request came from (received): behind a NAT the sender cannot learn its address."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call
from diagnose.finding import Finding, public_name
from diagnose.refusals import said
from diagnose.report import fact
from sip.ip import literal

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "info", 90, "RFC 3261 section 18.2.1, RFC 3581 section 4"


def check(call: Call) -> Iterator[Finding]:
    """One finding for each host that leaves it out although the Via names another address than the packet."""
    told: set[str] = set()
    for s in call.requests:
        via = s.m.sip.top_via
        if (
            via is None
            or s.m.dst.ip in told
            or s.m.src.ip == s.m.dst.ip  # No NAT stands between a host and itself.
            or literal(via.host) in (None, literal(s.m.src.ip))
            or "maddr" in via.params
        ):
            continue
        reply = next((r for r in call.answers_to(s) if (r.m.src.ip, r.m.dst.ip) == (s.m.dst.ip, s.m.src.ip)), None)
        noted = reply.m.sip.top_via if reply is not None else None
        # A Via that is not the request's own was written by somebody else (an ALG on the way back).
        if reply is None or noted is None or "received" in noted.params or noted.host != via.host:
            continue
        told.add(s.m.dst.ip)
        yield Finding(
            NAME,
            SEVERITY,
            "certain",
            f"{reply.m.src.ip} does not tell {s.m.src.ip} where its {s.m.sip.method} came from: no received in the Via "
            f"of its {said(reply.m.sip)}.",
            (
                fact(s, f"the Via says {via.host}, the packet came from {s.m.src}", s.header_line("Via")),
                fact(reply, "its reply adds no received", reply.header_line("Via")),
            ),
            "Every server must add it. It did find the way back here, but proxies behind it, and devices that learn "
            f"their public address from it, do without: update {reply.m.src.ip}, or switch its NAT support on.",
            REFERENCE,
            PRECEDENCE,
        )
