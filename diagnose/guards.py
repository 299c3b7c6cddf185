"""What a rule that reasons from silence must ask first, so that a mirror or a short capture raises no false alarm."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from capture.flags import FRAGMENT_LOST, HEADERS_CUT, LENGTH_LIES, STREAM_GAP, TRUNCATED
from diagnose.call import SECOND, Call, Step
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
        lost = sum(x.count for x in call.trace.losses)
        return Silence(True, "possible", f"{lost} packets were lost by the capture while the call ran")
    holed = next((s for s in call.steps if s.m.flags & (STREAM_GAP | FRAGMENT_LOST)), None)
    if holed is not None:
        return Silence(True, "possible", f"bytes are missing in the capture at message {holed.number}")
    return Silence(True, confidence, "")


def _jump(call: Call, waiting: Step, deadline: int) -> bool:
    """The time between two messages leaps over the deadline, though no conversation was going on meanwhile."""
    talk = call.answered_after(waiting)
    return any(
        a.m.ts < deadline <= b.m.ts and b.m.ts - a.m.ts > JUMP
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
