"""Nothing at all came back for an INVITE, not even 100 Trying."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import TIMEOUT, Call
from diagnose.finding import Finding
from diagnose.guards import silence
from diagnose.report import fact

NAME, SEVERITY, PRECEDENCE, REFERENCE = "invite-unanswered", "critical", 10, "RFC 3261 sections 17.1.1.2 and 8.1.3.1"


def check(call: Call) -> Iterator[Finding]:
    """One finding for each silent target."""
    for s in call.invites:
        if call.answers_to(s):
            continue
        judged = silence(call, s, s.m.ts + TIMEOUT)
        if not judged.believable:
            continue
        sends = call.copies(s)
        evidence = [
            fact(
                s,
                f"INVITE to {s.m.dst} was sent {len(sends)} × within {(sends[-1].m.ts - s.m.ts) / 1e9:.1f} s; nothing came back from there",
            )
        ]
        if judged.why:
            evidence.append(fact(None, judged.why))
        yield Finding(
            NAME,
            SEVERITY,
            judged.confidence,
            f"Nothing came back from {s.m.dst} for the INVITE ({len(sends)} sent).",
            tuple(evidence),
            "Wrong address or port, a firewall or an allow-list, or the device is off. Ask the far side for a capture of the same time, and "
            "see whether OPTIONS or other calls to it are answered.",
            REFERENCE,
            PRECEDENCE,
        )
