"""The hang-up was never answered: the other side may keep the call up, and go on billing it."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.connections import cut_requests
from diagnose.dialog_routes import difference, misrouted
from diagnose.dialogs import tags
from diagnose.finding import Finding, public_name
from diagnose.guards import crosses
from diagnose.report import fact, seconds
from diagnose.resends import unanswered
from diagnose.rules import missing_ack
from diagnose.rules.nat_binding_expired import closed_ports
from diagnose.undelivered import refused_hops
from sip.address import parse_uri

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 70, "RFC 3261 sections 17.1.2.2 and 15.1.1"

_FEW = 50
"""A call has few ends; whoever floods one with BYEs is not looked at any further."""


def check(call: Call) -> Iterator[Finding]:
    """One finding for each hang-up, at the last hop that it was seen on."""
    hang_ups: dict[tuple[str, int | None], list[Step]] = {}
    lost = {m.request.key for m in misrouted(call)}
    for s in call.requests:
        if s.m.sip.method == "BYE":
            hang_ups.setdefault((s.side, s.m.sip.cseq), []).append(s)
    for hops in list(hang_ups.values())[:_FEW]:
        silent = [s for s in hops if not _answered(call, s)]
        if not silent or _hung_up_too(call, silent[-1]) or _told(call, silent[-1]):
            continue
        s = silent[-1]
        sends = call.copies(s)
        if len(sends) == 1 and s.m.transport == "udp":
            continue  # Who misses an answer asks again: this one had it on a path unseen.
        judged = unanswered(call, sends)
        if not judged.believable or s.key in lost:
            continue  # What was sent to the wrong place is told by route-set-ignored.
        took = seconds(sends[-1].m.ts - s.m.ts)
        evidence = [fact(s, f"BYE went to {s.m.dst} {len(sends)} × within {took}; no final answer", s.m.sip.start_line)]
        early = next(iter(call.answers_to(s)), None)
        if early is not None:
            evidence.append(fact(early, f"only {early.m.sip.code} {early.m.sip.reason} came back"))
        other = difference(call, s)
        if other is not None:
            evidence.append(fact(s, f"its {other[0]} is {other[2]} instead of {other[1]}"))
        target = parse_uri(s.m.sip.uri).host
        if crosses(target, s):
            evidence.append(fact(s, f"its target {target} is a private address: the Contact that it was told is stale"))
        if judged.why:
            evidence.append(fact(None, judged.why))
        # The rule for the cause speaks of a private Contact, and of an ACK that does not arrive either.
        consequence = crosses(target, s) or call.once(_never_acknowledged)
        yield Finding(
            NAME,
            "info" if consequence else SEVERITY,
            judged.confidence,
            f"{s.m.src.ip} hung up, but {s.m.dst} never answered the BYE ({len(sends)} sent within {took}).",
            tuple(evidence),
            "The far side vanished, or the address from its Contact or Record-Route is stale or unreachable. It may "
            "keep the call up: compare the call's length in both sides' billing records.",
            REFERENCE,
            90 if consequence else PRECEDENCE,
        )


def _told(call: Call, bye: Step) -> bool:
    """The port it went to is closed, an ICMP error or the end of its connection says why: rules of their own."""
    if bye.number in cut_requests(call):
        return True
    return bye.m.dst in closed_ports(call) or (bye.m.src, bye.m.dst) in refused_hops(call)


def _never_acknowledged(call: Call) -> bool:
    return any(missing_ack.check(call))


def _answered(call: Call, bye: Step) -> bool:
    """On this hop, also by a response whose branch was spoilt."""
    asked = (bye.m.sip.cseq, bye.side, bye.m.src.ip)
    return call.final_of(bye) is not None or any(
        r.m.sip.method == "BYE" and r.m.sip.code >= 200 and (r.m.sip.cseq, r.side_of_request, r.m.dst.ip) == asked
        for r in call.responses
    )


def _hung_up_too(call: Call, bye: Step) -> bool:
    """The other side hung up as well: nothing stays up."""
    return any(r.m.sip.method == "BYE" and tags(r) == tags(bye)[::-1] for r in call.requests)
