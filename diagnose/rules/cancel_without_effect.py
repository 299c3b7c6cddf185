"""The caller gave up, but the CANCEL was not answered, or was answered and the INVITE never ended: it may ring on."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import TIMEOUT, Call, Step
from diagnose.finding import Finding, public_name
from diagnose.guards import silence
from diagnose.report import fact, seconds
from diagnose.rules.nat_binding_expired import closed_ports
from diagnose.undelivered import refused_hops

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 70, "RFC 3261 sections 9.1 and 9.2"

_FEW = 50
"""Of a flood only the first ones are looked at."""


def check(call: Call) -> Iterator[Finding]:
    """One finding for each CANCEL, at the last hop that it reached; a refused one has a rule of its own."""
    cancels = [c for c in call.requests if c.m.sip.method == "CANCEL"][:_FEW]
    closed = closed_ports(call) if cancels else frozenset()
    for c in cancels:
        if call.onward(c):
            continue
        invite = _invite(call, c)
        answers = call.answers_to(invite) if invite is not None else ()
        # Without any response nobody is there (invite-unanswered).
        if not answers or any(a.m.sip.code >= 200 for a in answers):
            continue
        taken = call.final_of(c)
        if (
            (taken is not None and taken.m.sip.code >= 300)
            or c.m.dst in closed
            or (c.m.src, c.m.dst) in refused_hops(call)
        ):
            continue
        judged = silence(call, c, c.m.ts + TIMEOUT)
        if not judged.believable:
            continue
        sends = call.copies(c)
        evidence = [fact(c, f"CANCEL from {c.m.src} to {c.m.dst}, sent {len(sends)} ×", c.m.sip.start_line)]
        if answers[0].number > c.number:
            text = "it was sent before any provisional response had come, when nothing may be cancelled yet"
            evidence.append(fact(answers[0], text))
        if taken is None:
            what, advice = (
                f"nothing came back from {c.m.dst} for the CANCEL",
                "The next hop was reachable for the INVITE and is not for the CANCEL: see that both take the same way "
                "(address, port, Route, NAT), and whether that host went down meanwhile.",
            )
        else:
            evidence.append(fact(taken, f"{taken.m.src.ip} answered the CANCEL with {taken.m.sip.code}"))
            what, advice = (
                f"{taken.m.src.ip} took the CANCEL with {taken.m.sip.code} and never ended the INVITE (no 487)",
                "It must answer the INVITE with 487 at once. Its own next hop probably did not, or the CANCEL was "
                "answered there and not sent on: ask for its outgoing leg, and whether the telephone rang on.",
            )
        evidence.append(fact(invite, f"no final response to this INVITE within {seconds(TIMEOUT)} of the CANCEL"))
        if judged.why:
            evidence.append(fact(None, judged.why))
        yield Finding(
            NAME,
            SEVERITY,
            judged.confidence,
            f"{c.m.src.ip} gave up, but {what}: it may ring on there.",
            tuple(evidence),
            advice,
            REFERENCE,
            PRECEDENCE,
        )


def _invite(call: Call, cancel: Step) -> Step | None:
    """The INVITE with the same branch on the same hop."""
    return next(
        (
            i
            for i in call.requests
            if i.m.sip.method == "INVITE" and i.key[2] == cancel.key[2] and i.m.dst.ip == cancel.m.dst.ip
        ),
        None,
    )
