"""The called side sent the caller elsewhere (300 to 305, 380): where to, and whether it went; an error in a circle."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.beyond import followed_by
from diagnose.call import Call, Step
from diagnose.finding import Finding, public_name
from diagnose.refusals import capacity_words, refusals, said
from diagnose.report import fact, listed
from sip.address import SipUri, parse_uri

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "info", 40, "RFC 3261 sections 8.1.3.4 and 21.3"


def check(call: Call) -> Iterator[Finding]:
    """One finding for each redirection."""
    for s in refusals(call):
        if s.m.sip.code < 400 and capacity_words(s.m.sip) is None:
            yield _finding(call, s)


def _finding(call: Call, s: Step) -> Finding:
    targets = [c.uri for c in s.m.sip.contacts]
    followed = next(
        (i for i in call.invites if i.number > s.number and i.m.src.ip == s.m.dst.ip and _goes_to(i, targets)), None
    )
    before = [i for i in call.invites if i.number < s.number and i.m.src.ip == s.m.dst.ip]
    back = next((i for i in before for t in targets if _place(parse_uri(i.m.sip.uri)) == _place(t)), None)
    evidence = [fact(s, f"{s.m.src.ip} answered {said(s.m.sip)}", s.header_line("Contact") or s.m.sip.start_line)]
    severity, where = SEVERITY, listed([t.text for t in targets])
    if not targets:
        severity, what = "error", "but named no Contact to go to"
        advice = "A redirection needs a Contact with the new target: that server's routing is not complete."
    elif back is not None:
        severity, what = "error", f"to {where}, where the call came from: a circle"
        evidence.append(fact(back, f"the caller had asked for {back.m.sip.uri} before", back.m.sip.start_line))
        advice = "Give the redirecting server another target for this number."
    elif followed is not None:
        what = f"to {where}, and {s.m.dst.ip} followed"
        evidence.append(fact(followed, f"{followed.m.src.ip} followed to {followed.m.dst}"))
        advice = "Nothing, if this forwarding is meant."
    elif legs := followed_by(call, s):
        what = f"to {where}, and the call went to {legs[0].dst}"
        evidence += [fact(None, f"leg {c.call_id} from {c.src} to {c.dst}: {c.state}") for c in legs]
        advice = "Nothing, if this forwarding is meant."
    else:
        what = f"to {where}; nobody followed in this trace"
        advice = "See whether the caller may follow redirections; it may also have done so with a call of its own."
    return Finding(
        NAME,
        severity,
        "certain",
        f"{s.m.src.ip} redirected the call ({said(s.m.sip)}) {what}.",
        tuple(evidence),
        advice,
        REFERENCE,
        PRECEDENCE,
    )


def _place(uri: SipUri) -> tuple[str, str, int]:
    return uri.user, uri.host.lower(), uri.port or 5060


def _goes_to(i: Step, targets: list[SipUri]) -> bool:
    return any(_place(parse_uri(i.m.sip.uri)) == _place(t) or i.m.dst.ip == t.host for t in targets)
