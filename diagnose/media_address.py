"""Why the address for media is not the one the signalling came from. In most networks that is by design. Pure.

It says what is likely and calls nothing a fault; rules do that, with their own evidence.
"""

from __future__ import annotations

from ipaddress import ip_address

from diagnose.call import Call, Step
from sip.ip import is_private, literal
from sip.sdp import Media

NETWORK = {4: 24, 6: 64}
"""Prefix within which two addresses are taken for neighbours."""


class Surroundings:
    """The hops of one call, indexed once: a long call has thousands of steps."""

    def __init__(self, call: Call) -> None:
        self._signalling = {ip for s in call.steps for ip in (s.m.src.ip, s.m.dst.ip)}
        self._arrived: dict[object, list[Step]] = {}
        for s in call.steps:
            if s.m.sip.sdp is not None:
                self._arrived.setdefault((s.m.dst.ip, *_same_words(s)), []).append(s)

    def why_elsewhere(self, step: Step, stream: Media, position: int) -> str:
        """One sentence; '' where media and signalling have the same address."""
        said, source = literal(stream.address), literal(step.m.src.ip)
        if not stream.address:
            return "no address is given"
        if said is None:
            return f"{stream.address} is a name: whoever sends there looks it up"
        if said == source:
            return ""
        if said.is_unspecified:
            return "the address of nobody: an old way to put the call on hold"
        before = self._before(step, position)
        if before and literal(before) != said:
            return f"{step.m.src.ip} put it in place of {before}: media goes through a relay (SBC, rtpengine, rtpproxy)"
        if str(said) in self._signalling:
            return f"{stream.address} takes part in the signalling: {step.m.src.ip} passed its SDP on unchanged"
        if is_private(stream.address) and not is_private(step.m.src.ip):
            return (
                "a private address: a device behind NAT (right if the far side answers to where media comes from), "
                "or a media zone of its own"
            )
        if source is not None and said.version != source.version:
            return "the other IP version: media and signalling go through different networks"
        if _neighbours(str(said), str(source)):
            return "a neighbour of the signalling address: the media part of the same SBC or media zone"
        return "another host: a media relay, an SBC's media part or a media zone of its own"

    def _before(self, step: Step, position: int) -> str:
        """The address of that stream on the hop before, where the sender of this hop received it."""
        arrived = self._arrived.get((step.m.src.ip, *_same_words(step)), [])
        last = next((s for s in reversed(arrived) if s.number < step.number), None)
        media = last.m.sip.sdp.media if last is not None and last.m.sip.sdp is not None else ()
        return media[position].address if position < len(media) else ""


def _same_words(s: Step) -> tuple[object, ...]:
    """What a message keeps on every hop."""
    sip = s.m.sip
    return s.side, sip.is_request, sip.method, sip.cseq, sip.code


def _neighbours(a: str, b: str) -> bool:
    one, two = ip_address(a), ip_address(b)
    shift = one.max_prefixlen - NETWORK[one.version]
    return int(one) >> shift == int(two) >> shift
