"""It rang and nobody answered: for how long, and whether the caller, the called side or a timer ended it."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import SECOND, Call, Step
from diagnose.finding import Finding, public_name
from diagnose.guards import leaps
from diagnose.refusals import said
from diagnose.report import fact, seconds
from diagnose.rules import cut_by_timer, hang_up_reason

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "info", 90, "RFC 3261 sections 9.1, 21.4.8 and 21.4.18"
_SHORT, _LONG = 3 * SECOND, 29 * SECOND
"""The caller let go at once; it rang as long as most systems let it ring."""
_STEP, _EXACT = 5 * SECOND, SECOND // 10
_FEW = 50


def check(call: Call) -> Iterator[Finding]:
    """One finding a call that was never answered; what rang for an ordinary while is left alone."""
    if not call.seen_from_start or any(
        200 <= r.m.sip.code < 300 and r.m.sip.method == "INVITE" for r in call.responses
    ):
        return
    for i in call.invites[:_FEW]:
        rang = next((a for a in call.answers_to(i) if a.m.sip.code in (180, 183)), None)
        over = _end(call, i)
        if rang is None or over is None or over.number < rang.number or leaps(rang, over):
            continue
        lasted = over.m.ts - rang.m.ts
        gave_up = over.m.sip.is_request
        if lasted < _LONG and not (gave_up and lasted < _SHORT):
            continue
        if any(f for rule in (cut_by_timer, hang_up_reason) for f in rule.check(call)):
            return  # These tell who ended it, and why.
        yield _finding(i, rang, over, lasted, gave_up)
        return


def _end(call: Call, invite: Step) -> Step | None:
    ends = [c for c in call.requests if c.m.sip.method == "CANCEL" and c.key[2] == invite.key[2]]
    ends += [a for a in call.answers_to(invite) if a.m.sip.code in (408, 480, 487)]
    return min(ends, key=lambda s: s.number, default=None)


def _finding(invite: Step, rang: Step, over: Step, lasted: int, gave_up: bool) -> Finding:
    who = f"{over.m.src.ip} gave up (CANCEL)" if gave_up else f"{over.m.src.ip} ended it with {said(over.m.sip)}"
    evidence = [
        fact(rang, f"{said(rang.m.sip)} {seconds(rang.m.ts - invite.m.ts)} after the INVITE"),
        fact(over, f"{who} {seconds(lasted)} later", over.header_line("Reason")),
    ]
    since = next(
        (
            (name, t)
            for name, t in (("INVITE", over.m.ts - invite.m.ts), ("ringing", lasted))
            if t >= 2 * _STEP and min(t % _STEP, -t % _STEP) <= _EXACT
        ),
        None,
    )
    if since is not None:
        text = f"{round(since[1] / SECOND)} s after the {since[0]}, almost exactly: a timer more than a person"
        evidence.append(fact(over, text))
    how = "for only" if lasted < _SHORT else "for"
    return Finding(
        NAME,
        SEVERITY,
        "certain",
        f"It rang {how} {seconds(lasted)} and nobody answered: {who}.",
        tuple(evidence),
        "An ordinary outcome. Where many calls end after the same time, a timer of a switch ends them: the one that "
        "sends the CANCEL or the refusal; where many ring very shortly, callers give up on silence or a wrong tone.",
        REFERENCE,
        PRECEDENCE,
    )
