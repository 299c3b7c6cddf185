"""Final failures of a call's set-up, each once and at the host that gave it: what is passed on is the same failure.

It also owns the words of a capacity limit, since several rules leave such refusals to the one that explains them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from diagnose.call import Call, Step
from index.trace import TraceMessage
from sip.message import SipMessage

CHALLENGES = (401, 407)
_OWN_DOING = (*CHALLENGES, 487)
"""Answers after which whoever received them goes on by itself, so that a later failure from there is its own."""
_WHAT = r"(?:cps|channels?|calls?|concurren\w*|capacity|sessions?|licen[cs]es?|trunks?)(?![a-z])"
_LINES = r"(?:trunks|circuits|channels|lines|ports)"
_LIMIT = re.compile(
    rf"(?<![a-z])(?:max(?:imum)?|exceed\w*|too many|over|limit\w*)(?![a-z]).{{0,20}}?(?<![a-z]){_WHAT}|"
    rf"(?<![a-z]){_WHAT}.{{0,20}}?(?<![a-z])(?:max(?:imum)?|exceed\w*|limit\w*|full)(?![a-z])|server at max|"
    rf"(?<![a-z])all (?:\w{{1,12}} )?{_LINES} (?:are )?(?:busy|in use|occupied)(?![a-z])|"
    rf"(?<![a-z])no (?:free )?(?:circuit/channel|trunk|circuit|channel|{_LINES}) (?:is |are )?(?:available|free)",
    re.IGNORECASE,
)


def capacity_words(sip: SipMessage) -> str | None:
    """What a refusal says of a limit: its reason phrase, a Reason or a Warning; None where none speaks of one."""
    return next((t for t in (sip.reason, *sip.all("Reason"), *sip.all("Warning")) if _LIMIT.search(t)), None)


def told_by_capacity(sip: SipMessage) -> bool:
    """The rule for limits speaks of this refusal."""
    return capacity_words(sip) is not None or (sip.code == 503 and bool(sip.first("Retry-After")))


def refusals(call: Call) -> tuple[Step, ...]:
    """Final failures (300 to 699) of INVITEs outside a dialog, by the host that gave them first."""
    return call.once(_refusals)


def _refusals(call: Call) -> tuple[Step, ...]:
    return tuple(_each(call))


def _each(call: Call) -> Iterator[Step]:
    opening = {i.key for i in call.invites}
    inside = {r.key for r in call.requests if r.m.sip.method == "INVITE"} - opening
    told: set[tuple[int | None, int, str]] = set()
    refused: set[str] = set()
    answered = False
    for s in call.responses:
        sip = s.m.sip
        if sip.method == "INVITE" and 200 <= sip.code < 300:
            answered = True
        # Where its request is not in the trace, what follows an answer is about a change of the running call.
        of_a_dialog = s.key in inside or (answered and s.key not in opening)
        if sip.method != "INVITE" or sip.code < 300 or of_a_dialog:
            continue
        who = sip.cseq, sip.code, s.side or s.m.src.ip
        passed_on = party(s.m, sender=True) in refused
        if sip.code not in _OWN_DOING:
            refused.add(party(s.m, sender=False))
        if who not in told and not passed_on:
            told.add(who)
            yield s


def party(m: TraceMessage, sender: bool) -> str:
    """A party's address; with its port where both sit on one host."""
    one, other = (m.src, m.dst) if sender else (m.dst, m.src)
    return str(one) if one.ip == other.ip else one.ip


def request_of(call: Call, response: Step) -> Step | None:
    """The request that a response belongs to, the copy on the response's own hop first."""
    asked = [r for r in call.asked.get(response.key, []) if r.number < response.number]
    return next((r for r in asked if r.m.dst.ip == response.m.src.ip), asked[0] if asked else None)


def said(sip: SipMessage) -> str:
    """'503 Service Unavailable'."""
    return f"{sip.code} {sip.reason}".strip()


def explanations(s: Step) -> list[tuple[str, str]]:
    """Header fields in which a failing host says why, as (value, line)."""
    names = ("Reason", "Warning", "Error-Info", "X-Asterisk-HangupCause")
    return [(f.value, f"{f.written}: {f.value}") for name in names for f in s.m.sip.fields(name)]
