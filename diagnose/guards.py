"""What every rule that reasons from silence must ask first, so that a mirror or a short capture raises no false alarm."""

from __future__ import annotations

from dataclasses import dataclass

from diagnose.call import Call, Step
from sip.ip import is_private, is_public


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
    times = [s.m.ts for s in call.steps]
    if any(b < a - 1_000_000_000 or b - a > 6 * 3600 * 1_000_000_000 for a, b in zip(times, times[1:], strict=False)):
        return Silence(False, confidence, "the capture's clock jumps inside the call")
    if call.trace.losses:
        lost = sum(x.count for x in call.trace.losses)
        return Silence(True, "possible", f"{lost} packets were lost by the capture while the call ran")
    return Silence(True, confidence, "")


def crosses(address: str, step: Step) -> bool:
    """A private address that is told to, or comes from, a public peer: inside one private network it would be no fault."""
    return is_private(address) and (is_public(step.m.src.ip) or is_public(step.m.dst.ip))
