"""The SDP asks for audio at a private address while the peer is public: the device that wrote it will hear nothing."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.answers import caller_said, m_line
from diagnose.call import Call, Step
from diagnose.finding import Evidence, Finding, public_name
from diagnose.guards import crosses, own
from diagnose.report import fact, listed
from sip.ip import is_public
from sip.sdp import Media, SessionDescription

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 60, "RFC 8866 section 5.7, RFC 3264 section 6.1"


def check(call: Call) -> Iterator[Finding]:
    """One finding for each side and private media address that crossed to a public peer."""
    told: set[tuple[str, str]] = set()
    described = [(s, s.m.sip.sdp) for s in call.steps if s.m.sip.sdp is not None]
    # What a later hop still says proves more than what is seen before the NAT of the one who wrote it.
    for s, sdp in sorted(described, key=lambda pair: any(own(m.address, pair[0]) for m in pair[1].media)):
        bad = [m for m in sdp.media if _wanted(m) and crosses(m.address, s) and (s.side, m.address) not in told]
        if not bad:
            continue
        told |= {(s.side, m.address) for m in bad}
        yield _judge(call, s, sdp, bad)


def _wanted(media: Media) -> bool:
    """It asks for packets: what is refused, held or only sent is received nowhere."""
    return media.port != 0 and media.direction in ("sendrecv", "recvonly")


def _deaf(call: Call, s: Step) -> str:
    """Who will not hear whom: the one who gave the address does not get what the other side sends there."""
    began = caller_said(call, s)
    if began is None:
        return "that device will not hear the other side"
    return "the caller will not hear the called side" if began else "the called side will not hear the caller"


def _judge(call: Call, s: Step, sdp: SessionDescription, bad: list[Media]) -> Finding:
    address = bad[0].address
    own_lines = [x for _, x in bad[0].lines]
    line = next((x for x in [*own_lines, *sdp.lines] if x.startswith("c=")), "")
    evidence = [fact(s, f"c= says {address}, which is private; the packet went from {s.m.src} to {s.m.dst}", line)]
    severity, confidence, outcome = SEVERITY, "likely", _deaf(call, s)
    harmless = _harmless(call, s, sdp, bad)
    if harmless is not None:
        severity, confidence, outcome = "info", "certain", "harmless here, since a relay or ICE takes care of it"
        evidence.append(harmless)
    elif (known := _called_there(call, s, address)) is not None:
        severity, confidence = "info", "likely"
        outcome = f"harmless here, since {s.m.dst.ip} itself knows it by that address"
        evidence.append(fact(known, f"{s.m.dst.ip} calls it there: the two share a network", known.header_line("To")))
    elif own(address, s):
        # Before the NAT every packet looks so; what the peer is told shows only behind it.
        severity, confidence = "warning", "possible"
        outcome = f"unless something rewrites it on the way, {_deaf(call, s)}"
        evidence.append(fact(s, f"the packet itself comes from {address}: this capture sits on that side of its NAT"))
    else:
        evidence.append(fact(s, f"{s.m.dst.ip} can send nothing to {address}:{bad[0].port}", m_line(bad[0])))
    kinds = listed(sorted({m.kind for m in bad}))
    return Finding(
        NAME,
        severity,
        confidence,
        f"{s.m.src.ip} asks {s.m.dst.ip} for {kinds} at the private address {address}: {outcome}.",
        tuple(evidence),
        "Let a media relay or the SBC take the media (rtpengine, Force Media Proxy), or give the device its public "
        "address (STUN, external address). A receiver that latches on the first packet (symmetric RTP) also helps.",
        REFERENCE,
        PRECEDENCE,
    )


def _harmless(call: Call, s: Step, sdp: SessionDescription, bad: list[Media]) -> Evidence | None:
    """ICE with public candidates, or a relay, which shows by the same session going on with a public address."""
    values = [(v or "").split() for m in bad for name, v in m.attributes if name == "candidate"]
    if any(len(v) > 4 and is_public(v[4]) for v in values):
        return fact(s, "ICE candidates with public addresses are offered too, so media can still find its way")
    for o in call.onward(s):
        media = [m for m in (o.m.sip.sdp.media if o.m.sip.sdp else ()) if m.port != 0]
        if media and all(is_public(m.address) for m in media):
            return fact(o, f"{o.m.src.ip} passes the session on with a public address: a relay takes the media")
    return None


def _called_there(call: Call, s: Step, address: str) -> Step | None:
    """The INVITE by which the peer calls that very host: a NAT's public address would stand in its To.

    The Request-URI proves nothing: a registrar sends to a phone's private Contact through its NAT."""
    if not own(address, s):
        return None
    return next(
        (
            i
            for i in call.invites
            if (i.m.src.ip, i.m.dst.ip) == (s.m.dst.ip, s.m.src.ip) and i.m.sip.to and i.m.sip.to.uri.host == address
        ),
        None,
    )
