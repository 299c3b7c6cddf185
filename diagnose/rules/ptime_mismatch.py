"""The two sides ask for packets of different length (ptime): legal, but some gateways send or play them badly."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.answers import answered, m_line
from diagnose.call import Call, Exchange, Step
from diagnose.finding import Evidence, Finding, public_name
from diagnose.report import fact
from sip.sdp import Media

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "info", 90, "RFC 3264 sections 5.1 and 6.1, RFC 8866 section 6.4"


def check(call: Call) -> Iterator[Finding]:
    """One finding for each answering side."""
    told: set[str] = set()
    for x in answered(call):
        for ours, theirs in x.streams():
            if x.answer is None or 0 in (ours.port, theirs.port) or x.answer.side in told:
                continue
            found = _judge(x, x.answer, ours, theirs)
            if found is not None:
                told.add(x.answer.side)
                yield found


def _judge(x: Exchange, answer: Step, ours: Media, theirs: Media) -> Finding | None:
    asked = {x.offer: _milliseconds(ours, "ptime"), answer: _milliseconds(theirs, "ptime")}
    longest = {x.offer: _milliseconds(ours, "maxptime"), answer: _milliseconds(theirs, "maxptime")}
    media = {x.offer: ours, answer: theirs}
    for taker, sender in ((x.offer, answer), (answer, x.offer)):
        most, wish = longest[taker], asked[sender]
        if most and wish and wish > most:
            text = f"{sender.m.src.ip} asks for packets of {wish} ms, {taker.m.src.ip} takes {most} ms at most"
            evidence = (
                fact(taker, f"it takes packets of {most} ms at most", _line(media[taker], "maxptime")),
                fact(sender, f"it asks for packets of {wish} ms", _line(media[sender], "ptime")),
            )
            return _made("warning", f"{text}: a side that sends as it wants to receive is not heard.", evidence)
    first, second = asked[x.offer], asked[answer]
    if not first or not second or first == second:
        return None
    evidence = (
        fact(x.offer, f"{x.offer.m.src.ip} wants packets of {first} ms", _line(ours, "ptime")),
        fact(answer, f"{answer.m.src.ip} wants packets of {second} ms", _line(theirs, "ptime")),
    )
    return _made(
        SEVERITY,
        f"{x.offer.m.src.ip} asks for packets of {first} ms, {answer.m.src.ip} for {second} ms: legal, each side "
        "should send what the other asks for.",
        evidence,
    )


def _milliseconds(media: Media, name: str) -> int:
    text = (media.attribute(name) or "").partition(".")[0]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 5 else 0


def _line(media: Media, name: str) -> str:
    return next((x for _, x in media.lines if x.startswith(f"a={name}:")), m_line(media))


def _made(severity: str, headline: str, evidence: tuple[Evidence, ...]) -> Finding:
    return Finding(
        NAME,
        severity,
        "certain",
        headline,
        evidence,
        "Set the same packet length on both sides (20 ms is usual) where the sound is chopped or one side is silent.",
        REFERENCE,
        PRECEDENCE,
    )
