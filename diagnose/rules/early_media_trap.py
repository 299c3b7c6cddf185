"""What is heard before the answer may break off: a 180 without SDP after a 183 with one, or an answer that differs."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.answers import m_line
from diagnose.call import Call, Step
from diagnose.finding import Evidence, Finding, public_name
from diagnose.guards import whole
from diagnose.profiles import audio
from diagnose.report import fact
from sip.sdp import Media

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 80, "RFC 3261 section 13.2.1, RFC 3960 section 3.2"


def check(call: Call) -> Iterator[Finding]:
    """One finding for each called side and trap, at the hop next to it."""
    told: set[tuple[str, str]] = set()
    previews: dict[object, Step] = {}
    for s in call.responses:
        sip = s.m.sip
        if sip.method != "INVITE" or not 100 < sip.code < 300 or not whole(s):
            continue
        key = s.key, s.side, s.m.src, s.m.dst
        before = previews.get(key)
        if before is None:
            if sip.code < 200 and audio(sip.sdp):
                previews[key] = s
            continue
        found = _silenced(before, s) if sip.code == 180 and not sip.body else _differs(call, before, s)
        if found is not None and (s.side, found[0]) not in told:
            told.add((s.side, found[0]))
            yield found[1]


def _silenced(before: Step, s: Step) -> tuple[str, Finding]:
    return "silenced", _made(
        "possible",
        f"{s.m.src.ip} sends 180 without SDP after {before.m.sip.code} with SDP: the caller may hear its own ring tone "
        "over the announcement, or none.",
        [
            fact(before, "sound before the answer begins here", before.m.sip.start_line),
            fact(s, "this asks for a ring tone of the caller's own", s.m.sip.start_line),
        ],
        f"Let {s.m.src.ip} stay with 183 once it sends sound, or leave the SDP out until it answers.",
    )


def _differs(call: Call, before: Step, s: Step) -> tuple[str, Finding] | None:
    """Without 100rel the first SDP is only a preview of the answer, and must be the same."""
    first, second = next(iter(audio(before.m.sip.sdp)), None), next(iter(audio(s.m.sip.sdp)), None)
    reliable = before.m.sip.fields("RSeq") or s.m.sip.fields("RSeq")
    updated = any(r.m.sip.method in ("UPDATE", "PRACK") and r.m.sip.body for r in call.requests if r.number < s.number)
    if first is None or second is None or reliable or updated or _what(first) == _what(second):
        return None
    pairs = zip(_what(first), _what(second), ("address", "port", "codecs"), strict=True)
    changed, old, new = next((name, str(a), str(b)) for a, b, name in pairs if a != b)
    return "differs", _made(
        "certain",
        f"{s.m.src.ip} changes the {changed} of its audio from {before.m.sip.code} to {s.m.sip.code}: {old} became "
        f"{new}, which many callers ignore.",
        [
            fact(before, f"{changed} {old}", m_line(first)),
            fact(s, f"{changed} {new}", m_line(second)),
        ],
        f"Let {s.m.src.ip} repeat the same SDP in all its replies, or use 100rel and UPDATE to change it. Where the "
        "caller hears nothing after the answer, this is why.",
    )


def _what(media: Media) -> tuple[str, int, str]:
    return media.address, media.port, " ".join(c.name for c in media.codecs)


def _made(confidence: str, headline: str, evidence: list[Evidence], advice: str) -> Finding:
    return Finding(NAME, SEVERITY, confidence, headline, tuple(evidence), advice, REFERENCE, PRECEDENCE)
