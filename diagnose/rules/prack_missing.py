"""A reliable provisional response (100rel) was never confirmed with PRACK: the called side repeats it and gives up."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import TIMEOUT, Call, Step
from diagnose.finding import Finding, public_name
from diagnose.guards import silence
from diagnose.report import fact, seconds

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 70, "RFC 3262 sections 3 and 4"


def check(call: Call) -> Iterator[Finding]:
    """One finding for each reliable response, at the side that gave it."""
    told: set[tuple[str, str]] = set()
    for s in call.responses:
        sip = s.m.sip
        number = sip.first("RSeq").strip()
        sends = call.copies(s)
        if not 100 < sip.code < 200 or not number or len(sends) < 2 or (s.side, number) in told:
            continue
        if "100rel" not in ", ".join(sip.all("Require")).lower():
            continue
        told.add((s.side, number))
        if any(_confirms(p, number, sip.cseq) for p in call.requests):
            continue
        end = next((r for r in call.answers_of(s) if r.m.sip.code >= 200), None)
        deadline = s.m.ts + TIMEOUT if end is None else min(s.m.ts + TIMEOUT, end.m.ts)
        judged = silence(call, s, deadline)
        if not judged.believable:
            continue
        asked = next((i for i in call.invites if i.key == s.key), None)
        offered = asked is not None and "100rel" in ", ".join(
            [*asked.m.sip.all("Supported"), *asked.m.sip.all("Require")]
        )
        took = seconds(sends[-1].m.ts - s.m.ts)
        evidence = [fact(s, f"{sip.code} was sent {len(sends)} × within {took}; no PRACK", s.header_line("RSeq"))]
        if asked is not None and not offered:
            evidence.append(fact(asked, "the caller never said that it knows 100rel"))
        if end is not None:
            evidence.append(fact(end, f"then {end.m.sip.code} {end.m.sip.reason}"))
        if judged.why:
            evidence.append(fact(None, judged.why))
        yield Finding(
            NAME,
            SEVERITY if end is None or end.m.sip.code >= 300 else "warning",
            judged.confidence,
            f"{s.m.src.ip} waits for a PRACK to its {sip.code} {sip.reason} (sent {len(sends)} ×) that never came.",
            tuple(evidence),
            "See whether the PRACK is sent at all and where to (it goes to the Contact of that response); or switch "
            "100rel off on one side.",
            REFERENCE,
            PRECEDENCE,
        )


def _confirms(p: Step, number: str, cseq: int | None) -> bool:
    rack = p.m.sip.first("RAck").split()
    return p.m.sip.method == "PRACK" and rack[:2] == [number, str(cseq)]
