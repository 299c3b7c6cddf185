"""A dynamic payload type number changed its codec during the call: packets on the way are decoded as noise."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.answers import answered, m_line
from diagnose.call import Call, Step
from diagnose.finding import Finding, public_name
from diagnose.report import fact
from sip.sdp import Media

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 50, "RFC 3264 section 8.3.2"
_DYNAMIC = range(96, 128)


def check(call: Call) -> Iterator[Finding]:
    """One finding for each number, over the exchanges that came about: the other side only follows."""
    known: dict[tuple[str, str, str, int, int], tuple[Step, str, str]] = {}
    told: set[int] = set()
    for x in answered(call):
        for s in (x.offer, x.answer):
            if s is None or s.m.sip.sdp is None:
                continue
            for at, media in enumerate(s.m.sip.sdp.media):
                for pt, codec in _codecs(media).items():
                    key = s.side, s.m.src.ip, s.m.dst.ip, at, pt
                    first, name, line = known.setdefault(key, (s, codec, _line(media, pt)))
                    if name.upper() != codec.upper() and pt not in told:
                        told.add(pt)
                        yield Finding(
                            NAME,
                            SEVERITY,
                            "certain",
                            f"{s.m.src.ip} gives payload type {pt} to {codec}, which was {name} in this call before.",
                            (fact(first, f"{pt} is {name}", line), fact(s, f"{pt} is {codec}", _line(media, pt))),
                            f"{s.m.src.ip} must keep its numbers for the whole call and give a new codec a new one.",
                            REFERENCE,
                            PRECEDENCE,
                        )


def _codecs(media: Media) -> dict[int, str]:
    """Dynamic numbers with what they stand for; a refused stream names nothing."""
    if media.port == 0:
        return {}
    return {c.pt: f"{c.name}/{c.clock}" for c in media.codecs if c.pt in _DYNAMIC and c.clock}


def _line(media: Media, pt: int) -> str:
    return next((x for _, x in media.lines if x.startswith(f"a=rtpmap:{pt} ")), m_line(media))
