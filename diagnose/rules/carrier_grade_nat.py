"""An address of carrier-grade NAT (100.64.0.0/10): the provider shares one public address among many customers."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from diagnose.call import Call, Step
from diagnose.finding import Finding, public_name
from diagnose.report import fact
from sip.ip import literal

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "info", 90, "RFC 6598 section 4"
_SHARED = ip_network("100.64.0.0/10")


def check(call: Call) -> Iterator[Finding]:
    """One finding for each sender."""
    told: set[str] = set()
    for s in call.requests:
        if s.m.src.ip in told or s.m.sip.method == "ACK":
            continue
        for address, where, line in _advertised(s):
            found = literal(address)
            if found is not None and found.version == 4 and found in _SHARED:
                told.add(s.m.src.ip)
                yield Finding(
                    NAME,
                    SEVERITY,
                    "certain",
                    f"{s.m.src.ip} is behind carrier-grade NAT: its {where} says {address}.",
                    (fact(s, f"{where} says {address}, which is in 100.64.0.0/10", line),),
                    "Port forwarding on the customer's router does not help here. Use TCP or TLS, or NAT pings every "
                    "20 to 30 s, and a media relay.",
                    REFERENCE,
                    PRECEDENCE,
                )
                break


def _advertised(s: Step) -> Iterator[tuple[str, str, str]]:
    """Addresses in this request with the place where they stand."""
    sip = s.m.sip
    yield s.m.src.ip, "packet", ""
    if sip.top_via and len(sip.vias) == 1:
        yield sip.top_via.host, "Via", s.header_line("Via")
    for contact in sip.contacts[:1]:
        yield contact.uri.host, "Contact", s.header_line("Contact")
    for media in sip.sdp.media if sip.sdp else ():
        lines = [*(x for _, x in media.lines), *(sip.sdp.lines if sip.sdp else ())]
        yield media.address, "SDP", next((x for x in lines if x.startswith("c=")), "")
