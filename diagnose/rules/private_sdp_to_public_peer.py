"""The SDP asks for audio at a private address while the peer is public: the device that wrote it will hear nothing."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call
from diagnose.finding import Finding
from diagnose.guards import crosses
from diagnose.report import fact, listed
from sip.ip import is_public

NAME, SEVERITY, PRECEDENCE, REFERENCE = (
    "private-sdp-to-public-peer",
    "error",
    60,
    "RFC 8866 section 5.7, RFC 3264 section 6.1",
)


def check(call: Call) -> Iterator[Finding]:
    """One finding for each private media address that crossed to a public peer."""
    told: set[str] = set()
    for s in call.steps:
        sdp = s.m.sip.sdp
        if sdp is None:
            continue
        bad = [m for m in sdp.media if m.port != 0 and crosses(m.address, s) and m.address not in told]
        if not bad:
            continue
        address = bad[0].address
        told |= {m.address for m in bad}
        candidates = [
            v.split()[4] for m in bad for n, v in m.attributes if n == "candidate" and v and len(v.split()) > 4
        ]
        ice = any(is_public(c) for c in candidates)
        # A relay in between shows by the same session leaving this capture point with a public address.
        origin = sdp.origin.split()[1:2]
        relayed = next(
            (
                o
                for o in call.steps
                if o.number > s.number
                and o.m.sip.sdp is not None
                and o.m.src != s.m.src
                and o.m.sip.is_request == s.m.sip.is_request
                and o.m.sip.sdp.origin.split()[1:2] == origin
                and all(is_public(m.address) for m in o.m.sip.sdp.media)
            ),
            None,
        )
        severity = "info" if ice or relayed else SEVERITY
        line = next(
            (x for _, x in bad[0].lines if x.startswith("c=")), next((x for x in sdp.lines if x.startswith("c=")), "")
        )
        evidence = [fact(s, f"c= says {address}, which is private; the packet went from {s.m.src} to {s.m.dst}", line)]
        if ice:
            evidence.append(
                fact(s, "ICE candidates with public addresses are offered too, so media can still find its way")
            )
        if relayed:
            evidence.append(fact(relayed, "the same session leaves here with a public address: a relay rewrites it"))
        kinds = listed(sorted({m.kind for m in bad}))
        harmless = " A relay or ICE takes care of it here." if severity == "info" else ""
        yield Finding(
            NAME,
            severity,
            "likely" if severity != "info" else "certain",
            f"{s.m.src.ip} asks for {kinds} at the private address {address}: that device will not hear the other side.{harmless}",
            tuple(evidence),
            "Let a media relay or the SBC take the media (rtpengine, Force Media Proxy), or give the device its public "
            "address (STUN, external address). A receiver that latches on the first packet (symmetric RTP) also helps.",
            REFERENCE,
            PRECEDENCE,
        )
