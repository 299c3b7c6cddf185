"""What a rule that reasons from silence must ask first, so that a mirror or a short capture raises no false alarm."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from capture.flags import FRAGMENT_LOST, HEADERS_CUT, LENGTH_LIES, STREAM_GAP, TRUNCATED
from diagnose.call import SECOND, T1, TIMEOUT, Call, Step
from sip.ip import is_private, is_public, literal

JUMP = 3600 * SECOND
"""Nothing that waits for an answer is silent for an hour: the capture's clock was set."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Whether a missing message may be believed to be missing."""

    believable: bool
    confidence: str
    why: str
    """Why not, or what weakens it; '' otherwise."""


def silence(call: Call, waiting: Step, deadline: int, confidence: str = "certain") -> Silence:
    """No answer to `waiting` by `deadline` (ns): is that the network's fault, or only this capture's?"""
    host = waiting.m.src.ip
    if call.trace.capture_end < deadline:
        return Silence(False, confidence, "the capture ends before the answer was due")
    if not call.seen_from_start:
        return Silence(False, confidence, "the call began before the capture")
    if host not in call.trace.heard:
        return Silence(
            False, confidence, f"no packet to {host} was captured at all, so its answers cannot be seen here"
        )
    if _jump(call, waiting, deadline):
        return Silence(False, confidence, "the capture's clock jumps while the answer was due")
    if call.trace.losses:
        return Silence(True, "possible", losses_told(call))
    holed = next((s for s in call.steps if s.m.flags & (STREAM_GAP | FRAGMENT_LOST)), None)
    if holed is not None:
        return Silence(True, "possible", f"bytes are missing in the capture at message {holed.number}")
    if _sent_before(call, waiting):
        return Silence(True, "possible", "the capture began just then: it may have been sent, and answered, before")
    return Silence(True, confidence, "")


def losses_told(call: Call) -> str:
    """What the capture lost while the call ran, '' where nothing: it weakens whatever rests on a missing message."""
    lost = sum(x.count for x in call.trace.losses)
    return f"{lost} packets were lost by the capture while the call ran" if lost else ""


def weakened(call: Call, confidence: str) -> str:
    """The confidence of what a message that this capture lost would have refuted."""
    return "possible" if call.trace.losses else confidence


def _sent_before(call: Call, waiting: Step) -> bool:
    """The first copy that is seen may be a later one: near the begin of the capture, alone or after a long pause. What
    was answered here, if only for now, was not answered before; an answer to what was asked here is the first."""
    if waiting.m.transport != "udp" or waiting.m.ts - call.trace.capture_start > TIMEOUT:
        return False
    if call.answers_to(waiting) if waiting.m.sip.is_request else call.requests_of(waiting.key):
        return False
    sends = call.copies(waiting)
    return len(sends) == 1 or sends[1].m.ts - sends[0].m.ts > 3 * T1 // 2


def leaps(earlier: Step, later: Step) -> bool:
    """The time between two messages of one exchange is too long to be true: the clock was set."""
    return later.m.ts - earlier.m.ts > JUMP


def _jump(call: Call, waiting: Step, deadline: int) -> bool:
    """The time leaps between two messages before the deadline, though no conversation was going on meanwhile."""
    talk = call.answered_after(waiting)
    return any(
        a.m.ts < deadline and leaps(a, b)
        for a, b in pairwise(call.steps[waiting.number - 1 :])
        if talk is None or a.number < talk.number
    )


def crosses(address: str, step: Step) -> bool:
    """A private address told to, or coming from, a public peer: inside one private network it is no fault."""
    return is_private(address) and (is_public(step.m.src.ip) or is_public(step.m.dst.ip))


def own(address: str, step: Step) -> bool:
    """The address is where the packet itself came from: this capture sits on the sender's side of any NAT."""
    return literal(address) is not None and literal(address) == literal(step.m.src.ip)


def whole(step: Step) -> bool:
    """No byte of the message is missing in this capture, so what its body does not say was not said."""
    return not step.m.flags & (TRUNCATED | STREAM_GAP | FRAGMENT_LOST | HEADERS_CUT | LENGTH_LIES)
