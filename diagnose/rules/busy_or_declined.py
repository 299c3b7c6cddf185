"""The called party is busy or does not want the call (486, 600, 603): a normal outcome, no fault."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import SECOND, Call
from diagnose.causes import causes
from diagnose.finding import Finding, public_name
from diagnose.refusals import refusals, said, told_by_capacity
from diagnose.report import fact, seconds

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "info", 90, "RFC 3261 sections 21.4.24, 21.6.1 and 21.6.2"
_SAYS = {486: "is busy", 600: "is busy everywhere", 603: "declined the call", 607: "does not want such calls"}


def check(call: Call) -> Iterator[Finding]:
    """One finding for the call: the last word counts."""
    words = [s for s in refusals(call) if s.m.sip.code in _SAYS and not told_by_capacity(s.m.sip)]
    if not words or call.answered_after(words[-1]) is not None:
        return
    s = words[-1]
    to, first = s.m.sip.to, next((i for i in call.invites if i.number < s.number), None)
    who = (to.uri.user or to.uri.host if to else "") or "The called party"
    waited = s.m.ts - first.m.ts if first is not None else 0
    after = f" after {seconds(waited)}" if waited > SECOND // 10 else ""
    evidence = [fact(s, f"{s.m.src.ip} answered {said(s.m.sip)}{after}", s.m.sip.start_line)]
    evidence += [fact(s, f"its reason: {c.words}", c.line) for c in causes(s)]
    yield Finding(
        NAME,
        SEVERITY,
        "certain",
        f"{who} {_SAYS[s.m.sip.code]}: {said(s.m.sip)} from {s.m.src.ip}{after}.",
        tuple(evidence),
        "Nothing is wrong with the network. If the called party was free, ask its operator who gave this answer.",
        REFERENCE,
        PRECEDENCE,
    )
