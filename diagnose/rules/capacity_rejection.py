"""A limit of calls per second or of channels was reached: the switch works, its limit or the traffic is the matter."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.beyond import followed_by
from diagnose.call import Call
from diagnose.finding import Finding, public_name
from diagnose.refusals import capacity_words
from diagnose.report import fact, listed
from index.load import Load

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "critical", 20, "RFC 3261 sections 21.5.4 and 21.3.3"


def check(call: Call) -> Iterator[Finding]:
    """One finding for each refusal that speaks of capacity, said once however far it was passed on."""
    told: set[tuple[int | None, int, str]] = set()
    for s in call.responses:
        sip = s.m.sip
        if sip.method != "INVITE" or sip.code < 300:
            continue
        said = capacity_words(sip)
        wait = sip.first("Retry-After")
        if said is None and not (sip.code == 503 and wait):
            continue
        who = sip.cseq, sip.code, s.side or s.m.src.ip
        if who in told:
            continue
        told.add(who)
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
            evidence += [
                fact(None, f"leg {c.call_id} went to {c.dst} instead: {c.state}") for c in followed_by(call, s)
            ]
        load = call.trace.load if call.trace.load and call.trace.load.dst == s.m.src.ip else None
        if load is not None:
            evidence += [fact(None, text) for text in _load(load)]
        later = call.answered_after(s)
        if later is not None:
            evidence.append(fact(later, "another route then answered: the call did not fail"))
        yield Finding(
            NAME,
            "info" if later else SEVERITY,
            "certain" if said else "likely",
            f"{s.m.src.ip} refused the call for capacity: {sip.code} {said or sip.reason}"
            + (f"; {load.src} had {load.up} calls up there and began {load.new} in that second." if load else "."),
            tuple(evidence),
            "Raise the limit of calls per second or channels for this account or trunk, or spread the traffic over "
            "more routes and time.",
            REFERENCE,
            PRECEDENCE,
        )


def _load(load: Load) -> Iterator[str]:
    """What stands against the limit."""
    yield (
        f"measured here: {load.new} calls from {load.src} to {load.dst} began in the second before, {load.up} were up "
        "(answered and not over)"
    )
    if (load.new_of_all, load.up_of_all) != (load.new, load.up):
        yield f"from everybody {load.dst} got {load.new_of_all} in that second, and had {load.up_of_all} up"
