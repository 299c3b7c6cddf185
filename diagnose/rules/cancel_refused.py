"""The caller gave up, but the CANCEL matched nothing: the called side goes on ringing."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.finding import Evidence, Finding, public_name
from diagnose.report import fact

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 70, "RFC 3261 sections 9.1 and 9.2"


def check(call: Call) -> Iterator[Finding]:
    """One finding for each CANCEL that got a failure; what differs from its INVITE is shown."""
    told: set[int | None] = set()
    for r in call.responses:
        sip = r.m.sip
        if sip.method != "CANCEL" or sip.code < 300 or sip.cseq in told:
            continue
        told.add(sip.cseq)
        cancel = next((s for s in call.requests if s.m.sip.method == "CANCEL" and s.key[2] == r.key[2]), None)
        if cancel is None:
            continue
        invite = next(
            (
                s
                for s in reversed(call.requests)
                if s.m.sip.method == "INVITE"
                and (s.m.src.ip, s.m.dst.ip) == (cancel.m.src.ip, cancel.m.dst.ip)
                and s.number < cancel.number
            ),
            None,
        )
        if invite and any(f.m.sip.code >= 200 and f.number < r.number for f in call.answers_to(invite)):
            continue  # The INVITE was over before the refusal came: nothing was left to cancel.
        differing = _differences(invite, cancel) if invite else []
        why = f": its {differing[0][0]} is not that of the INVITE" if differing else ""
        evidence = [fact(cancel, f"CANCEL from {cancel.m.src.ip}", cancel.m.sip.start_line)]
        evidence += [e for _, e in differing]
        evidence.append(fact(r, f"{r.m.src.ip} answered {sip.code} {sip.reason}"))
        rang = invite and any(a.m.sip.code in (180, 183) for a in call.answers_to(invite))
        left = "the called side goes on ringing" if rang else "whatever it had begun goes on"
        yield Finding(
            NAME,
            SEVERITY,
            "certain",
            f"{r.m.src.ip} refused the CANCEL with {sip.code} {sip.reason}{why}; {left}.",
            tuple(evidence),
            "It got no answer to the CANCEL itself: the hop behind it is gone or too slow. Ask there for that leg."
            if sip.code == 408
            else "A CANCEL has to repeat the Request-URI, the top Via with its branch, From, Call-ID, the CSeq number "
            "and the Route of the INVITE exactly; see what altered it on the way.",
            REFERENCE,
            PRECEDENCE,
        )


def _differences(invite: Step, cancel: Step) -> list[tuple[str, Evidence]]:
    """Parts that must be equal and are not (RFC 3261 section 9.1)."""
    a, b = invite.m.sip, cancel.m.sip
    tag_a, tag_b = (x.from_.tag if x.from_ else "" for x in (a, b))
    pairs = (
        ("branch", invite.key[2], cancel.key[2]),
        ("Request-URI", a.uri, b.uri),
        ("CSeq number", str(a.cseq), str(b.cseq)),
        ("From tag", tag_a, tag_b),
        ("Route", ", ".join(a.all("Route")), ", ".join(b.all("Route"))),
    )
    return [
        (what, fact(cancel, f"{what} {there or '(none)'}, in the INVITE {here or '(none)'}"))
        for what, here, there in pairs
        if here != there
    ]
