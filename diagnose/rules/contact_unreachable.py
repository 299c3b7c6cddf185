"""The Contact cannot be reached by anybody: 0.0.0.0, loopback, multicast, port 0, a name without a domain, .invalid."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.finding import Finding, public_name
from diagnose.guards import crosses
from diagnose.report import fact
from sip.address import NameAddr
from sip.ip import literal

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 60, "RFC 3261 sections 8.1.1.8 and 12.1.1, RFC 7118 section 5.2"
_COMPENSATED = ("alias", "received", "gr", "ob", "pub-gruu", "temp-gruu", "fs_nat")
_WEB = ("ws", "wss")


def check(call: Call) -> Iterator[Finding]:
    """One finding for each side. A private address told to a public peer is told by a rule of its own."""
    told: set[str] = set()
    for s in call.steps:
        sip = s.m.sip
        forms_dialog = sip.method in ("INVITE", "SUBSCRIBE") and (sip.is_request or 180 <= sip.code < 300)
        if not (forms_dialog or (sip.is_request and sip.method == "REGISTER")) or not sip.contacts:
            continue
        contact = sip.contacts[0]
        if s.side in told or crosses(contact.uri.host, s) or _compensated(contact) or s.m.transport in _WEB:
            continue
        found = _kind(contact, s)
        if found is not None:
            told.add(s.side)
            kind, confidence = found
            yield Finding(
                NAME,
                SEVERITY if confidence == "certain" else "warning",
                confidence,
                f"{s.m.src.ip} gives {contact.uri.text} as its Contact, {kind}: later requests to it cannot arrive.",
                (fact(s, f"the Contact is {kind}", s.header_line("Contact")),),
                f"Set the address that {s.m.src.ip} announces (external address, bind address, domain) to one that "
                f"{s.m.dst.ip} can reach, or let the proxy put the packet's source in its place.",
                REFERENCE,
                PRECEDENCE,
            )


def _kind(contact: NameAddr, s: Step) -> tuple[str, str] | None:
    """What is wrong with the host, and how sure that is."""
    host, found = contact.uri.host, literal(contact.uri.host)
    own = literal(s.m.src.ip)
    if contact.uri.port == 0:
        return "with port 0", "certain"
    if found is not None:
        if found.is_unspecified:
            return "which is no address", "certain"
        if found.is_multicast:
            return "a multicast address", "certain"
        if found.is_loopback and not (own is not None and own.is_loopback):
            return "the loopback address", "certain"
        if found.is_link_local and not (own is not None and own.is_link_local):
            return "a link-local address", "certain"
        return None
    name = host.lower().rstrip(".")
    if name.endswith(".invalid"):
        # Browsers cannot know their address and write this; a gateway must not pass it on.
        return "a name that exists nowhere", "certain"
    if name and name != "*" and "." not in name:
        return "a name without a domain", "possible"
    return None


def _compensated(contact: NameAddr) -> bool:
    return any(p in contact.uri.params or p in contact.params for p in _COMPENSATED)
