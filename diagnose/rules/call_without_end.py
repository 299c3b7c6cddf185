"""The call was answered and nobody hung up, for hours: its end was not captured, or one side keeps it for ever."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import SECOND, Call
from diagnose.dialogs import dialogs
from diagnose.finding import Finding, public_name
from diagnose.report import fact
from diagnose.rules.session_interval_too_small import interval

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "info", 90, "RFC 3261 section 15, RFC 4028 section 10"
_HOUR = 3600 * SECOND


def check(call: Call) -> Iterator[Finding]:
    """One finding a call: answered, no BYE, and nothing at all for four hours and two session timers."""
    if not call.steps:
        return
    last = call.steps[-1]
    for d in dialogs(call):
        agreed = interval(d.answer, "Session-Expires")
        quiet = call.trace.capture_end - last.m.ts
        if d.bye is not None or not call.seen_from_start or quiet < max(4 * _HOUR, 2 * (agreed or 0) * SECOND):
            continue
        if not any(r.m.sip.method == "ACK" for r in d.requests):
            continue  # It never began (missing-ack).
        evidence = [
            fact(d.answer, f"answered by {d.answer.m.src.ip}", d.answer.header_line("Session-Expires")),
            fact(
                last, f"the last message; nothing for {quiet / _HOUR:.1f} hours after it, as far as this capture goes"
            ),
        ]
        if call.trace.losses:
            evidence.append(fact(None, "packets were lost by the capture: a BYE may be among them"))
        timer = f"although a session timer of {agreed} s was agreed" if agreed else "and there is no session timer"
        yield Finding(
            NAME,
            "warning" if agreed and not call.trace.losses else SEVERITY,
            "possible",
            f"Nobody hung up this call: its last message is {quiet / _HOUR:.1f} hours old, {timer}.",
            tuple(evidence),
            "Its BYE went past this capture, a side crashed, or the call is really up: look on both sides for a call "
            "that never ends, and for the bill. Session timers end such calls.",
            REFERENCE,
            PRECEDENCE,
        )
        return
