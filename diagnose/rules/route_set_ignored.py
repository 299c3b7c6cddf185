"""A request inside the call does not go where its sender was told: past the proxies, or to another target."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call
from diagnose.dialog_routes import Misrouted, misrouted
from diagnose.finding import Finding, public_name
from diagnose.report import fact

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 70, "RFC 3261 sections 12.1, 12.2.1.1 and 16.12"
_HEADER = {"destination": "Record-Route", "Route": "Record-Route", "request URI": "Contact"}
"""What told the sender better."""


def check(call: Call) -> Iterator[Finding]:
    """One finding for each side and kind of mistake."""
    told: set[tuple[str, str]] = set()
    for m in misrouted(call):
        r = m.request
        if (r.side, m.what) in told:
            continue
        told.add((r.side, m.what))
        method = r.m.sip.method
        written = r.header_line("Route") if m.what == "Route" and r.m.sip.all("Route") else r.m.sip.start_line
        evidence = [
            fact(m.told.source, f"this told {r.m.src.ip}: {m.expected}", m.told.source.header_line(_HEADER[m.what])),
            fact(r, f"its {method} says or does otherwise: {m.found}", written),
        ]
        if m.final is not None:
            evidence.append(fact(m.final, f"it was answered {m.final.m.sip.code} {m.final.m.sip.reason}"))
        yield Finding(
            NAME,
            SEVERITY,
            "certain" if m.bypasses or m.what == "Route" else "likely",
            _headline(m),
            tuple(evidence),
            "The sender must copy the Record-Route set into Route and the other side's latest Contact into the request "
            "URI. Look for an outbound proxy setting, an SBC or an ALG that rewrites or drops these headers.",
            REFERENCE,
            PRECEDENCE,
        )


def _headline(m: Misrouted) -> str:
    method, host = m.request.m.sip.method, m.request.m.src.ip
    if m.bypasses:
        return f"{host} sends its {method} straight to {m.request.m.dst.ip}, past {m.expected} of the Record-Route set."
    refused = f" and got {m.final.m.sip.code}" if m.final else ""
    return f"{host} sent its {method} with the {m.what} {m.found} instead of {m.expected}{refused}."
