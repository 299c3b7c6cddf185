"""What became of a whole call, all its legs together: answered, failed, under way, or ended as its parties wanted it.

A switch that tries one carrier after another makes legs that fail in calls that succeed; and a refusal that is passed
back makes every leg before it fail, too. It goes by sure links alone: a doubtful one must not hide a failure. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from alerts.classify import FAILURES
from index.legs import CallLegs
from index.summary import CallSummary

ANSWERED, UNDER_WAY, FAILED, WANTED = "answered", "under way", "failed", "wanted"
_ANSWERED = ("in-call", "completed")
_UNDER_WAY = ("calling", "ringing", "challenged")
_WANTED = ("busy", "no-answer", "declined", "cancelled")
MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Session:
    """The legs that are one call, as they stand now."""

    outcome: str
    speaker: CallSummary
    """The leg whose end decided: the one furthest on that failed last."""
    members: tuple[CallSummary, ...]
    in_vain: tuple[CallSummary, ...] = ()
    """Where it failed: every way that was tried, in order, the speaker last."""


def session_of(failed: CallSummary, legs: CallLegs | None) -> Session:
    """The session of a leg that failed; without `legs` it stands alone."""
    sure = set(legs.sure) if legs is not None else set()
    members = tuple(c for c in legs.calls if c.call_id in sure) if legs is not None else ()
    if failed.call_id not in {c.call_id for c in members}:
        return Session(FAILED, failed, (failed,), (failed,))
    links = [x for x in legs.links if not x.doubtful] if legs is not None else []
    children = {x.child for x in links}
    parents = {x.parent for x in links}
    # An answer that came before this leg was tried (a voice menu, a calling card) says nothing about it.
    if any(c.state in _ANSWERED and _answered_at(c) >= failed.start for c in members):
        return Session(ANSWERED, failed, members)
    if any(c.state in _UNDER_WAY for c in members):
        return _failed(failed, members, parents, UNDER_WAY)
    first = [c for c in members if c.call_id not in children]
    furthest = [c for c in members if c.call_id not in parents]
    if any(c.state == "cancelled" for c in first) or any(_wanted(c) for c in furthest):
        return Session(WANTED, failed, members)
    return _failed(failed, members, parents, FAILED)


def _failed(failed: CallSummary, members: tuple[CallSummary, ...], parents: set[str], outcome: str) -> Session:
    ways = [c for c in members if c.state in FAILURES and c.call_id not in parents]
    in_vain = tuple(sorted(ways or [failed], key=lambda c: (c.end, c.call_id)))
    return Session(outcome, in_vain[-1], members, in_vain)


def _wanted(call: CallSummary) -> bool:
    # Where a switch cancels what never rang, the far side was silent: nobody wanted that.
    return call.state in _WANTED and (call.state != "cancelled" or call.pdd_ms is not None)


def _answered_at(call: CallSummary) -> float:
    if call.pdd_ms is None:
        return call.end
    return call.start + (call.pdd_ms + (call.ring_ms or 0)) * MS
