"""The answer's m= lines do not follow the offer's in number, order, media or transport: streams are paired wrongly."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.answers import PLAIN, SECURE, answered, family, m_line
from diagnose.call import SECOND, Call, Exchange, Step
from diagnose.finding import Finding, public_name
from diagnose.report import fact, seconds
from sip.sdp import Media

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 50, "RFC 3264 sections 5 and 6"
_PROFILES = {PLAIN, SECURE}
_LASTED = 10 * SECOND
"""A side that cannot use an answer hangs up at once; so long a talk shows that it made do with it."""


def check(call: Call) -> Iterator[Finding]:
    """One finding for each answering side and kind of difference."""
    told: set[tuple[str, str]] = set()
    for x in answered(call):
        answer, theirs = x.answer, x.answered
        if answer is None or theirs is None:
            continue
        ours = x.offered.media
        at = next((n for n, pair in enumerate(zip(ours, theirs.media, strict=False)) if _differ(*pair)), None)
        if at is None and len(ours) == len(theirs.media):
            continue
        finding, key = _finding(call, x, answer, ours, theirs.media, at)
        if (answer.side, key) not in told:
            told.add((answer.side, key))
            yield finding


def _differ(a: Media, b: Media) -> bool:
    """Another media, or another transport; plain against secure RTP is a matter of its own."""
    if a.kind != b.kind:
        return True
    first, second = family(a.proto), family(b.proto)
    return first != second and {first, second} != _PROFILES


def _finding(
    call: Call, x: Exchange, answer: Step, ours: tuple[Media, ...], theirs: tuple[Media, ...], at: int | None
) -> tuple[Finding, str]:
    evidence = [fact(x.offer, f"the offer has {_count(ours)}")]
    evidence.append(fact(answer, f"the answer has {_count(theirs)}"))
    severity = SEVERITY
    if at is None:
        less = len(theirs) < len(ours)
        key = f"answers {_lines(len(theirs))} to an offer of {len(ours)}"
        odd = (ours if less else theirs)[min(len(ours), len(theirs))]
        text = "this stream has no m= line in the answer" if less else "nothing in the offer stands for this stream"
        evidence.append(fact(x.offer if less else answer, text, m_line(odd)))
        lasted = _lasted(call, answer)
        if lasted is not None and lasted >= _LASTED:
            severity = "warning"
            evidence.append(fact(None, f"the call went on for {seconds(lasted)} all the same"))
    else:
        a, b = ours[at], theirs[at]
        same = a.kind == b.kind
        key = f"answers {b.proto if same else b.kind} where {a.proto if same else a.kind} was offered"
        text = f"stream {at + 1}"
        evidence += [fact(x.offer, f"{text} as offered", m_line(a)), fact(answer, f"{text} as answered", m_line(b))]
    headline = f"{answer.m.src.ip} {key}: " + (
        f"stream {at + 1} does not fit." if at is not None else "every offered stream needs its own m= line."
    )
    return (
        Finding(
            NAME,
            severity,
            "certain",
            headline,
            tuple(evidence),
            "The answering side must repeat every m= line in the order of the offer, with the same media and "
            "transport, and refuse a stream with port 0 instead of leaving it out. Till then offer it audio alone.",
            REFERENCE,
            PRECEDENCE,
        ),
        key,
    )


def _lines(n: int) -> str:
    return f"{n} m= line" + ("" if n == 1 else "s")


def _count(media: tuple[Media, ...]) -> str:
    names = ", ".join(f"{m.kind} {m.proto}" for m in media)
    return _lines(len(media)) + (f": {names}" if names else "")


def _lasted(call: Call, answer: Step) -> int | None:
    """From the answer to the first BYE; None where no end is here."""
    end = next((b for b in call.requests if b.m.sip.method == "BYE" and b.number > answer.number), None)
    return end.m.ts - answer.m.ts if end else None
