"""Times in this call mislead: two capture points have different clocks, or the clock of one was set back meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.finding import Finding, public_name
from diagnose.report import fact, seconds
from index.trace import SetBack

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "info", 1, "the capture's own times; RFC 5905 (NTP) sets clocks right"
LEAST = 1_000_000
"""Below a millisecond the order of two packets means nothing."""


def check(call: Call) -> Iterator[Finding]:
    """One finding, for the pair that is furthest apart. Seen at one point, what is early is only what was missed."""
    if call.trace.set_back is not None:
        yield _set_back(call, call.trace.set_back)
        return
    early = [(r.m.ts - s.m.ts, s, r) for s in call.responses if (r := _asked_later(call, s)) is not None]
    if not early:
        return
    apart, answer, request = max(early, key=lambda found: found[0])
    sip = answer.m.sip
    yield Finding(
        NAME,
        SEVERITY,
        "certain",
        f"The clocks of {_point(request)} and {_point(answer)} differ by {seconds(apart)} or more: the {sip.code} "
        f"stands before the {sip.method} that it answers.",
        (
            fact(answer, f"{sip.code} {sip.reason}, as {_point(answer)} saw it", sip.start_line),
            fact(request, f"its {sip.method} {seconds(apart)} later, as {_point(request)} saw it"),
        ),
        "Set both clocks by NTP. Until then the order of messages and every delay between the two points in this call "
        "are wrong by that much, and findings about time or silence may be, too.",
        REFERENCE,
        PRECEDENCE,
    )


def _set_back(call: Call, told: SetBack) -> Finding:
    last, first = call.steps[told.before - 1], call.steps[told.after - 1]
    return Finding(
        NAME,
        SEVERITY,
        "likely",
        f"The clock of {_point(first)} was set back by {seconds(told.by)} or more in the middle of this call.",
        (
            fact(last, f"the last message with the old clock, as {_point(last)} saw it", last.m.sip.start_line),
            fact(
                first, "the first one with the new clock: it came later, and stands before it", first.m.sip.start_line
            ),
        ),
        "Let NTP slew the clock instead of setting it. Messages are listed by their times, so those that came later "
        "stand before the others here; findings rest on the order in which they were captured.",
        REFERENCE,
        PRECEDENCE,
    )


def _asked_later(call: Call, answer: Step) -> Step | None:
    """The request on the same hop, where another capture point saw it and all its sends come after the answer."""
    sends = [r for r in call.requests_of(answer.key) if (r.m.src, r.m.dst) == (answer.m.dst, answer.m.src)]
    first = sends[0] if sends else None
    if first is None or first.m.ts - answer.m.ts < LEAST:
        return None
    return first if (first.m.node, first.m.interface) != (answer.m.node, answer.m.interface) else None


def _point(s: Step) -> str:
    return f"{s.m.node}, {s.m.interface}"
