"""The answer's direction does not fit the offer's (both only listen, both only send): a stream nobody hears."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.answers import answered, m_line
from diagnose.call import Call, Exchange, Step
from diagnose.finding import Finding, public_name
from diagnose.report import fact
from sip.sdp import DIRECTIONS, Media, SessionDescription

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 50, "RFC 3264 section 6.1"
_MAY = {
    "sendonly": ("recvonly", "inactive"),
    "recvonly": ("sendonly", "inactive"),
    "inactive": ("inactive",),
    "sendrecv": DIRECTIONS,
}
_OUTCOMES = {
    ("sendonly", "sendonly"): "both sides only send and neither listens",
    ("recvonly", "recvonly"): "both sides only listen and neither sends",
}
"""These leave no working way; after the other breaches media still flows as far as the stricter side lets it."""


def check(call: Call) -> Iterator[Finding]:
    """One finding for each answering side and pair of directions."""
    told: set[tuple[str, str, str, str]] = set()
    for x in answered(call):
        for kind in ("audio", "video"):
            for ours, theirs in x.streams(kind):
                if x.answer is None or 0 in (ours.port, theirs.port) or theirs.kind != kind:
                    continue
                key = (x.answer.side, kind, ours.direction, theirs.direction)
                if theirs.direction in _MAY[ours.direction] or key in told:
                    continue
                told.add(key)
                yield _finding(x, x.answer, ours, theirs)


def _finding(x: Exchange, answer: Step, ours: Media, theirs: Media) -> Finding:
    pair = ours.direction, theirs.direction
    outcome = _OUTCOMES.get(pair)
    allowed = " or ".join(_MAY[ours.direction])
    stated = _line(x.answered, theirs)
    said = f"answered {theirs.direction}" + ("" if stated else " (no direction is written, so sendrecv holds)")
    return Finding(
        NAME,
        SEVERITY if outcome else "warning",
        "certain",
        f"{answer.m.src.ip} answers {theirs.direction} to {ours.kind} offered {ours.direction}: "
        + (f"{outcome}." if outcome else f"only {allowed} may follow."),
        (
            fact(x.offer, f"offered {ours.direction}", _line(x.offered, ours) or m_line(ours)),
            fact(answer, f"{said}; the offer allows {allowed}", stated or m_line(theirs)),
        ),
        f"The answering side must answer {allowed}. Where this comes with hold or resume, look at how it handles "
        "re-INVITEs; a session border controller can put the direction right on the way.",
        REFERENCE,
        PRECEDENCE,
    )


def _line(sdp: SessionDescription | None, media: Media) -> str:
    """The line that sets the direction: the stream's own, else the session's; '' where nothing does."""
    first = next((n for m in (sdp.media[:1] if sdp else ()) for n, _ in m.lines), 0)
    lines = [*(x for _, x in media.lines), *(sdp.lines[:first] if sdp else ())]
    return next((x for x in lines if x.startswith("a=") and x[2:].strip() in DIRECTIONS), "")
