"""A timer ended the call, not its parties: no audio came, an ACK was missing, the longest time allowed was over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.call import SECOND, Call, Step
from diagnose.causes import Cause, causes
from diagnose.dialogs import Dialog, dialogs, from_the_middle
from diagnose.finding import Evidence, Finding, public_name
from diagnose.report import fact, seconds
from diagnose.rules import ack_ignored, answer_crossed_cancel, missing_ack, ping_in_call_unanswered, session_expired

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 70, "RFC 3261 sections 13.3.1.4 and 16.8, RFC 3326 section 2"
_CAUSES_OF_THEIR_OWN = (missing_ack, ack_ignored, session_expired, ping_in_call_unanswered, answer_crossed_cancel)
_HOUR = 3600
_LONGEST = (1800, *(_HOUR * n for n in (1, 2, 3, 4, 6, 8, 10, 12, 24)))
"""Limits that switches have for the length of a call."""
_TIMER_C = (178 * SECOND, 190 * SECOND)
"""More than three minutes after the last sign of ringing (RFC 3261 section 16.6, step 11)."""
_FEW = 50
"""A call has few answers and ends; whoever floods one with them is not looked at any further."""
_USUAL = {"Q.850": (16, 31), "Q850": (16, 31), "SIP": (200, 486, 487)}


@dataclass(frozen=True, slots=True)
class Kind:
    """One timer: how its Reason reads, and what it means."""

    words: re.Pattern[str]
    what: str
    advice: str
    severity: str = SEVERITY


_AUDIO = Kind(
    re.compile(
        r"(?<![a-z])(?:rtp|rtcp|media|audio)(?![a-z]).{0,20}?(?:time.?out|inactiv|expire|stopp|lost)|"
        r"(?<![a-z])no (?:rtp|media|audio)(?![a-z])",
        re.IGNORECASE,
    ),
    "it got no audio for so long",
    "Audio did not reach that side: compare the address and port in its session description with where the audio is "
    "sent to (NAT, a firewall, hold without comfort noise), or lengthen its time-out.",
)
_ACK = Kind(
    re.compile(
        r"(?<![a-z])ack(?![a-z]).{0,12}?(?:time.?out|missing|not received|expire)|(?<![a-z])no ack(?![a-z])", re.I
    ),
    "it waited for an ACK in vain",
    "The ACK is lost between this capture and that host, or on its own other side: look at the Contact of its answer.",
)
_LENGTH = Kind(
    re.compile(
        r"max(?:imum)?\W{0,3}(?:call|session)?\W{0,3}(?:duration|length|time)|"
        r"(?:duration|time).?limit|(?:duration|time) exceeded|(?<![a-z])(?:credit|balance|prepaid)(?![a-z])",
        re.IGNORECASE,
    ),
    "the longest time allowed for the call was reached",
    "If that is not wanted, raise the limit for the length of calls on that host, or the caller's credit.",
    "warning",
)
_KINDS = (_AUDIO, _ACK, _LENGTH)


def check(call: Call) -> Iterator[Finding]:
    """One finding for a call that was answered, one for an INVITE that rang on until a proxy's timer ended it."""
    found = next((f for d in dialogs(call)[:_FEW] if (f := _cut(call, d)) is not None), None) or _rang_out(call)
    if found is not None and not any(f for rule in _CAUSES_OF_THEIR_OWN for f in rule.check(call)):
        yield found


def _cut(call: Call, d: Dialog) -> Finding | None:
    over = d.bye
    if over is None or not any(i.side == d.caller for i in call.invites):
        return None
    said = list(causes(over))
    for kind in _KINDS:
        cause = next((c for c in said if kind.words.search(c.text)), None)
        if cause is not None:
            return _finding(d, over, kind, "certain", cause)
    middle = from_the_middle([r for r in call.requests if r.m.sip.method == "BYE"][:_FEW])
    abnormal = next((c for c in said if c.number not in _USUAL.get(c.protocol, ())), None)
    timed = _by_time(over.m.ts - d.answer.m.ts, middle is not None or abnormal is not None)
    if timed is None:
        return None
    kind, confidence, text = timed
    evidence = [fact(over, text)]
    if middle is not None:
        evidence.append(fact(over, f"{over.m.src.ip} ends both sides itself, and had no BYE from anyone"))
    return _finding(d, over, kind, confidence, abnormal, *evidence)


def _by_time(talk: int, suspicious: bool) -> tuple[Kind, str, str] | None:
    """Which timer a length speaks for. Short ones are everyday lengths, too: they need something more."""
    exact = next((n for n in _LONGEST if abs(talk - n * SECOND) <= SECOND), None)
    if exact is not None:
        return _LENGTH, "likely" if suspicious else "possible", f"{exact} s is a usual limit for the length of a call"
    if suspicious and 31 * SECOND <= talk <= 67 * SECOND // 2:
        return _ACK, "possible", "32 s (64*T1) is how long a side waits for an ACK, or an answer, before it gives up"
    if suspicious and any(abs(talk - n * SECOND) <= SECOND // 2 for n in (30, 60)):
        return _AUDIO, "possible", "30 or 60 s is how long many hosts wait for audio"
    return None


def _finding(d: Dialog, over: Step, kind: Kind, confidence: str, cause: Cause | None, *evidence: Evidence) -> Finding:
    after = seconds(over.m.ts - d.answer.m.ts)
    own = f" ({cause.words})" if cause is not None else ""
    text = f"{over.m.src.ip} hung up {after} after the answer"
    return Finding(
        NAME,
        kind.severity if confidence != "possible" else "warning" if kind is not _LENGTH else "info",
        confidence,
        f"{over.m.src.ip} ended the call after {after}, {'as' if confidence == 'certain' else 'probably as'} "
        f"{kind.what}{own}.",
        (
            fact(d.answer, f"answered by {d.answer.m.src.ip}"),
            fact(over, text, cause.line if cause is not None else ""),
            *evidence,
        ),
        kind.advice,
        REFERENCE,
        PRECEDENCE,
    )


def _rang_out(call: Call) -> Finding | None:
    for i in call.invites[:_FEW]:
        answers = call.answers_to(i)
        rang = [a for a in answers if 100 < a.m.sip.code < 200]
        if not rang or any(200 <= a.m.sip.code < 300 for a in answers):
            continue
        ends = [r for r in call.requests if r.m.sip.method == "CANCEL" and r.key[2] == i.key[2]]
        ends += [a for a in answers if a.m.sip.code in (408, 480, 504)]
        over = min(ends, key=lambda s: s.number, default=None)
        if over is None or over.number < rang[-1].number:
            continue
        waited = over.m.ts - rang[-1].m.ts
        if _TIMER_C[0] <= waited <= _TIMER_C[1]:
            what = "CANCEL" if over.m.sip.is_request else f"{over.m.sip.code} {over.m.sip.reason}"
            return Finding(
                NAME,
                "info",
                "likely",
                f"It rang for {seconds(waited)} and nobody answered, until {over.m.src.ip} ended it with {what}: "
                "three minutes are a proxy's limit (timer C).",
                (
                    fact(rang[-1], f"the last {rang[-1].m.sip.code} {rang[-1].m.sip.reason}"),
                    fact(over, f"{what} from {over.m.src}"),
                ),
                "Nothing is broken. Where it should ring longer, the called side repeats its 180 every minute, or the "
                "proxy's timer is made longer; where it should not, let the call go to voice mail before that.",
                "RFC 3261 sections 16.6 (step 11) and 16.8",
                90,
            )
    return None
