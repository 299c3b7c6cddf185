"""The call was still on hold when it ended, or one side asked for it back and the other kept it on hold."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.answers import answered, m_line
from diagnose.call import SECOND, Call, Exchange, Step
from diagnose.finding import Finding, public_name
from diagnose.report import fact, seconds
from sip.sdp import Media

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 80, "RFC 3264 sections 6.1 and 8.4"
_PATIENCE = 60 * SECOND
"""A shorter hold is an everyday one."""


def check(call: Call) -> Iterator[Finding]:
    """One finding for each called side: what holds after the last exchange, until the call ends."""
    last: dict[str, list[tuple[Exchange, Step, Media, Media]]] = {}
    for x in answered(call):
        for ours, theirs in list(x.streams())[:1]:
            # Before the answer a direction is often closed on purpose.
            if x.answer is not None and 0 not in (ours.port, theirs.port) and not _early(x.answer):
                sides = "/".join(sorted((x.offer.side, x.answer.side)))
                last.setdefault(sides, []).append((x, x.answer, ours, theirs))
    for rounds in last.values():
        flowing = [n for n, (_, _, a, b) in enumerate(rounds) if _flows(a, b)]
        if not flowing or flowing[-1] == len(rounds) - 1:
            continue
        x, answer, ours, theirs = rounds[-1]
        asked_back = not _holds(ours) and len(rounds) - flowing[-1] > 2
        if not asked_back:  # A refresh in between does not begin the hold anew.
            x, answer, ours, theirs = rounds[flowing[-1] + 1]
        end = next((b for b in call.requests if b.m.sip.method == "BYE" and b.number > answer.number), None)
        if end is None or end.m.ts - answer.m.ts <= _PATIENCE:
            continue
        held = end.m.ts - answer.m.ts
        evidence = [
            fact(x.offer, f"{x.offer.m.src.ip} offers {_state(ours)}", _line(ours)),
            fact(answer, f"{answer.m.src.ip} answers {_state(theirs)}", _line(theirs)),
            fact(end, f"{end.m.src.ip} hangs up {seconds(held)} later"),
        ]
        headline = f"The call was on hold for its last {seconds(held)}, put there by {x.offer.m.src.ip}."
        if asked_back:
            headline = (
                f"{x.offer.m.src.ip} took the call from hold, but {answer.m.src.ip} stayed at {_state(theirs)} for "
                f"{seconds(held)}."
            )
        yield Finding(
            NAME,
            SEVERITY,
            "likely" if asked_back else "possible",
            headline,
            tuple(evidence),
            "Ask whether the caller waited on purpose (queue, music on hold). If not, look at how the side that held "
            "the call resumes it: it must offer sendrecv again, and the other must answer so.",
            REFERENCE,
            PRECEDENCE,
        )


def _early(answer: Step) -> bool:
    return not answer.m.sip.is_request and answer.m.sip.code < 200


def _holds(media: Media) -> bool:
    return media.direction != "sendrecv" or media.address == "0.0.0.0"


def _flows(ours: Media, theirs: Media) -> bool:
    return not _holds(ours) and not _holds(theirs)


def _state(media: Media) -> str:
    return "c=0.0.0.0 (the old way to hold)" if media.address == "0.0.0.0" else media.direction


def _line(media: Media) -> str:
    return next((x for _, x in media.lines if x == f"a={media.direction}"), m_line(media))
