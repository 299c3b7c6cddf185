"""Who ended the call and why, where it did not end in the usual way: an abnormal Reason, or a device in the middle."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.causes import Cause, causes
from diagnose.dialogs import from_the_middle
from diagnose.finding import Finding, public_name
from diagnose.report import fact, seconds
from diagnose.rules import ack_ignored, answer_crossed_cancel, cut_by_timer, missing_ack, ping_in_call_unanswered

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "info", 90, "RFC 3326 section 2, RFC 3261 sections 15 and 9"
_USUAL = {"Q.850": (16, 31), "Q850": (16, 31), "SIP": (487, 486)}
"""Normal clearing, and what a CANCEL or BYE without any trouble says."""
_TELL_IT = (missing_ack, ack_ignored, answer_crossed_cancel, ping_in_call_unanswered, cut_by_timer)
_ENDS = 50
"""A call has few ends; whoever floods one with BYEs is not looked at any further."""
_ELSEWHERE = 200
"""SIP;cause=200 in a CANCEL: another telephone took the call (RFC 3326 section 3.1)."""


def check(call: Call) -> Iterator[Finding]:
    """One finding for the first CANCEL or BYE that says something."""
    ends = [s for s in call.requests if s.m.sip.method in ("CANCEL", "BYE")][:_ENDS]
    end = next(((s, c) for s in ends for c in causes(s) if c.number not in _USUAL.get(c.protocol, ())), None)
    middle = from_the_middle(ends)
    if end is None and middle is None:
        return
    if any(f for rule in _TELL_IT for f in rule.check(call)):
        return  # These tell the hang-up along with its cause.
    yield _finding(call, ends, end, middle)


def _finding(call: Call, ends: list[Step], end: tuple[Step, Cause] | None, middle: Step | None) -> Finding:
    s = end[0] if end else middle
    assert s is not None
    why = f": {_words(end[1], s)}" if end else ""
    who = f"{s.m.src.ip}, a device in the middle," if middle is not None else f"The {_side(call, s)} ({s.m.src.ip})"
    did = "hung up" if s.m.sip.method == "BYE" else "gave up"
    start = _start(call, s)
    after = f" after {seconds(s.m.ts - start.m.ts)}" if start is not None else ""
    evidence = [fact(s, f"{s.m.sip.method} from {s.m.src} to {s.m.dst}", end[1].line if end else "")]
    if middle is not None:
        second = next(e for e in ends if e.m.src.ip == middle.m.src.ip and e.side != middle.side)
        evidence.append(fact(second, f"{middle.m.src.ip} ends the other side as well, and had no BYE from anyone"))
    silent = _silent_ping(call, s)
    if silent is not None:
        evidence.append(fact(silent, f"before that its OPTIONS to {silent.m.dst} was not answered"))
    return Finding(
        NAME,
        SEVERITY,
        "certain",
        f"{who} {did}{after}{why}.",
        tuple(evidence),
        "Ask the operator of that side what its log says at this time; the Reason is its own word for it.",
        REFERENCE,
        PRECEDENCE,
    )


def _words(cause: Cause, s: Step) -> str:
    if cause.protocol == "SIP" and cause.number == _ELSEWHERE and s.m.sip.method == "CANCEL":
        return "another telephone took the call (SIP 200)"
    return cause.words


def _side(call: Call, s: Step) -> str:
    """Upstream is where the call comes from, downstream where it goes to."""
    callers = {i.side for i in call.invites}
    if not callers:
        return "side that has the tag " + s.side
    return "calling side, upstream" if s.side in callers else "called side, downstream"


def _start(call: Call, s: Step) -> Step | None:
    """What the time is counted from: the answer for a BYE, the INVITE for a CANCEL."""
    if s.m.sip.method == "CANCEL":
        return next((i for i in call.invites if i.number < s.number), None)
    return next(
        (r for r in call.responses if r.number < s.number and r.m.sip.method == "INVITE" and 200 <= r.m.sip.code < 300),
        None,
    )


def _silent_ping(call: Call, s: Step) -> Step | None:
    pings = [r for r in call.requests if r.m.sip.method == "OPTIONS" and r.number < s.number]
    if pings and pings[-1].m.src.ip == s.m.src.ip and call.final_of(pings[-1]) is None:
        return pings[-1]
    return None
