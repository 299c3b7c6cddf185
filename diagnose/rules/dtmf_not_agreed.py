"""Key presses (DTMF) have no agreed way: one side lacks telephone-event, or its keys, clock or use do not fit."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.answers import answered, m_line
from diagnose.call import Call, Exchange, Step
from diagnose.finding import Evidence, Finding, public_name
from diagnose.report import fact, listed
from diagnose.rules.answer_without_offered_codec import speech
from sip.sdp import Codec, Media

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 50, "RFC 4733 sections 2.4 and 2.5.1.1, RFC 3264 section 6.1"
_KEYS = frozenset(range(12))
"""0 to 9, * and #; A to D (12 to 15) are on no usual telephone."""
_ADVICE = (
    "Switch DTMF by RFC 4733 (RFC 2833) on at both sides with the same clock as the codec, or agree on one other way "
    "(SIP INFO, or in band with G.711 alone) for the whole route; a session border controller can convert."
)


def check(call: Call) -> Iterator[Finding]:
    """One finding for each pair of sides, about what holds at the end of the call on each hop."""
    last: dict[frozenset[str], tuple[Exchange, Step, Media, Media]] = {}
    for x in answered(call):
        for ours, theirs in x.streams():
            # Without a codec in common there is no audio at all, of which another rule speaks.
            if x.answer is not None and 0 not in (ours.port, theirs.port) and speech(ours) & speech(theirs):
                last[frozenset((x.offer.m.src.ip, x.offer.m.dst.ip))] = x, x.answer, ours, theirs
    told: set[tuple[frozenset[str], str]] = set()
    for x, answer, ours, theirs in last.values():
        found = _judge(call, x.offer, answer, ours, theirs)
        if found is not None:
            key = frozenset((x.offer.side, answer.side)), found[0]
            if key not in told:
                told.add(key)
                yield found[1]


def _judge(call: Call, offer: Step, answer: Step, ours: Media, theirs: Media) -> tuple[str, Finding] | None:
    a, b = _events(ours), _events(theirs)
    info = next((s for s in call.requests if _is_key(s)), None)
    if bool(a) != bool(b):
        return "missing", _missing(offer, answer, ours, theirs, info)
    if not a:
        return None
    if info is not None:
        text = f"the key presses come as INFO ({info.m.sip.first('Content-Type')})"
        evidence = [_fact(offer, ours, a), _fact(answer, theirs, b), fact(info, text, info.header_line("Content-Type"))]
        headline = f"{info.m.src.ip} sends key presses as INFO although telephone-event was agreed: "
        return "info", _made("likely", headline + "they may be ignored, or counted twice.", evidence)
    for step, media, events in ((offer, ours, a), (answer, theirs, b)):
        gone = next((sorted(_KEYS - keys) for c in events if (keys := _listed(c)) is not None and _KEYS - keys), None)
        if gone:
            names = listed(["*" if k == 10 else "#" if k == 11 else str(k) for k in gone])
            headline = f"{step.m.src.ip} takes telephone-event without the keys {names}."
            line = _line(media, f"a=fmtp:{events[0].pt}")
            return "keys", _made("certain", headline, [fact(step, f"the keys {names} are not in its list", line)])
    return _clock(offer, answer, ours, theirs)


def _missing(offer: Step, answer: Step, ours: Media, theirs: Media, info: Step | None) -> Finding:
    with_it, without = ("offers", "answers") if _events(ours) else ("answers", "offers")
    haver, lacker = (offer, answer) if _events(ours) else (answer, offer)
    evidence = [_fact(offer, ours, _events(ours)), _fact(answer, theirs, _events(theirs))]
    outcome = "key presses can only travel in the sound itself or as INFO"
    if info is not None:
        outcome = "key presses come as INFO instead"
        evidence.append(fact(info, outcome, info.header_line("Content-Type")))
    return _made(
        "certain",
        f"{lacker.m.src.ip} {without} no telephone-event while {haver.m.src.ip} {with_it} it: {outcome}.",
        evidence,
        "info" if info else SEVERITY,
    )


def _clock(offer: Step, answer: Step, ours: Media, theirs: Media) -> tuple[str, Finding] | None:
    """Events share their stream's timestamps, so they need the clock of the codec in use."""
    both = speech(ours) & speech(theirs)
    codec = next((c for c in theirs.codecs if (c.name.upper(), c.clock, c.channels) in both), None)
    events = _events(theirs)
    if codec is None or any(e.clock in (codec.clock, 0) for e in events):
        return None
    used, clock = f"{codec.name}/{codec.clock}", f"telephone-event/{events[0].clock}"
    evidence = [_fact(offer, ours, _events(ours)), fact(answer, f"{used} beside {clock}", _rtpmap(theirs, events[0]))]
    headline = f"{answer.m.src.ip} answers {used} with {clock}: strict receivers ignore events of another clock."
    return "clock", _made("possible", headline, evidence, "info")


def _events(media: Media) -> list[Codec]:
    return [c for c in media.codecs if c.name.lower() == "telephone-event"]


def _is_key(s: Step) -> bool:
    return s.m.sip.method == "INFO" and s.m.sip.first("Content-Type").lower().startswith("application/dtmf")


def _listed(events: Codec) -> set[int] | None:
    """The events it takes; None where it lists none (then all keys hold) or the list cannot be read."""
    out: set[int] = set()
    for part in (events.fmtp or "").partition(";")[0].replace(" ", "").lower().removeprefix("events=").split(","):
        first, dash, last = part.partition("-")
        if not (first.isascii() and first.isdigit() and (not dash or (last.isascii() and last.isdigit()))):
            return None
        if len(first) > 3 or len(last) > 3:
            return None
        out |= set(range(int(first), int(last or first) + 1))
    return out


def _fact(step: Step, media: Media, events: list[Codec]) -> Evidence:
    if not events:
        return fact(step, f"{step.m.src.ip} has no telephone-event", m_line(media))
    text = listed([f"telephone-event/{c.clock} as {c.pt}" for c in events])
    return fact(step, f"{step.m.src.ip} has {text}", _rtpmap(media, events[0]))


def _rtpmap(media: Media, codec: Codec) -> str:
    return _line(media, f"a=rtpmap:{codec.pt}")


def _line(media: Media, start: str) -> str:
    """The line of the attribute, matched as a whole word."""
    return next((x for _, x in media.lines if x.split(" ")[0] == start), m_line(media))


def _made(confidence: str, headline: str, evidence: list[Evidence], severity: str = SEVERITY) -> Finding:
    return Finding(NAME, severity, confidence, headline, tuple(evidence), _ADVICE, REFERENCE, PRECEDENCE)
