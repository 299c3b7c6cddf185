"""Offers with their answers as rules about streams compare them: whole messages only, the answering hop first. Pure."""

from __future__ import annotations

from diagnose.call import Call, Exchange, Step
from diagnose.guards import whole
from sip.sdp import Media

PLAIN, SECURE = "RTP/AVP", "RTP/SAVP"


def answered(call: Call) -> tuple[Exchange, ...]:
    """Every exchange of which both sides are here in full. The hop next to the answering side comes first."""
    return call.once(_answered)


def _answered(call: Call) -> tuple[Exchange, ...]:
    pairs = [(x.answer.number, x) for x in call.exchanges if x.answer is not None]
    in_order = (x for _, x in sorted(pairs, key=lambda pair: pair[0]))
    return tuple(x for x in in_order if x.answer is not None and whole(x.offer) and whole(x.answer))


def family(proto: str) -> str:
    """The profile without what may differ: feedback (the F of AVPF) and the transport named before it (UDP/TLS/)."""
    upper = proto.upper()
    for name in (SECURE, PLAIN):
        if upper.endswith((name, name + "F")):
            return name
    return upper


def m_line(media: Media) -> str:
    """The stream's m= line as it was written."""
    return media.lines[0][1]


def caller_said(call: Call, step: Step) -> bool | None:
    """Whether these are the words of the side that began the call; None where its beginning is not here."""
    first = next(iter(call.invites), None)
    return None if first is None or not first.side else step.side == first.side


def role(call: Call, step: Step) -> str:
    """'the caller', 'the called side', or the address where that is not known."""
    began = caller_said(call, step)
    return step.m.src.ip if began is None else "the caller" if began else "the called side"
