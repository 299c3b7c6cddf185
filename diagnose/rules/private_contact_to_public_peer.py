"""A Contact with a private address was given to a public peer: what the peer sends inside the dialog goes nowhere."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.finding import Finding
from diagnose.guards import crosses
from diagnose.report import fact

NAME, SEVERITY, PRECEDENCE, REFERENCE = (
    "private-contact-to-public-peer",
    "error",
    60,
    "RFC 3261 sections 8.1.1.8 and 12.1.1",
)
_COMPENSATED = ("alias", "received", "gr", "ob")
"""URI parameters by which a proxy or the device already works around its NAT (RFC 5626, 5627; Kamailio's alias)."""
_LOST = {
    "INVITE": "BYE and re-INVITE towards the caller",
    "REGISTER": "calls to this registration",
    "SUBSCRIBE": "its NOTIFYs",
}


def check(call: Call) -> Iterator[Finding]:
    """One finding for each side that advertises a private Contact."""
    told: set[str] = set()
    for s in call.steps:
        sip = s.m.sip
        forms_dialog = sip.method in ("INVITE", "SUBSCRIBE") and (sip.is_request or 180 <= sip.code < 300)
        if not (forms_dialog or (sip.is_request and sip.method == "REGISTER")) or not sip.contacts:
            continue
        uri = sip.contacts[0].uri
        if uri.host in told or not crosses(uri.host, s):
            continue
        told.add(uri.host)
        lost = (
            _LOST.get(sip.method, "its requests")
            if sip.is_request
            else "the ACK and every later request towards the called side"
        )
        compensated = next((p for p in _COMPENSATED if p in uri.params), None)
        reached = _reached(call, s, uri.host)
        severity = "info" if compensated or reached else SEVERITY
        evidence = [
            fact(
                s,
                f"Contact says {uri.host}, which is private; the packet went from {s.m.src} to {s.m.dst}",
                s.header_line("Contact"),
            )
        ]
        if compensated:
            evidence.append(fact(s, f"the Contact carries ;{compensated}, so a proxy already compensates"))
        if reached:
            evidence.append(
                fact(
                    reached,
                    f"a later {reached.m.sip.method} to that side was answered, so it is reachable all the same",
                )
            )
        harmless = " (harmless here: it is compensated)" if severity == "info" else ""
        yield Finding(
            NAME,
            severity,
            "certain",
            f"{s.m.src.ip} gives the private address {uri.host} as its Contact: {lost} will be lost{harmless}.",
            tuple(evidence),
            "Switch NAT handling on for this peer (Force NAT, fix_nated_contact, add_contact_alias), or give the device its "
            "public address (STUN, external address); switch SIP ALG off on its router.",
            REFERENCE,
            PRECEDENCE,
        )


def _reached(call: Call, s: Step, host: str) -> Step | None:
    """A later in-dialog request towards that side that was answered."""
    for r in call.requests:
        to = r.m.sip.to
        if (
            r.number > s.number
            and r.m.dst.ip == s.m.src.ip
            and to is not None
            and to.tag
            and r.m.sip.method != "ACK"
            and call.final_of(r) is not None
        ):
            return r
    return None
