"""An m= line names a payload type that nothing explains, or explains twice: the peer cannot know which codec it is."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.answers import family, m_line
from diagnose.call import Call, Step
from diagnose.finding import Evidence, Finding, public_name
from diagnose.guards import whole
from diagnose.profiles import NAMES
from diagnose.report import fact, listed
from diagnose.rules.answer_without_offered_codec import speech
from sip.sdp import Media

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 50, "RFC 3264 sections 5.1 and 6.1, RFC 8866 section 6.6"


def check(call: Call) -> Iterator[Finding]:
    """One finding for each side. A refused stream (port 0) need not explain anything."""
    told: set[str] = set()
    for s in call.steps:
        sdp = s.m.sip.sdp
        if sdp is None or s.side in told or not whole(s) or s.m.sip.code >= 300:
            continue
        for media in sdp.media:
            if media.port == 0 or family(media.proto) not in NAMES:
                continue
            found = _judge(s, media)
            if found is not None:
                told.add(s.side)
                yield found
                break


def _judge(s: Step, media: Media) -> Finding | None:
    if not media.formats:
        return _made(
            SEVERITY,
            f"{s.m.src.ip} names no codec at all for its {media.kind}.",
            fact(s, "the m= line ends without a format", m_line(media)),
        )
    unknown = [str(c.pt) for c in media.codecs if not c.clock and c.name == f"pt{c.pt}"]
    if unknown:
        rest = {c for c in speech(media) if c[1]}
        text = f"no a=rtpmap explains {listed(unknown)}"
        return _made(
            "warning" if rest else SEVERITY,
            f"{s.m.src.ip} names payload type {listed(unknown)} without saying which codec it is: "
            + ("the others still work." if rest else f"no {media.kind} codec is left."),
            fact(s, text, m_line(media)),
        )
    maps: dict[str, str] = {}
    for _, line in media.lines:
        if line.startswith("a=rtpmap:"):
            pt, _, codec = line[9:].partition(" ")
            if maps.setdefault(pt, codec.strip().upper()) != codec.strip().upper():
                headline = f"{s.m.src.ip} gives payload type {pt} two meanings: {maps[pt]} and {codec.strip()}."
                return _made(SEVERITY, headline, fact(s, f"a second a=rtpmap for {pt}", line))
    return None


def _made(severity: str, headline: str, evidence: Evidence) -> Finding:
    return Finding(
        NAME,
        severity,
        "certain",
        headline,
        (evidence,),
        "Every payload type above 34 needs exactly one a=rtpmap in its own m= section. Correct the codec configuration "
        "of that device, or of the border controller that filters its lines.",
        REFERENCE,
        PRECEDENCE,
    )
