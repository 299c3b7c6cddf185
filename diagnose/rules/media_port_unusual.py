"""A media port or address that is legal but unusual: an odd port, one below 1024, RTCP on the same port, multicast."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call
from diagnose.finding import Finding, public_name
from diagnose.report import fact
from sip.ip import literal
from sip.sdp import Media

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "info", 90, "RFC 3550 section 11, RFC 3605 section 2.1, RFC 5761 section 5.1.1"
_SYSTEM = 1024


def check(call: Call) -> Iterator[Finding]:
    """One finding for each side, about its first such stream."""
    told: set[str] = set()
    for s in call.steps:
        sdp = s.m.sip.sdp
        if sdp is None or s.m.retransmission or s.side in told:
            continue
        found = next(((m, what) for m in sdp.media if (what := _unusual(m))), None)
        if found is None:
            continue
        told.add(s.side)
        media, what = found
        yield Finding(
            NAME,
            SEVERITY,
            "certain",
            f"{s.m.src.ip} wants {media.kind} at {media.address}:{media.port}, {what}.",
            (fact(s, f"{media.kind}: {what}", media.lines[0][1]),),
            "It is legal, and works with most. If there is no audio only with this device, give it a range of even "
            "ports above 1024 and see that firewalls allow them.",
            REFERENCE,
            PRECEDENCE,
        )


def _unusual(media: Media) -> str:
    if not media.proto.upper().startswith(("RTP/", "UDP/TLS/RTP/")) or media.port <= 0:
        return ""
    address = literal(media.address)
    mux = media.attribute("rtcp-mux") is not None
    rtcp = (media.attribute("rtcp") or "").split()
    # Behind a NAT or with ICE ports are what they are.
    translated = mux or media.attribute("candidate") is not None or media.attribute("rtcp") is not None
    if address is not None and address.is_multicast:
        return "a multicast address in a call between two"
    if rtcp and rtcp[0] == str(media.port) and not mux:
        return "and RTCP at the same port without saying so (rtcp-mux)"
    if media.port < _SYSTEM:
        return "a port below 1024, which many firewalls never open"
    if media.port % 2 and not translated:
        return "an odd port: some devices send to the even one below it"
    return ""
