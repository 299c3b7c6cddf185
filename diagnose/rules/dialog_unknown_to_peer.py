"""A request inside a call was refused with 481: the other side does not know this call (any more)."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.finding import Evidence, Finding, public_name
from diagnose.report import fact, seconds

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 70, "RFC 3261 sections 12.2.2 and 12.2.1.2"
SUBSCRIPTIONS = ("SUBSCRIBE", "NOTIFY")


def check(call: Call) -> Iterator[Finding]:
    """One finding for each request, at the hop next to the side that refused it; CANCEL has a rule of its own."""
    told: set[tuple[str, int | None, str]] = set()
    for r in call.responses:
        sip = r.m.sip
        key = (sip.method, sip.cseq, r.side_of_request)
        if sip.code != 481 or sip.method == "CANCEL" or key in told:
            continue
        told.add(key)
        asked = next((s for s in call.requests if s.key == r.key and s.number < r.number), None)
        crossed = _hung_up_before(call, r)
        evidence = [fact(asked, f"{sip.method} from {asked.m.src.ip}", asked.m.sip.start_line)] if asked else []
        evidence.append(fact(r, f"{r.m.src.ip} answered {sip.code} {sip.reason}"))
        evidence += _tags(call, asked)
        if crossed is not None:
            evidence.append(fact(crossed, f"{r.m.src.ip} had hung up itself {seconds(r.m.ts - crossed.m.ts)} before"))
        subscription = sip.method in SUBSCRIPTIONS
        what = "subscription" if subscription else "call"
        why = ", as it had just hung up itself" if crossed is not None else ""
        yield Finding(
            NAME,
            "info" if crossed is not None or subscription else SEVERITY,
            "certain",
            f"{r.m.src.ip} refused the {sip.method} with 481: it has no such {what}{why}.",
            tuple(evidence),
            "Nothing to do."
            if crossed is not None
            else f"The other side restarted, ended the {what} before, or somebody between the two altered tags or "
            "Call-ID; look for its own BYE or an error on its side just before.",
            REFERENCE,
            90 if crossed is not None or subscription else PRECEDENCE,
        )


def _hung_up_before(call: Call, refusal: Step) -> Step | None:
    return next(
        (
            b
            for b in call.requests
            if b.m.sip.method == "BYE"
            and b.side != refusal.side_of_request
            and b.m.src.ip == refusal.m.src.ip
            and b.number < refusal.number
        ),
        None,
    )


def _tags(call: Call, asked: Step | None) -> list[Evidence]:
    """The tag that the request names, where the other side never gave it."""
    if asked is None or not asked.m.sip.to or not asked.m.sip.to.tag:
        return []
    tag = asked.m.sip.to.tag
    given = {s.side for s in call.steps if s.number < asked.number}
    if tag in given or not call.seen_from_start:
        return []
    return [fact(asked, f"it names the tag {tag}, which nobody gave in this call", asked.header_line("To"))]
