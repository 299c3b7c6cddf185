"""A router seems to rewrite SIP on its way (SIP ALG): some addresses of one message are changed and others are not."""

from __future__ import annotations

from collections.abc import Iterator

from capture.flags import FRAGMENT_LOST, STREAM_GAP, TRUNCATED
from diagnose.call import MAGIC, Call, Step
from diagnose.finding import Evidence, Finding, public_name
from diagnose.nat import same_host
from diagnose.report import fact
from sip.ip import is_private, is_public

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 60, "RFC 3261 sections 16.6 and 18.2.1"
_ONCE = ("From", "To", "CSeq", "Content-Length", "Max-Forwards")
"""Headers that stand once in every message (RFC 3261 section 7.3.1)."""
_WEAK = ("origin", "call-id")
"""A device that learned its public address by STUN leaves these behind, too."""
_FORM = {"length", "double"}
"""Bad form alone is somebody's bad writing, not a router's."""


def check(call: Call) -> Iterator[Finding]:
    """One finding for each sender: certain where both sides of the router are here, else by two signs at least."""
    told: set[str] = set()
    for s in call.requests:
        # A proxy on the way (more Vias, a Record-Route) writes its own address beside the device's, as it must.
        if len(s.m.sip.vias) != 1 or s.m.sip.fields("Record-Route") or s.m.src.ip in told or not is_public(s.m.src.ip):
            continue
        changed = _changed(call, s)
        signs = _signs(s)
        if changed:
            confidence, how = "certain", "changed this message on its way"
        elif len(signs) > 1 and not signs.keys() <= _FORM:
            confidence = "likely" if any(k not in _WEAK for k in signs) else "possible"
            how = f"seems to rewrite its SIP ({len(signs)} signs)"
        else:
            continue
        told.add(s.m.src.ip)
        yield Finding(
            NAME,
            SEVERITY,
            confidence,
            f"The router of {s.m.src.ip} {how}: "
            + ("addresses differ before and behind it." if changed else "public and private addresses are mixed."),
            (*changed, *signs.values()),
            "Switch SIP ALG off on the router (also called SIP helper, SIP inspection, SIP fixup, SIP transformations, "
            "nf_nat_sip). To test, use TLS or another port than 5060, which such routers leave alone.",
            REFERENCE,
            PRECEDENCE,
        )


def _signs(s: Step) -> dict[str, Evidence]:
    """What does not fit together within one message."""
    sip = s.m.sip
    via, contact = sip.top_via, next((c.uri for c in sip.contacts), None)
    media = [m for m in (sip.sdp.media if sip.sdp else ()) if m.port != 0]
    out: dict[str, Evidence] = {}
    if via is None:
        return out
    hosts = [via.host, *([contact.host] if contact else []), *(m.address for m in media)]
    if same_host(via.host, s.m.src.ip):
        private = next((h for h in hosts[1:] if is_private(h)), None)
        if private is not None:
            text = f"Via says {via.host}, as the packet's source, but {private} stands in Contact or SDP"
            out["via"] = fact(s, text, s.header_line("Via"))
        if contact and same_host(contact.host, s.m.src.ip) and contact.port == s.m.src.port != (via.port or 5060):
            text = f"Contact has the port {contact.port} that the NAT gave, Via still says {via.port or 5060}"
            out["ports"] = fact(s, text, s.header_line("Contact"))
    lies = next((d for d in sip.defects if d.startswith("Content-Length says")), None)
    if lies and s.m.transport == "udp" and not s.m.flags & (TRUNCATED | FRAGMENT_LOST | STREAM_GAP):
        out["length"] = fact(s, f"{lies}: it was not put right after a change", s.header_line("Content-Length"))
    double = next((name for name in _ONCE if len(sip.fields(name)) > 1), None)
    if double:
        out["double"] = fact(s, f"{double} stands there {len(sip.fields(double))} times", s.header_line(double))
    origin = sip.sdp.origin.split()[-1:] if sip.sdp else []
    if origin and is_private(origin[0]) and any(is_public(m.address) for m in media):
        address = next(m.address for m in media if is_public(m.address))
        line = next((x for x in sip.sdp.lines if x.startswith("o=")), "") if sip.sdp else ""
        out["origin"] = fact(s, f"o= says {origin[0]}, while c= says {address}", line)
    home = sip.call_id.rpartition("@")[2]
    if is_private(home) and all(is_public(h) for h in hosts):
        text = f"the Call-ID was made at {home}, and every other address is public"
        out["call-id"] = fact(s, text, s.header_line("Call-ID"))
    return out


def _changed(call: Call, s: Step) -> list[Evidence]:
    """The same request seen before the router: addresses differ, and nobody added a Via, as a proxy has to."""
    if not s.key[2].startswith(MAGIC):
        return []
    for o in call.requests_of(s.key):
        if not is_private(o.m.src.ip) or len(o.m.sip.vias) != 1 or o.m.sip.user_agent != s.m.sip.user_agent:
            continue
        before, behind = _addresses(o), _addresses(s)
        for name, address in before.items():
            if name in behind and behind[name][0] != address[0] and is_private(address[0]):
                return [
                    fact(o, f"before the router {name} says {address[0]}", address[1]),
                    fact(s, f"behind it {name} says {behind[name][0]}, and there is still one Via", behind[name][1]),
                ]
    return []


def _addresses(s: Step) -> dict[str, tuple[str, str]]:
    """Address and line by the place where it stands."""
    sip = s.m.sip
    out = {}
    if sip.top_via:
        out["Via"] = sip.top_via.host, s.header_line("Via")
    if sip.contacts:
        out["Contact"] = sip.contacts[0].uri.host, s.header_line("Contact")
    for m in (sip.sdp.media if sip.sdp else ())[:1]:
        lines = [*(x for _, x in m.lines), *(sip.sdp.lines if sip.sdp else ())]
        out["SDP"] = m.address, next((x for x in lines if x.startswith("c=")), "")
    return out
