"""A host tried one next hop after another for the same call: which ones, and what each of them said."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call
from diagnose.finding import Finding, public_name
from diagnose.report import fact
from diagnose.routes import Attempt, attempts

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "info", 90, "RFC 3263 section 4.3, RFC 3261 section 16.7"
_FINAL_WORD = (404, 480, 484, 486, 487, 600, 603, 604)
"""Answers about the number or the called party: another way leads to the same answer."""


def check(call: Call) -> Iterator[Finding]:
    """One finding for each host that chose between ways."""
    for chain in attempts(call):
        first = chain[0].invite
        to = first.m.sip.to
        number = (to.uri.user if to else "") or "this call"
        apart = len({a.invite.m.dst.ip for a in chain}) == len(chain)
        ways = ", then ".join(f"{a.invite.m.dst.ip if apart else a.invite.m.dst} ({a.outcome})" for a in chain)
        evidence = [fact(a.final or a.invite, f"way {n}, {a.invite.m.dst}: {_told(a)}") for n, a in enumerate(chain, 1)]
        vain = next((a.final for a in chain[:-1] if a.final and a.final.m.sip.code in _FINAL_WORD), None)
        if vain is not None:
            text = f"{vain.m.sip.code} is about the number or the called party: another way could hardly help"
            evidence.append(fact(vain, text, vain.m.sip.start_line))
        yield Finding(
            NAME,
            SEVERITY,
            "certain",
            f"{first.m.src.ip} tried {len(chain)} ways for {number}: {ways}.",
            tuple(evidence),
            "Each way that fails costs post-dial delay: see whether the first ones are worth keeping in this order.",
            REFERENCE,
            PRECEDENCE,
        )


def _told(a: Attempt) -> str:
    if a.final is None:
        return "no final answer"
    return f"{a.outcome} after {(a.final.m.ts - a.invite.m.ts) / 1e9:.2f} s"
