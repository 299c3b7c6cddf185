"""The call was cut when its session timer ran out: the refresh that both sides had agreed on did not happen."""

from __future__ import annotations

import re
from collections.abc import Iterator

from diagnose.call import SECOND, Call, Step
from diagnose.finding import Finding, public_name
from diagnose.guards import losses_told, weakened
from diagnose.report import fact, seconds

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 70, "RFC 4028 sections 7.2, 9 and 10"
_TIMER = re.compile(r"\s*(\d{1,9})\s*(?:;.*?\brefresher\s*=\s*(uac|uas)\b)?", re.IGNORECASE)
LATE = 40 * SECOND
"""A hang-up so long after the timer has other reasons."""


def check(call: Call) -> Iterator[Finding]:
    """One finding a call: the last refresh, the interval, and the BYE at its end."""
    over = next((b for b in call.requests if b.m.sip.method == "BYE"), None)
    if over is None:
        return
    agreed = [r for r in call.responses if _sets_timer(r) and r.number < over.number]
    if not agreed:
        return
    last = agreed[-1]
    interval, refresher = _timer(last)
    lasted = over.m.ts - last.m.ts
    if not interval - min(32 * SECOND, interval // 3) <= lasted <= interval + LATE:
        return
    asked = next((s for s in call.requests if s.key == last.key and s.number < last.number), None)
    caller = last.m.dst.ip if asked is None else asked.m.src.ip
    who = {"uac": caller, "uas": last.m.src.ip}.get(refresher, "")
    tries = [
        s
        for s in call.requests
        if s.m.sip.method in ("INVITE", "UPDATE")
        and last.number < s.number < over.number
        and s.m.sip.to
        and s.m.sip.to.tag
    ]
    evidence = [fact(last, f"agreed on {interval // SECOND} s", last.header_line("Session-Expires"))]
    why = f"{who} should have refreshed it and did not" if who else "nobody refreshed it"
    if tries:
        final = call.final_of(tries[-1])
        said = f"{final.m.sip.code} {final.m.sip.reason}" if final else "nothing"
        why = f"the refresh of {tries[-1].m.src.ip} got {said}"
        evidence.append(fact(tries[-1], f"{tries[-1].m.sip.method} to refresh it"))
        evidence += [fact(final, said)] if final else []
    evidence.append(fact(over, f"BYE from {over.m.src.ip}, {seconds(lasted)} later", over.header_line("Reason")))
    doubt = losses_told(call)
    if doubt:
        evidence.append(fact(None, f"{doubt}: a refresh may be among them"))
    yield Finding(
        NAME,
        SEVERITY,
        weakened(call, "likely"),
        f"The call was cut after {seconds(lasted)}, when its session timer of {interval // SECOND} s ran out; {why}.",
        tuple(evidence),
        "See that the refresher sends its re-INVITE or UPDATE at half of the interval and that it arrives (its target "
        "is the other side's Contact); or let the other side be the refresher, or switch session timers off.",
        REFERENCE,
        PRECEDENCE,
    )


def _sets_timer(r: Step) -> bool:
    return (
        200 <= r.m.sip.code < 300
        and r.m.sip.method in ("INVITE", "UPDATE")
        and _TIMER.match(r.m.sip.first("Session-Expires")) is not None
    )


def _timer(r: Step) -> tuple[int, str]:
    """Its interval in nanoseconds, and who refreshes."""
    found = _TIMER.match(r.m.sip.first("Session-Expires"))
    assert found is not None
    return int(found[1]) * SECOND, (found[2] or "").lower()
