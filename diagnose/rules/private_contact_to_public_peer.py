"""A Contact with a private address was given to a public peer: what the peer sends inside the dialog goes nowhere."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.finding import Evidence, Finding, public_name
from diagnose.guards import crosses, own
from diagnose.report import fact
from sip.address import NameAddr
from sip.ip import is_public

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 60, "RFC 3261 sections 8.1.1.8 and 12.1.1"
_COMPENSATED = ("alias", "received", "gr", "ob", "pub-gruu", "temp-gruu")
"""Parameters by which a proxy, the registrar or the device works around its NAT (RFC 5626, 5627; Kamailio's alias)."""
_LOST = {
    "INVITE": "BYE and re-INVITE towards the caller",
    "REGISTER": "calls to this registration",
    "SUBSCRIBE": "its NOTIFYs",
}


def check(call: Call) -> Iterator[Finding]:
    """One finding for each side that advertises a private Contact."""
    told: set[tuple[str, str]] = set()
    for s in call.steps:
        sip = s.m.sip
        forms_dialog = sip.method in ("INVITE", "SUBSCRIBE") and (sip.is_request or 180 <= sip.code < 300)
        if not (forms_dialog or (sip.is_request and sip.method == "REGISTER")) or not sip.contacts:
            continue
        host = sip.contacts[0].uri.host
        # A phone may take a new From tag for each REGISTER; all that have one Call-ID are the same phone's.
        side = "" if sip.method == "REGISTER" else s.side
        if (side, host) in told or not crosses(host, s) or _takes_leave(s):
            continue
        told.add((side, host))
        yield _judge(call, s, host)


def _takes_leave(s: Step) -> bool:
    """A REGISTER that removes its Contact: nobody is to call it there any more (RFC 3261 section 10.2.2)."""
    sip = s.m.sip
    return sip.method == "REGISTER" and (sip.contacts[0].params.get("expires") or sip.first("Expires")) == "0"


def _judge(call: Call, s: Step, host: str) -> Finding:
    sip = s.m.sip
    lost = "the ACK and every later request towards the called side"
    if sip.is_request:
        lost = _LOST.get(sip.method, "its requests")
    evidence = [
        fact(
            s,
            f"Contact says {host}, which is private; the packet went from {s.m.src} to {s.m.dst}",
            s.header_line("Contact"),
        )
    ]
    severity, confidence, outcome = SEVERITY, "certain", f"{lost} will be lost"
    harmless = _compensated(call, s, host)
    if harmless is not None:
        severity, outcome = "info", "harmless here, since it is compensated"
        evidence.append(harmless)
    elif own(host, s):
        # Before the NAT every packet looks so; what the peer is told shows only behind it.
        severity, confidence, outcome = (
            "warning",
            "possible",
            f"{lost} will be lost unless something rewrites it on the way",
        )
        evidence.append(fact(s, f"the packet itself comes from {host}: this capture sits on that side of its NAT"))
    return Finding(
        NAME,
        severity,
        confidence,
        f"{s.m.src.ip} gives the private address {host} as its Contact to {s.m.dst.ip}: {outcome}.",
        tuple(evidence),
        "Switch NAT handling on for this peer (Force NAT, fix_nated_contact, add_contact_alias), or give the device "
        "its public address (STUN, external address); switch SIP ALG off on its router.",
        REFERENCE,
        PRECEDENCE,
    )


def _compensated(call: Call, s: Step, host: str) -> Evidence | None:
    """Why the private address does no harm; None where nothing shows that."""
    sip = s.m.sip
    if (mark := _mark(sip.contacts[0])) is not None:
        return fact(s, f"the Contact carries ;{mark}, so a proxy or the device already compensates")
    if sip.method == "REGISTER":
        # The first REGISTER is mostly challenged: what the registrar keeps is in its answer to a later one.
        for r in (r for r in call.responses if r.m.sip.method == "REGISTER"):
            for contact in r.m.sip.contacts:
                if contact.uri.host == host and (mark := _mark(contact)) is not None:
                    return fact(r, f"the registrar keeps the Contact with ;{mark}", r.header_line("Contact"))
    for o in call.onward(s):
        if o.m.sip.contacts and (_mark(o.m.sip.contacts[0]) or is_public(o.m.sip.contacts[0].uri.host)):
            return fact(o, f"{o.m.src.ip} rewrites the Contact when it passes it on", o.header_line("Contact"))
    reached = _reached(call, s)
    if reached is not None:
        return fact(reached, f"a later {reached.m.sip.method} to that side was answered: it is reachable all the same")
    return None


def _mark(contact: NameAddr) -> str | None:
    return next((p for p in _COMPENSATED if p in contact.uri.params or p in contact.params), None)


def _reached(call: Call, s: Step) -> Step | None:
    """A later in-dialog request towards that side that was answered from there."""
    for r in call.requests:
        to = r.m.sip.to
        if r.number > s.number and r.m.dst.ip == s.m.src.ip and to is not None and to.tag and r.m.sip.method != "ACK":
            final = call.final_of(r)
            if final is not None and final.m.src.ip == s.m.src.ip:
                return r
    return None
