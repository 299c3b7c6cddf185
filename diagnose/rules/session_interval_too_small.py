"""422: the session timer was too short for the other side, and the caller did not come back with a longer one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from diagnose.call import SECOND, Call, Step
from diagnose.finding import Evidence, Finding, public_name
from diagnose.guards import Silence, silence
from diagnose.refusals import request_of
from diagnose.report import fact

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 40, "RFC 4028 sections 6, 7.3 and 9"
_LOOP = 3
_FEW = 50
"""Of a flood only the first ones are looked at."""
_PATIENCE = 5 * SECOND
"""A machine that wants to try again has done so by then."""
_DELTA = re.compile(r"\s*(\d{1,9})")


@dataclass(frozen=True, slots=True)
class Round:
    """A request that was too short, the 422, and the next try."""

    asked: Step
    refusal: Step
    again: Step | None

    @property
    def least(self) -> int | None:
        """What the 422 asks for."""
        return interval(self.refusal, "Min-SE")


def interval(s: Step, name: str) -> int | None:
    """The seconds of a Session-Expires or Min-SE header."""
    found = _DELTA.match(s.m.sip.first(name))
    return int(found[1]) if found else None


def check(call: Call) -> Iterator[Finding]:
    """One finding a call; a single 422 with a longer timer after it is as it should be."""
    rounds = list(islice(_rounds(call), _FEW))
    wrong = next((w for r in rounds if (w := _wrong(call, r))), None)
    if len(rounds) >= _LOOP:
        wrong = f"{len(rounds)} tries were refused so", wrong[1] if wrong else []
    if wrong is None:
        return
    r = rounds[0]
    judged = _patience(call, rounds[-1]) if rounds[-1].again is None else None
    evidence: list[Evidence] = []
    for x in rounds[:_LOOP]:
        evidence.append(fact(x.asked, f"{x.asked.m.src.ip} asks for this", x.asked.header_line("Session-Expires")))
        evidence.append(fact(x.refusal, f"{x.refusal.m.src.ip} refuses it", x.refusal.header_line("Min-SE")))
    later = call.answered_after(rounds[-1].refusal)
    if later is not None:
        evidence.append(fact(later, "a later try was answered: the call did not fail"))
    if judged is not None and judged.why:
        evidence.append(fact(None, judged.why))
    asked = interval(r.asked, "Session-Expires")
    timer = f"a session timer of {asked} s" if asked is not None else "a request without a session timer"
    yield Finding(
        NAME,
        "warning" if later else SEVERITY,
        "certain" if judged is None else judged.confidence,
        f"{r.refusal.m.src.ip} refused {timer} from {r.asked.m.src.ip} as too short (422), and {wrong[0]}.",
        (*evidence, *wrong[1]),
        "The caller has to repeat its request with Session-Expires and Min-SE of at least the Min-SE in the 422. Set "
        "its session timer to that value (1800 s is usual), or lower the minimum on the other side.",
        REFERENCE,
        PRECEDENCE,
    )


def _patience(call: Call, r: Round) -> Silence:
    """Whether a next try would have been seen."""
    return silence(call, r.refusal, r.refusal.m.ts + _PATIENCE)


def _rounds(call: Call) -> Iterator[Round]:
    told: set[tuple[str, int | None, str]] = set()
    for s in call.responses:
        sip = s.m.sip
        key = (sip.method, sip.cseq, s.side_of_request)
        asked = request_of(call, s) if sip.code == 422 and key not in told else None
        if asked is None:
            continue
        told.add(key)
        again = next(
            (
                n
                for n in call.requests
                if n.number > s.number
                and (n.m.sip.method, n.side) == (sip.method, asked.side)
                and n.m.sip.cseq != sip.cseq
            ),
            None,
        )
        yield Round(asked, s, again)


def _wrong(call: Call, r: Round) -> tuple[str, list[Evidence]] | None:
    """What is not as it should be in this round."""
    if not r.refusal.m.sip.first("Min-SE"):
        return "did not say how long it should be (no Min-SE)", []
    if r.again is None:
        if not _patience(call, r).believable:
            return None
        return f"{r.asked.m.src.ip} did not try again with at least {r.least} s", []
    now = interval(r.again, "Session-Expires")
    if now is not None and r.least is not None and now < r.least:
        text = f"the next try has {now} s instead of at least {r.least} s"
        return text, [fact(r.again, text, r.again.header_line("Session-Expires"))]
    return None
