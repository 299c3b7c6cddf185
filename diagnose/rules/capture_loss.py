"""Packets were lost by the capture itself while the call ran: this trace may be incomplete."""

from __future__ import annotations

from collections.abc import Iterator

from capture.flags import FRAGMENT_LOST, STREAM_GAP, TRUNCATED
from capture.hepframes import PREFIX
from diagnose.call import Call, Step
from diagnose.finding import Finding, public_name
from diagnose.report import fact, listed
from index.ladder import clock

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "info", 0, "the capture's own counters"
_MARKS = {
    FRAGMENT_LOST: (
        "lacks IP fragments",
        "Fragments of it never came by: look for a firewall or NAT that drops them, and whether a filter of your own "
        "keeps them from the capture; a message below the MTU, or TCP, needs none.",
    ),
    STREAM_GAP: (
        "has a gap in its stream, before it or inside it",
        "Segments passed the capture unseen: look at its losses (siptrail stats), and that it sees every path.",
    ),
    TRUNCATED: (
        "was cut by the capture's snap length",
        "Capture whole packets (no snap length) at a point that sees both directions.",
    ),
}
"""What a message may lack, the cause before its effect, and what to do."""
_NOT_SENT = (
    "was not handed over whole by its HEP agent",
    "Agents cut long messages (FreeSWITCH at 16,000 bytes): record this hop off the wire too, if it can be read there.",
)


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
    lacks = ((s, _lack(s)) for s in call.steps)
    marked = [(s, mark) for s, mark in lacks if mark]
    if marked:
        step, (text, advice) = marked[0]
        yield Finding(
            NAME,
            SEVERITY,
            "certain",
            f"This trace may be incomplete: message {step.number} {text}"
            + (f", and {len(marked) - 1} more." if len(marked) > 1 else "."),
            tuple(fact(s, f"the message {lack}") for s, (lack, _) in marked[:10]),
            advice,
            REFERENCE,
            PRECEDENCE,
        )


def _lack(step: Step) -> tuple[str, str] | None:
    if step.m.flags & TRUNCATED and step.m.interface.startswith(PREFIX):
        return _NOT_SENT
    return next((mark for bit, mark in _MARKS.items() if step.m.flags & bit), None)
