"""Packets were lost by the capture itself while the call ran: this trace may be incomplete."""

from __future__ import annotations

from collections.abc import Iterator

from capture.flags import FRAGMENT_LOST, STREAM_GAP, TRUNCATED
from diagnose.call import Call
from diagnose.finding import Finding, public_name
from diagnose.report import fact, listed
from index.ladder import clock

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "info", 0, "the capture's own counters"
_MARKS = {
    TRUNCATED: "was cut by the capture's snap length",
    STREAM_GAP: "follows a gap in its TCP stream",
    FRAGMENT_LOST: "lacks IP fragments",
}


def check(call: Call) -> Iterator[Finding]:
    """One finding for what the kernel or we lost, one for messages that are themselves incomplete."""
    losses = call.trace.losses
    if losses:
        count, names = sum(x.count for x in losses), sorted({x.interface for x in losses})
        yield Finding(
            NAME,
            SEVERITY,
            "certain",
            f"This trace may be incomplete: {count} packets were lost on {listed(names)} between "
            f"{clock(min(x.start for x in losses))[:8]} and {clock(max(x.end for x in losses))[:8]}.",
            tuple(
                fact(None, f"{x.kind} loss of {x.count} packets on {x.interface} at {clock(x.start)[:8]}")
                for x in losses[:10]
            ),
            "Findings that rest on missing messages are only possible here. Give the capture a larger ring (ring_mb), "
            "or a narrower filter.",
            REFERENCE,
            PRECEDENCE,
        )
    marked = [(s, text) for s in call.steps for bit, text in _MARKS.items() if s.m.flags & bit]
    if marked:
        yield Finding(
            NAME,
            SEVERITY,
            "certain",
            f"This trace may be incomplete: message {marked[0][0].number} {marked[0][1]}"
            + (f", and {len(marked) - 1} more." if len(marked) > 1 else "."),
            tuple(fact(s, f"the message {text}") for s, text in marked[:10]),
            "Capture whole packets (no snap length) at a point that sees both directions.",
            REFERENCE,
            PRECEDENCE,
        )
