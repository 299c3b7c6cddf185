"""481: the other side does not know the call (or subscription) that a request belongs to."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import SECOND, Call, Step
from diagnose.dialog_routes import misrouted
from diagnose.dialogs import tags
from diagnose.finding import Evidence, Finding, public_name
from diagnose.report import fact, listed, seconds
from diagnose.rules import answer_crossed_cancel

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 70, "RFC 3261 sections 12.2.1.2 and 12.2.2"
_ELSEWHERE = ("CANCEL", "PRACK")
"""Their 481 speaks of a transaction, not of the dialog."""
_SUBSCRIPTION = ("NOTIFY", "SUBSCRIBE")


def check(call: Call) -> Iterator[Finding]:
    """One finding for each method and side that is refused so, however often."""
    told: set[tuple[str, str]] = set()
    lost = {m.request.key for m in misrouted(call)}
    for s in call.responses:
        method, refused = s.m.sip.method, (s.m.sip.method, tags(s)[0])
        if s.m.sip.code != 481 or method in _ELSEWHERE or refused in told:
            continue
        told.add(refused)
        if s.key in lost:
            continue  # It was sent to the wrong place (route-set-ignored).
        if method == "BYE" and answer_crossed_cancel.unheeded(call):
            continue  # The caller had given up and never knew of an answer: told there.
        evidence = [fact(s, f"{s.m.src.ip} answered {s.m.sip.code} {s.m.sip.reason} to {method}", s.m.sip.start_line)]
        severity, why = SEVERITY, "it restarted, hung up earlier, or somebody changed the tags"
        over, foreign = _over(call, s), _foreign(call, s)
        if over is not None:
            severity, why = "info", "harmless, since the call was being hung up"
            evidence.append(over)
        elif method in _SUBSCRIPTION:
            severity, why = "info", "the subscription is gone on that side"
        elif foreign is not None:
            why = "the request's tags are not those of the call"
            evidence.append(foreign)
        yield Finding(
            NAME,
            severity,
            "certain",
            f"{s.m.src.ip} answered the {method} of {s.m.dst.ip} with 481, it knows no such call: {why}.",
            tuple(evidence),
            "Nothing to do: the call is over on both sides."
            if over is not None
            else "Compare Call-ID and both tags with those of the answered INVITE; see whether that side restarted or "
            "hung up before, and whether a load balancer sent the request to another node of it.",
            REFERENCE,
            90 if severity == "info" else PRECEDENCE,
        )


def _over(call: Call, s: Step) -> Evidence | None:
    """A BYE that crossed the request, or went before it."""
    asking, asked = tags(s)
    request = next((r for r in call.requests if r.key == s.key), None)
    for b in call.requests:
        if b.m.sip.method != "BYE" or b.key == s.key or b.m.ts > s.m.ts + SECOND:
            continue
        if tags(b) == (asked, asking):
            return fact(b, f"{b.m.src.ip} itself hung up, {seconds(abs(s.m.ts - b.m.ts))} apart from that")
        if request is not None and b.side == asking and b.number < request.number and b.m.sip.cseq != s.m.sip.cseq:
            return fact(b, f"the asking side, {b.m.src.ip}, had hung up before")
    return None


def _foreign(call: Call, s: Step) -> Evidence | None:
    """The tags are not those of any answered or ringing INVITE of this Call-ID, all of which were seen."""
    if not call.seen_from_start:
        return None
    known = {frozenset(tags(r)): r for r in call.responses if r.m.sip.method == "INVITE" and 100 < r.m.sip.code < 300}
    if not known or frozenset(tags(s)) in known:
        return None
    met = next(iter(known.values()))
    pairs = listed([" and ".join(sorted(tag or "none" for tag in pair)) for pair in known][:3])
    return fact(
        met, f"the tags of this call are {pairs}; this request has {' and '.join(tags(s))}", met.header_line("To")
    )
