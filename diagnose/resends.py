"""How long a side goes on repeating a message, and what its silence afterwards tells (RFC 3261 section 17). Pure."""

from __future__ import annotations

from dataclasses import replace

from diagnose.call import SECOND, T1, T2, TIMEOUT, Call, Step
from diagnose.guards import Silence, silence

ENOUGH = 4
"""So many sends take 3.5 s, far longer than any path: what is still unanswered then is not merely late."""


def next_due(sends: tuple[Step, ...]) -> int:
    """When the next repetition would be due at the latest: the pause doubles from T1 to T2, and 1 s is allowed."""
    pause = sends[-1].m.ts - sends[-2].m.ts if len(sends) > 1 else 0
    return sends[-1].m.ts + min(max(T1, 2 * pause), T2) + SECOND


def unanswered(call: Call, sends: tuple[Step, ...]) -> Silence:
    """Whether nothing came for a message by 64*T1; after enough sends a shorter capture only costs certainty."""
    deadline, confidence = sends[0].m.ts + TIMEOUT, "certain"
    if call.trace.capture_end < deadline and len(sends) >= ENOUGH:
        judged = silence(call, sends[0], sends[-1].m.ts, "likely")
        return replace(judged, why=judged.why or "the capture ends before the sender would give up")
    if len(sends) == 1:
        confidence = "likely"  # A stack that waits for an answer over UDP asks more than once.
    return silence(call, sends[0], deadline, confidence)
