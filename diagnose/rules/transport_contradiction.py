"""Via, Contact or the target name another transport than the one that is used: replies or later requests go astray."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.finding import Finding, public_name
from diagnose.forms import reached, title, whole
from diagnose.report import fact
from sip.address import SipUri, parse_uri
from sip.ip import literal

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 65, "RFC 3261 sections 18.1.1, 18.2.2, 19.1.1 and 26.2.2"
_SAME = {
    "udp": ("UDP", "DTLS-UDP"),
    "tcp": ("TCP", "TLS", "WS", "WSS"),
    "tls": ("TLS", "TCP", "WSS"),
    "ws": ("WS", "WSS"),
    "wss": ("WSS", "WS"),
    "sctp": ("SCTP", "TLS-SCTP"),
}
"""What a Via may say; a device before this tap may have taken TLS off."""
_KNOWN = frozenset(name for names in _SAME.values() for name in names)
_ADVICE = "Correct the transport in the sender's settings, or in the script of the proxy that writes this header."


def check(call: Call) -> Iterator[Finding]:
    """One finding for each host and header."""
    told: set[tuple[str, str]] = set()
    for s in (*call.requests, *call.responses):
        # What a HEP agent hands over has the transport that the agent believes in, often UDP for all.
        if s.m.transport not in _SAME or not whole(s) or s.m.interface.startswith("hep"):
            continue
        for header, text, line, confidence in (*_via(s), *_target(s), *_contact(call, s)):
            if (s.m.src.ip, header) in told:
                continue
            told.add((s.m.src.ip, header))
            real = s.m.transport.upper()
            yield Finding(
                NAME,
                SEVERITY,
                confidence,
                f"{s.m.src.ip} sends its {title(s)} over {real}, but {text}.",
                (fact(s, f"from {s.m.src} to {s.m.dst} over {real}; {text}", line),),
                _ADVICE,
                REFERENCE,
                PRECEDENCE,
            )


def _via(s: Step) -> Iterator[tuple[str, str, str, str]]:
    via = s.m.sip.top_via
    if s.m.sip.is_request and via is not None and via.transport in _KNOWN and via.transport not in _SAME[s.m.transport]:
        yield "Via", f"its Via says {via.transport}: replies may go there", s.header_line("Via"), "certain"


def _target(s: Step) -> Iterator[tuple[str, str, str, str]]:
    """The next hop is the target itself: no route sends the request another way."""
    sip = s.m.sip
    if sip.is_request and s.m.transport == "udp" and not sip.fields("Route"):
        uri = parse_uri(sip.uri)
        wanted = _stream(uri)
        if wanted and literal(uri.host) is not None and literal(uri.host) == literal(s.m.dst.ip):
            yield "target", f"it is addressed to {uri.text}, which asks for {wanted}", sip.start_line, "likely"


def _contact(call: Call, s: Step) -> Iterator[tuple[str, str, str, str]]:
    """Where its requests go later; behind a proxy the Contact belongs to another hop, so it says nothing here."""
    sip = s.m.sip
    sets_up = sip.method == "INVITE" and (sip.is_request or 200 <= sip.code < 300)
    if not sets_up or s.m.transport != "udp" or not sip.contacts or len(sip.vias) > 1 or sip.fields("Record-Route"):
        return
    uri = sip.contacts[0].uri
    wanted = _stream(uri)
    back = reached(call, s)
    if wanted and (back is None or back.m.transport == "udp"):
        yield "Contact", f"its Contact asks for {wanted}: {uri.text}", s.header_line("Contact"), "possible"


def _stream(uri: SipUri) -> str:
    """The transport other than UDP that a URI asks for."""
    named = (uri.params.get("transport") or "").upper()
    if uri.scheme == "sips":
        return "TLS (sips)"
    return named if named in _KNOWN and named != "UDP" else ""
