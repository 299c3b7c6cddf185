"""The number is unknown, incomplete or no longer in use there (404, 484, 604, 410): look at how it is written."""

from __future__ import annotations

import re
from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.finding import Evidence, Finding, public_name
from diagnose.refusals import explanations, refusals, request_of, said, told_by_capacity
from diagnose.report import fact, listed
from diagnose.scanners import is_scan
from sip.address import SipUri, parse_uri

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 40, "RFC 3261 sections 21.4.5, 21.4.9, 21.4.22 and 21.6.3"
_SAYS = {
    404: "does not know",
    604: "says that nobody anywhere knows",
    484: "finds incomplete (or in a wrong format)",
    410: "says that nobody uses any more",
}
_NUMBER = re.compile(r"\+?[0-9().\- ]+")


def check(call: Call) -> Iterator[Finding]:
    """One finding for each host that refused the number."""
    told: set[str] = set()
    for s in refusals(call):
        asked = request_of(call, s)
        if s.m.sip.code not in _SAYS or asked is None or s.m.src.ip in told or told_by_capacity(s.m.sip):
            continue
        if is_scan(call):
            return
        told.add(s.m.src.ip)
        uri = parse_uri(asked.m.sip.uri)
        number = uri.user or uri.text
        evidence = [
            fact(asked, f"the INVITE asks for {uri.text}: {written(uri)}", asked.m.sip.start_line),
            fact(s, f"{s.m.src.ip} answered {said(s.m.sip)}", s.m.sip.start_line),
            *(fact(s, f"it says why: {value}", line) for value, line in explanations(s)),
        ]
        later = call.answered_after(s)
        if later is not None:
            evidence += _otherwise(call, later, number)
        yield Finding(
            NAME,
            "info" if later else SEVERITY,
            "certain",
            f"{s.m.src.ip} {_SAYS[s.m.sip.code]} the number {number} ({written(uri)}): {said(s.m.sip)}.",
            tuple(evidence),
            "Ask in which form the far side wants numbers (with +, with 00, with a prefix, national) and compare with "
            "a call to it that succeeded; then see whether the number itself exists.",
            REFERENCE,
            PRECEDENCE,
        )


def written(uri: SipUri) -> str:
    """How a number is written, in the terms in which number plans differ: '12 digits after a +'."""
    user = uri.user
    if not user:
        return "no number at all"
    if not _NUMBER.fullmatch(user):
        return "a name, no number" if not any(c.isdigit() for c in user) else "digits and letters"
    digits = sum(c.isdigit() for c in user)
    start = next((text for mark, text in (("+", "after a +"), ("00", "with 00 in front")) if user.startswith(mark)), "")
    marks = [f"{digits} digits {start or 'without + or 00'}"]
    if any(c in "().- " for c in user):
        marks.append("separators between them")
    if (uri.params.get("user") or "").lower() == "phone":
        marks.append("user=phone")
    return listed(marks)


def _otherwise(call: Call, later: Step, number: str) -> list[Evidence]:
    taken = request_of(call, later)
    form = parse_uri(taken.m.sip.uri).user if taken else ""
    how = f" for {form}" if form and form != number else ""
    return [fact(later, f"{later.m.src.ip} then answered{how}: the call did not fail")]
