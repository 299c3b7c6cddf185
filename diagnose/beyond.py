"""What lies beyond a switch, as far as the legs of the call were looked for: who made which leg, and how it ended.

Rules that need it are silent where nobody looked (`CallTrace.legs` is None). Doubtful links are no ground for anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from diagnose.call import Call, Step
from diagnose.refusals import refusals
from index.summary import CallSummary

_CALLERS_OWN = (401, 407, 486, 487, 600, 603)
"""Challenges, and what parties decide: no failure of the way there."""


def final_refusal(call: Call) -> Step | None:
    """The refusal that ended the call, where it was never answered."""
    last = next(reversed(refusals(call)), None)
    if (
        last is None
        or last.m.sip.code < 400
        or last.m.sip.code in _CALLERS_OWN
        or call.answered_after(last) is not None
    ):
        return None
    return last


def refused_by_switch(call: Call) -> Step | None:
    """The same, where whoever got the first INVITE said so itself."""
    last = final_refusal(call)
    first = call.invites[0] if call.invites else None
    return last if last is not None and first is not None and last.m.src.ip == first.m.dst.ip else None


def onward_hosts(call: Call) -> frozenset[str]:
    """Hosts that made legs of other calls at that time, as far as this tap shows."""
    return call.trace.makers


def children(call: Call) -> tuple[CallSummary, ...]:
    """Legs that were made for this one, beyond doubt."""
    legs = call.trace.legs
    if legs is None:
        return ()
    made = {x.child for x in legs.links if x.parent == call.trace.call_id and not x.doubtful}
    return tuple(c for c in legs.calls if c.call_id in made)


def siblings(call: Call) -> tuple[CallSummary, ...]:
    """Other legs that were made for the same one, beyond doubt."""
    legs = call.trace.legs
    if legs is None:
        return ()
    sure = [x for x in legs.links if not x.doubtful]
    parents = {x.parent for x in sure if x.child == call.trace.call_id}
    made = {x.child for x in sure if x.parent in parents} - {call.trace.call_id}
    return tuple(c for c in legs.calls if c.call_id in made)


def rescued_by(call: Call) -> CallSummary | None:
    """Another leg for the same call that was answered, though this one failed."""
    if not call.invites or any(s.m.sip.method == "INVITE" and 200 <= s.m.sip.code < 300 for s in call.responses):
        return None
    return next(
        (c for c in siblings(call) if c.state in ("in-call", "completed") and c.end >= call.steps[0].m.ts), None
    )


def followed_by(call: Call, redirection: Step) -> tuple[CallSummary, ...]:
    """Other legs that went where a redirection pointed to."""
    targets = {c.uri.host.lower() for c in redirection.m.sip.contacts}
    users = {c.uri.user for c in redirection.m.sip.contacts if c.uri.user}
    return tuple(
        c
        for c in (*siblings(call), *children(call))
        if c.start >= redirection.m.ts and (c.dst.rpartition(":")[0].strip("[]") in targets or c.to_user in users)
    )


@dataclass(frozen=True, slots=True)
class Way:
    """A leg further on, and how long it took until it rang, was answered, or failed."""

    leg: CallSummary
    depth: int


def further(call: Call) -> tuple[Way, ...]:
    """Legs that were made for this one and for those, beyond doubt, each under the one it was made for."""
    legs = call.trace.legs
    if legs is None:
        return ()
    known = {c.call_id: c for c in legs.calls}
    made: dict[str, list[CallSummary]] = {}
    for x in legs.links:
        if not x.doubtful and x.child in known:
            made.setdefault(x.parent, []).append(known[x.child])
    out: list[Way] = []
    todo = [(call.trace.call_id, 0)]
    while todo:
        parent, depth = todo.pop()
        for c in sorted(made.pop(parent, ()), key=lambda c: c.start):
            out.append(Way(c, depth + 1))
            todo.append((c.call_id, depth + 1))
    return tuple(out)
