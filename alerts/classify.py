"""Which calls are failures worth an alert: the network's fault, not the caller's or the callee's choice.

It decides by the call's state alone (busy, no answer, cancelled, declined and redirected calls worked as they
should; a challenge that was answered is not an end). It reads no message.
"""

from __future__ import annotations

from collections.abc import Sequence

from alerts.event import FailureEvent
from diagnose.finding import Finding
from index.summary import CallSummary
from sip.codes import reason_phrase

FAILURES = ("failed", "unanswered")
ROUTING = 40
"""Errors that are told this early (unreachable, capacity, passwords, routing) say why a call was refused; those that
come later, and all that is milder, tell what would go wrong later in the call, or a risk."""
ATTACKS = ("scanner",)
"""Findings of calls that nobody wants to succeed."""


def failure_of(summary: CallSummary, findings: Sequence[Finding]) -> FailureEvent | None:
    """The event for an INVITE that failed for good, else None."""
    if summary.method != "INVITE" or summary.state not in FAILURES:
        return None
    if any(f.name in ATTACKS for f in findings):
        return None
    code = summary.final_code if summary.state == "failed" else None
    reason = (summary.final_reason or reason_phrase(code)) if code is not None else ""
    peer = _ip(summary.dst)
    cause = next((f for f in findings if _explains(f)), None)
    if cause is not None:
        headline = cause.headline
    elif code is None:
        headline = f"INVITE to {peer} got no answer at all"
    elif code in (401, 407):
        headline = f"INVITE to {peer} was not authenticated: {code} {reason} was the last word"
    else:
        headline = f"INVITE to {peer} failed: {code} {reason}".rstrip()
    return FailureEvent(summary.end, peer, code, reason, summary.call_id, headline, cause.name if cause else "")


def _explains(f: Finding) -> bool:
    return f.severity == "critical" or (f.severity == "error" and f.precedence <= ROUTING)


def _ip(endpoint: str) -> str:
    """'192.0.2.1:5060' or '[2001:db8::1]:5060' without the port."""
    host, colon, port = endpoint.rpartition(":")
    return (host if colon and port.isdigit() else endpoint).strip("[]")
