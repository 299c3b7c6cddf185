"""A message that sets up a dialog has no Contact (or several): what follows in the dialog has no target."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import MAGIC, Call, Step
from diagnose.finding import Finding, public_name
from diagnose.forms import reached, title, whole
from diagnose.report import fact

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 60, "RFC 3261 sections 8.1.1.8, 12.1.1 and 12.1.2"
_LOST = {
    "INVITE": "BYE and re-INVITE towards the calling side have no target",
    "SUBSCRIBE": "NOTIFYs have no target",
    "REFER": "NOTIFYs about the transfer have no target",
}
_ANSWER = {"INVITE": "ACK and BYE towards the answering side have no target", "SUBSCRIBE": "renewals have no target"}


def check(call: Call) -> Iterator[Finding]:
    """One finding for each side."""
    told: set[str] = set()
    for s in (*call.requests, *call.responses):
        if s.side in told or not whole(s) or not _needs(s):
            continue
        count = len(s.m.sip.contacts)
        if count == 0 or (count > 1 and s.m.sip.is_request and s.m.sip.method == "INVITE"):
            told.add(s.side)
            yield _finding(call, s, count)


def _needs(s: Step) -> bool:
    sip = s.m.sip
    if sip.is_request:
        return sip.method in _LOST
    if 100 < sip.code < 200:
        # Unreliable ones without it are usual and harmless; a reliable one needs a target for its PRACK (RFC 3262).
        return sip.method == "INVITE" and "100rel" in (v.lower() for v in sip.all("Require"))
    return 200 <= sip.code < 300 and sip.method in _ANSWER


def _old(s: Step) -> bool:
    return not s.key[2].startswith(MAGIC)


def _finding(call: Call, s: Step, count: int) -> Finding:
    sip, what = s.m.sip, title(s)
    lost = (_LOST if sip.is_request else _ANSWER)[sip.method]
    text = f"the {what} has no Contact" if not count else f"the {what} has {count} Contacts, where one must stand"
    evidence = [fact(s, f"{text}; {lost}", s.header_line("Contact"))]
    severity, harm = SEVERITY, lost
    ok = reached(call, s)
    if ok is not None:
        severity, harm = "warning", "a strict device could not send anything back, here it worked"
        evidence.append(fact(ok, f"{ok.m.sip.method} came to {ok.m.dst} all the same"))
    elif not count and sip.is_request and _old(s):
        severity = "warning"
        evidence.append(fact(s, "its branch is of the old kind: under RFC 2543 later requests go to its From address"))
    return Finding(
        NAME,
        severity,
        "certain",
        f"{s.m.src.ip} sends its {what} with {'no Contact' if not count else f'{count} Contacts'}: {harm}.",
        tuple(evidence),
        "Correct the sender, or whoever takes the header away on its way (a script's remove_hf, a topology hiding).",
        REFERENCE,
        PRECEDENCE,
    )
