"""The ISDN (Q.850) cause of a failed call in words; a warning where it says something else than the SIP code."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.causes import Cause, causes, contradicts, expected
from diagnose.finding import Finding, public_name
from diagnose.refusals import said, told_by_capacity
from diagnose.report import fact
from sip.codes import q850, reason_phrase

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "info", 90, "RFC 3398 sections 7.2.4.1 and 8.2.6.1, RFC 3326"
_SAID_ELSEWHERE = (480, 486, 487, 600, 603)
"""Codes that mean the same as their cause; another finding names it."""


def check(call: Call) -> Iterator[Finding]:
    """One finding for each cause, at the host that said it first; and one where a host makes it contradict its code."""
    told: set[tuple[int, bool]] = set()
    for s in call.responses:
        if s.m.sip.method != "INVITE" or s.m.sip.code < 300:
            continue
        for cause in causes(s):
            wrong = cause.isdn and contradicts(s.m.sip.code, cause.number)
            if not cause.isdn or (cause.number, wrong) in told:
                continue
            told.add((cause.number, wrong))
            if wrong:
                yield _contradiction(s, cause)
            elif s.m.sip.code not in _SAID_ELSEWHERE and not told_by_capacity(s.m.sip):
                yield _decoded(s, cause)


def _contradiction(s: Step, cause: Cause) -> Finding:
    codes = " or ".join(f"{c} {reason_phrase(c)}" for c in expected(cause.number))
    text = f"cause {cause.number} is {q850(cause.number)}; a gateway gives {codes} for it, not {said(s.m.sip)}"
    return Finding(
        NAME,
        "warning",
        "certain",
        f"{s.m.src.ip} answers {said(s.m.sip)} with ISDN cause {cause.number} ({q850(cause.number)}), which belongs to "
        f"{codes}.",
        (fact(s, text, cause.line),),
        "Believe the cause: it comes from further away than the code. See which device turns it into that code: a "
        "wrong code lets switches try other routes in vain, or stop too early.",
        REFERENCE,
        40,
    )


def _decoded(s: Step, cause: Cause) -> Finding:
    own = f'; its own words: "{cause.text}"' if cause.text and cause.text.lower() != q850(cause.number).lower() else ""
    return Finding(
        NAME,
        SEVERITY,
        "certain",
        f"ISDN cause {cause.number} from {s.m.src.ip}: {q850(cause.number)} ({said(s.m.sip)}).",
        (fact(s, f"{s.m.src.ip} is the first that says cause {cause.number}, {q850(cause.number)}{own}", cause.line),),
        "The cause comes from the telephone network behind that host, and tells more than the SIP code.",
        REFERENCE,
        PRECEDENCE,
    )
