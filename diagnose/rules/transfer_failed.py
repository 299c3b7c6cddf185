"""A transfer (REFER) did not work: refused, failed at its target, or nobody ever told what became of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from diagnose.call import SECOND, Call, Step
from diagnose.dialogs import tags
from diagnose.finding import Evidence, Finding, public_name
from diagnose.refusals import CHALLENGES, said
from diagnose.report import fact, seconds
from sip.address import parse_name_addr
from sip.text import printable

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 70, "RFC 3515 sections 2.4.4 and 2.4.5, RFC 4488 section 4"
_TOLD_ELSEWHERE = (*CHALLENGES, 481, 491)
_FEW = 50
"""Of a flood only the first ones are looked at."""
_PATIENCE = 60 * SECOND
_STATUS = re.compile(rb"\s*SIP/2\.0\s+([1-6]\d\d)\s*([^\r\n]{0,80})")
_MEANING = {
    403: "it is not allowed to",
    405: "it does not know REFER",
    420: "it lacks an extension that is required",
    501: "it does not know REFER",
    603: "it does not want to",
}


def check(call: Call) -> Iterator[Finding]:
    """One finding for each REFER, at the hop next to the side that should do the transfer."""
    told: set[tuple[int | None, str]] = set()
    for s in [r for r in call.requests if r.m.sip.method == "REFER"][:_FEW]:
        if call.onward(s) or (s.m.sip.cseq, s.side) in told:
            continue
        told.add((s.m.sip.cseq, s.side))
        final = call.final_of(s)
        if final is None or final.m.sip.code in _TOLD_ELSEWHERE:
            continue  # Silence and unknown dialogs have rules of their own; a challenge is followed by another try.
        found = _refused(s, final) if final.m.sip.code >= 300 else _outcome(call, s, final)
        if found is None:
            continue
        confidence, what, evidence = found
        target = _target(s)
        asked = fact(s, f"{s.m.src.ip} asks {s.m.dst.ip} to call {target}", s.header_line("Refer-To"))
        yield Finding(
            NAME,
            SEVERITY,
            confidence,
            f"The transfer of {s.m.src.ip} to {target} {what}.",
            (asked, *evidence),
            "Look at the call that the transferred side began (another Call-ID, often with Referred-By): is its target "
            "written so that this side can reach it, and may it send calls there?",
            REFERENCE,
            PRECEDENCE,
        )


def _target(s: Step) -> str:
    found = parse_name_addr(s.m.sip.first("Refer-To")).uri
    return printable(found.user or found.host) or "an unreadable target"


def _refused(s: Step, final: Step) -> tuple[str, str, list[Evidence]]:
    code = final.m.sip.code
    why = f": {_MEANING[code]}" if code in _MEANING else ""
    what = f"was refused by {final.m.src.ip} with {said(final.m.sip)}{why}"
    return "certain", what, [fact(final, f"{final.m.src.ip} answered {said(final.m.sip)}")]


def _outcome(call: Call, s: Step, final: Step) -> tuple[str, str, list[Evidence]] | None:
    """What the NOTIFYs say about the call to the target."""
    taken = fact(final, f"{final.m.src.ip} took it with {said(final.m.sip)}")
    reports = [(n, status) for n in _notifies(call, s) if (status := _status(n)) is not None]
    last = reports[-1] if reports else None
    if last is not None and last[1][0] >= 300:
        n, (code, reason) = last
        words = f"{code} {reason}".strip()
        return "certain", f"failed there with {words}", [taken, fact(n, f"{n.m.src.ip} reports {words}")]
    if last is not None and last[1][0] >= 200:
        return None
    # With norefersub nobody reports; after its BYE the transferring side often does not listen any more.
    silent = any("false" in x.m.sip.first("Refer-Sub").lower() for x in (s, final))
    over = any(b.m.sip.method == "BYE" and b.number > s.number and b.m.ts - s.m.ts < _PATIENCE for b in call.requests)
    waited = call.trace.capture_end - s.m.ts
    if silent or over or waited < _PATIENCE or not call.seen_from_start or call.trace.losses:
        return None
    evidence = [taken]
    if last is not None:
        evidence.append(fact(last[0], f"the last report says {last[1][0]} {last[1][1]}"))
    evidence.append(fact(None, f"no NOTIFY told the outcome within {seconds(waited)}, as far as this capture goes"))
    return "likely", f"has no outcome: no NOTIFY of {final.m.src.ip} says how it ended", evidence


def _notifies(call: Call, refer: Step) -> list[Step]:
    """Reports of the other side after this REFER; the Event's id names it where there are several."""
    number, pair = str(refer.m.sip.cseq), frozenset(tags(refer))
    out = []
    for n in call.requests:
        event = n.m.sip.first("Event").replace(" ", "").lower()
        if n.m.sip.method != "NOTIFY" or n.number < refer.number or not event.startswith("refer"):
            continue
        asked = event.partition(";id=")[2]
        if (not asked or asked == number) and (frozenset(tags(n)) & pair):
            out.append(n)
    return out


def _status(n: Step) -> tuple[int, str] | None:
    """The status line in a message/sipfrag body (RFC 3420)."""
    found = _STATUS.match(n.m.sip.body)
    return (int(found[1]), printable(found[2].decode("utf-8", "replace").strip())) if found else None
