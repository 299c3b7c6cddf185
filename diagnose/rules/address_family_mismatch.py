"""One side asks for media at an IPv6 address, the other at an IPv4 address: they may not reach each other at all."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.answers import answered, m_line
from diagnose.call import Call, Exchange, Step
from diagnose.finding import Evidence, Finding, public_name
from diagnose.report import fact
from sip.ip import literal
from sip.sdp import Media, SessionDescription

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 50, "RFC 8866 section 5.7, RFC 6157 section 4"
_CHOICES = ("candidate", "altc")
"""With ICE or ALTC a side has more addresses than its c= line shows."""
_REFUSED = ("300", "301")


def check(call: Call) -> Iterator[Finding]:
    """One finding for each answering side: answered in the other family, or refused for it."""
    told: set[str] = set()
    for x in answered(call):
        for ours, theirs in x.streams():
            if x.answer is None or 0 in (ours.port, theirs.port) or x.answer.side in told:
                continue
            found = _judge(x, x.answer, ours, theirs)
            if found is not None:
                told.add(x.answer.side)
                yield found
    for s in call.responses:
        warning = refused_family(s)
        if warning and s.side not in told:
            told.add(s.side)
            headline = f"{s.m.src.ip} refuses the kind of address in the offer: {s.m.sip.code} {s.m.sip.reason}."
            evidence = [fact(s, "the Warning speaks of the network protocol or its addresses", f"Warning: {warning}")]
            yield _made("critical" if call.answered_after(s) is None else "warning", "certain", headline, evidence)


def refused_family(final: Step) -> str:
    """The Warning of a refusal that is about the network protocol (RFC 3261 section 20.43); '' where there is none."""
    sip = final.m.sip
    if sip.method != "INVITE" or sip.code not in (488, 606):
        return ""
    return next((w for w in sip.all("Warning") if w.startswith(_REFUSED)), "")


def _judge(x: Exchange, answer: Step, ours: Media, theirs: Media) -> Finding | None:
    a, b = literal(ours.address), literal(theirs.address)
    if a is None or b is None or a.version == b.version or b.is_unspecified or a.is_unspecified:
        return None
    if any(m.attribute(name) is not None for m in (ours, theirs) for name in _CHOICES):
        return None
    evidence = [
        fact(x.offer, f"{x.offer.m.src.ip} wants media at {ours.address} (IPv{a.version})", _line(x.offered, ours)),
        fact(answer, f"{answer.m.src.ip} wants media at {theirs.address} (IPv{b.version})", _line(x.answered, theirs)),
    ]
    headline = (
        f"{x.offer.m.src.ip} asks for audio by IPv{a.version} and {answer.m.src.ip} by IPv{b.version}: unless both "
        "have both, neither hears the other."
    )
    return _made(SEVERITY, "likely", headline, evidence)


def _line(sdp: SessionDescription | None, media: Media) -> str:
    lines = [*(x for _, x in media.lines), *(sdp.lines if sdp else ())]
    return next((x for x in lines if x.startswith("c=")), m_line(media))


def _made(severity: str, confidence: str, headline: str, evidence: list[Evidence]) -> Finding:
    return Finding(
        NAME,
        severity,
        confidence,
        headline,
        tuple(evidence),
        "Let a media relay with both families stand between the two (rtpengine, a session border controller), or set "
        "both sides to the same one.",
        REFERENCE,
        PRECEDENCE,
    )
