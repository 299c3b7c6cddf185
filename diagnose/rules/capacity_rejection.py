"""A limit of calls per second or of channels was reached. The switch works; the limit or the spread of traffic is the matter."""

from __future__ import annotations

import re
from collections.abc import Iterator

from diagnose.call import Call
from diagnose.finding import Finding
from diagnose.report import fact, listed

NAME, SEVERITY, PRECEDENCE, REFERENCE = "capacity-rejection", "critical", 20, "RFC 3261 sections 21.5.4 and 21.3.3"
_LIMIT = re.compile(
    r"(?:max|exceed\w*|too many|over|limit\w*).{0,20}(?:cps|channel|call|concurr|capacity|session)|"
    r"(?:cps|channel|call|concurr\w*|capacity|session).{0,20}(?:max|exceed\w*|limit\w*|full)|server at max",
    re.IGNORECASE,
)


def check(call: Call) -> Iterator[Finding]:
    """One finding for each refusal that speaks of capacity."""
    for s in call.responses:
        sip = s.m.sip
        if sip.method != "INVITE" or sip.code < 300:
            continue
        texts = [sip.reason, *sip.all("Reason"), *sip.all("Warning")]
        said = next((t for t in texts if _LIMIT.search(t)), None)
        wait = sip.first("Retry-After")
        if said is None and not (sip.code == 503 and wait):
            continue
        evidence = [fact(s, f"{s.m.src.ip} answered {sip.code} {sip.reason}", sip.start_line)]
        if wait:
            evidence.append(fact(s, f"it asks to wait {wait} s", s.header_line("Retry-After")))
        if sip.code < 400 and sip.contacts:
            targets = [c.uri.text for c in sip.contacts]
            followed = [i for i in call.invites if i.number > s.number]
            evidence.append(
                fact(
                    s,
                    f"it offers {listed(targets)} instead; "
                    + (f"message {followed[0].number} followed" if followed else "nobody followed in this trace"),
                )
            )
        later = next(
            (
                a
                for a in call.responses
                if a.number > s.number and a.m.sip.method == "INVITE" and 200 <= a.m.sip.code < 300
            ),
            None,
        )
        if later is not None:
            evidence.append(fact(later, "another route then answered: the call did not fail"))
        yield Finding(
            NAME,
            "info" if later else SEVERITY,
            "certain" if said else "likely",
            f"{s.m.src.ip} refused the call for capacity: {sip.code} {said or sip.reason}.",
            tuple(evidence),
            "Raise the limit of calls per second or channels for this account or trunk, or spread the traffic over more routes and time.",
            REFERENCE,
            PRECEDENCE,
        )
