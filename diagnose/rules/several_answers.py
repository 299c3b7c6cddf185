"""Several telephones answered the same call at once: each answer needs an ACK, and all but one of them a BYE."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import SECOND, TIMEOUT, Call, Step
from diagnose.dialogs import tags
from diagnose.finding import Finding, public_name
from diagnose.guards import silence
from diagnose.report import fact, listed

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "info", 70, "RFC 3261 sections 13.2.2.4 and 16.7, RFC 6228"

_AT_ONCE = 10 * SECOND
_FEW = 50


def check(call: Call) -> Iterator[Finding]:
    """One finding for an INVITE with two answers or more; a warning where more than one of them stays up."""
    for i in call.invites:
        answers: dict[str, Step] = {}
        for a in call.answers_to(i):
            if 200 <= a.m.sip.code < 300 and a.side:
                answers.setdefault(a.side, a)
        if len(answers) < 2:
            continue
        byes = [b for b in call.requests if b.m.sip.method == "BYE"][:_FEW]
        left = [a for tag, a in answers.items() if not any(tag in tags(b) and b.m.ts - a.m.ts < _AT_ONCE for b in byes)]
        last = max(answers.values(), key=lambda a: a.number)
        judged = silence(call, last, last.m.ts + TIMEOUT)
        # One of them is the call itself, which goes on.
        open_ones = len(left) > 1 and judged.believable
        evidence = [fact(a, f"the answer with the tag {tag}", a.header_line("To")) for tag, a in answers.items()][:5]
        if open_ones:
            evidence.append(fact(None, judged.why or f"no BYE ended {listed([a.side for a in left][:5])} at once"))
        yield Finding(
            NAME,
            "warning" if open_ones else SEVERITY,
            judged.confidence if open_ones else "certain",
            f"{len(answers)} parties answered the INVITE of {i.m.src.ip}"
            + (f", and {len(left)} of those calls were left up." if open_ones else "; all but one were ended again."),
            tuple(evidence),
            "Whoever called must acknowledge each answer and hang up those that it does not want; a telephone that was "
            "left so hears silence and may be billed."
            if open_ones
            else "Nothing to do; ring one after the other where this happens often.",
            REFERENCE,
            PRECEDENCE if open_ones else 90,
        )
        return
