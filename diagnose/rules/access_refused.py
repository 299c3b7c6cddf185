"""403, or a 401 that asks for nothing: who calls is known and not wanted, or its address is on no list."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.credentials import ASKED, GIVEN, digests, rejections, succeeded_after
from diagnose.finding import Finding, public_name
from diagnose.refusals import CHALLENGES, capacity_words, explanations, refusals, request_of, said
from diagnose.report import fact
from diagnose.rules.caller_identity import about_identity
from diagnose.scanners import is_scan

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 30, "RFC 3261 sections 21.4.4 and 22.1"
_LIST = "Ask the far side whether {ip} is entered for this trunk, and whether it may use this caller ID."
_ACCOUNT = (
    "The account may be blocked, out of credit, or not allowed to call this number or to show this caller ID; some "
    "registrars say 403 to a wrong password. Compare the account on both sides."
)


def check(call: Call) -> Iterator[Finding]:
    """One finding for each host that shuts the door."""
    told: set[tuple[str, str]] = set()
    shut = [s for s in _doors(call) if _means_it(s)]
    if not shut or is_scan(call) or any(not r.grown_old for r in rejections(call)):
        return
    for s in shut:
        if (s.m.src.ip, s.m.sip.method) not in told:
            told.add((s.m.src.ip, s.m.sip.method))
            yield _finding(call, s)


def _doors(call: Call) -> list[Step]:
    out, told = list(refusals(call)), set()
    for s in call.responses:
        if s.m.sip.method in ("REGISTER", "SUBSCRIBE", "MESSAGE", "PUBLISH", "REFER"):
            key = s.m.sip.cseq, s.side or s.m.src.ip
            if key not in told and s.m.sip.code >= 300:
                told.add(key)
                out.append(s)
    return out


def _means_it(s: Step) -> bool:
    sip = s.m.sip
    if capacity_words(sip) is not None or about_identity(sip):
        return False
    return sip.code == 403 or (sip.code in CHALLENGES and not sip.fields(ASKED[sip.code]))


def _finding(call: Call, s: Step) -> Finding:
    sip, request = s.m.sip, request_of(call, s)
    given = [d for code in GIVEN for d in digests(request, GIVEN[code])] if request else []
    asker = request.m.src.ip if request else s.m.dst.ip
    what = f"refused the {sip.method} of {asker} with {said(sip)}"
    if given:
        user = given[0].get("username")
        headline, advice = f"{s.m.src.ip} {what} although it gave credentials (as {user}).", _ACCOUNT
    else:
        headline, advice = f"{s.m.src.ip} {what} without asking for a password.", _LIST.format(ip=asker)
    evidence = [fact(s, f"{s.m.src.ip} answered {said(sip)}", sip.start_line)]
    evidence += [fact(s, f"it says why: {value}", line) for value, line in explanations(s)]
    if given and request is not None:
        evidence.append(fact(request, f"this request carries credentials as {given[0].get('username')}"))
    later = succeeded_after(call, s)
    if later is not None:
        evidence.append(fact(later, f"{later.m.src.ip} accepted the {sip.method} later"))
    return Finding(
        NAME, "info" if later else SEVERITY, "certain", headline, tuple(evidence), advice, REFERENCE, PRECEDENCE
    )
