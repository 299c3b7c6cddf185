"""Both sides wanted to change the call at the same moment (glare): 491, and each has to try again after a while."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from diagnose.call import SECOND, Call, Step
from diagnose.dialogs import inside, tags
from diagnose.finding import Evidence, Finding, public_name
from diagnose.refusals import request_of, said
from diagnose.report import fact, seconds

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "info", 70, "RFC 3261 sections 14.1 and 14.2, RFC 3311 section 5.2"
_CHANGES = ("INVITE", "UPDATE")
_FEW = 50
_NEAR = 100
"""So many messages before a refusal at most stands the change that it collided with."""
_MANY = 2
"""More collisions than that in one call are no accident."""
_OWNER, _OTHER = (21 * SECOND // 10, 4 * SECOND), (0, 2 * SECOND)
"""When whoever made the Call-ID tries again, and when the other side does (RFC 3261 section 14.1)."""
_LEEWAY = SECOND // 4


@dataclass(frozen=True, slots=True)
class Collision:
    """A change that was refused because another was under way."""

    asked: Step
    refusal: Step
    other: Step | None
    """The change that was under way, where it is seen."""


def collisions(call: Call) -> tuple[Collision, ...]:
    """Each refused change once, at the hop next to the side that refused it; of a flood the first ones."""
    return call.once(_first_collisions)


def _first_collisions(call: Call) -> tuple[Collision, ...]:
    return tuple(islice(_collisions(call), _FEW))


def _collisions(call: Call) -> Iterator[Collision]:
    told: set[tuple[str, int | None, str]] = set()
    for r in call.responses:
        sip = r.m.sip
        asked = request_of(call, r) if sip.method in _CHANGES and sip.code in (491, 500) else None
        key = (sip.method, sip.cseq, r.side_of_request)
        if asked is None or not inside(asked) or key in told:
            continue
        other = _under_way(call, asked, r)
        # A 500 is one only where it says when to come back, and the reason for it is there (section 14.2).
        if sip.code == 491 or (other is not None and sip.first("Retry-After")):
            told.add(key)
            yield Collision(asked, r, other)


def _under_way(call: Call, asked: Step, refusal: Step) -> Step | None:
    """A change in the same dialog that had no final response when this one came: for a 500 one of the same side."""
    pair = tags(asked)[::-1] if refusal.m.sip.code == 491 else tags(asked)
    for s in call.steps[max(0, refusal.number - _NEAR) : refusal.number]:
        if not s.m.sip.is_request or s.m.sip.method not in _CHANGES or tags(s) != pair or s.key == asked.key:
            continue
        final = call.final_of(s)
        if final is None or final.number > asked.number:
            return s
    return None


def check(call: Call) -> Iterator[Finding]:
    """One finding a call; a warning where it goes on and on."""
    found = collisions(call)
    if not found:
        return
    first, severity = found[0], "warning" if len(found) > _MANY else SEVERITY
    evidence: list[Evidence] = []
    for c in found[: _MANY + 1]:
        evidence.append(fact(c.asked, f"{c.asked.m.sip.method} from {c.asked.m.src.ip}", c.asked.m.sip.start_line))
        if c.other is not None:
            text = f"{c.other.m.sip.method} from {c.other.m.src.ip}, which had no final response yet"
            evidence.append(fact(c.other, text, c.other.m.sip.start_line))
        evidence.append(fact(c.refusal, f"{c.refusal.m.src.ip} answered {said(c.refusal.m.sip)}"))
        evidence += _retry(call, c)
    code = f"{first.refusal.m.sip.code}" + (f", {len(found)} times" if len(found) > 1 else "")
    asked, refused = first.asked.m.src.ip, first.refusal.m.src.ip
    headline = f"{asked} and {refused} wanted to change the call at the same moment ({code})."
    if first.refusal.m.sip.code != 491:
        headline = f"{asked} asked {refused} for a change before the one before was done ({code})."
    yield Finding(
        NAME,
        severity,
        "certain" if first.other is not None else "likely",
        headline,
        tuple(evidence),
        "Harmless when each side waits and tries again: 2.1 to 4 s whoever began the call, up to 2 s the other one. If "
        "it repeats, let one side only refresh the session, and switch off one of two features that change media.",
        REFERENCE,
        90 if severity == "info" else PRECEDENCE,
    )


def _retry(call: Call, c: Collision) -> list[Evidence]:
    """When the refused side tried again, beside when it should have."""
    again = next(
        (
            s
            for s in call.requests
            if s.number > c.refusal.number and s.m.sip.method in _CHANGES and tags(s) == tags(c.asked)
        ),
        None,
    )
    if again is None or c.refusal.m.sip.code != 491:
        return []
    waited = again.m.ts - c.refusal.m.ts
    began = next((i.side for i in call.invites), None)
    early, late = _OWNER if c.asked.side == began else _OTHER
    kept = early - _LEEWAY <= waited <= late + _LEEWAY
    window = "" if kept or began is None else f", though it should be after {seconds(early)} to {seconds(late)}"
    return [fact(again, f"it tried again {seconds(waited)} later{window}")]
