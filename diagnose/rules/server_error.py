"""The called side's equipment failed (500, 501, 502, 503, 504, …): the number may be right, its server is not."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import TIMEOUT, Call, Step
from diagnose.finding import Evidence, Finding, public_name
from diagnose.guards import weakened
from diagnose.refusals import explanations, refusals, said, told_by_capacity
from diagnose.report import fact, listed, seconds
from diagnose.routes import attempts
from diagnose.scanners import is_scan

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "critical", 40, "RFC 3261 section 21.5, RFC 3263 section 4.3"
_ADVICE = {
    500: "The server failed inside: its own log at this time tells why. A 500 from a proxy often stands for another "
    "answer that it did not want to pass on.",
    501: "The server does not know this method or service: look at what the INVITE asks for (Require, method).",
    502: "A gateway could not reach what is behind it: ask its operator for the outgoing leg at this time.",
    503: "The server cannot take calls now and says not for how long. Ask its operator, and let the switch try another "
    "route when this comes.",
    504: "What stands behind that server did not answer it in time: ask its operator for the outgoing leg.",
}
_NAMED = 5
"""So many servers at most are named, the last ones."""
_OTHER = "Ask the operator of that server what its log says at this time."


def check(call: Call) -> Iterator[Finding]:
    """One finding for the call, whatever the number of servers that failed in it."""
    failed = [s for s in refusals(call) if 500 <= s.m.sip.code < 600 and not told_by_capacity(s.m.sip)]
    if not failed or is_scan(call):
        return
    if any(a.final is not None and a.final.m.sip.code < 300 for chain in attempts(call) for a in chain):
        return  # Another way then answered: that story is told as a failover.
    last, later = failed[-1], call.answered_after(failed[-1])
    words = said(last.m.sip)
    others = {s.m.src.ip: s.m.sip.code for s in failed if s.m.src.ip != last.m.src.ip}
    named = [f"{ip} with {code}" for ip, code in list(others.items())[-_NAMED:]]
    before = f" (before it {listed(named)})" if named else ""
    evidence = [e for s in failed[-_NAMED:] for e in _facts(call, s)]
    trying = next((i for i in call.invites if i.number > last.number and call.final_of(i) is None), None)
    going_on = trying is not None and call.trace.capture_end < trying.m.ts + TIMEOUT
    if trying is not None and going_on:
        evidence.append(fact(trying, f"{trying.m.dst} was still being tried when the capture ended"))
    if later is not None:
        evidence.append(fact(later, f"{later.m.src.ip} then answered: the call did not fail"))
    yield Finding(
        NAME,
        "info" if later or going_on else SEVERITY,
        weakened(call, "certain") if trying is not None else "certain",
        f"{last.m.src.ip} failed the call to {_number(last)} with {words}{before}.",
        tuple(evidence),
        _ADVICE.get(last.m.sip.code, _OTHER),
        REFERENCE,
        PRECEDENCE,
    )


def _number(s: Step) -> str:
    to = s.m.sip.to
    return (to.uri.user or to.uri.host if to else "") or "an unreadable number"


def _facts(call: Call, s: Step) -> list[Evidence]:
    sip = s.m.sip
    agent = f" ({sip.user_agent})" if sip.user_agent else ""
    out = [fact(s, f"{s.m.src.ip}{agent} answered {said(sip)}", sip.start_line)]
    out += [fact(s, f"it says why: {value}", line) for value, line in explanations(s)]
    unanswered = next(
        (i for i in call.invites if i.m.src.ip == s.m.src.ip and i.number < s.number and not call.answers_to(i)), None
    )
    if unanswered is not None:
        waited = seconds(s.m.ts - unanswered.m.ts)
        out.append(fact(unanswered, f"it had itself asked {unanswered.m.dst} {waited} before, and got nothing back"))
    onward = next((i for i in call.invites if i.number > s.number and i.m.dst != s.m.src), None)
    if onward is not None:
        out.append(fact(onward, f"{onward.m.src.ip} then tried {onward.m.dst}"))
    return out
