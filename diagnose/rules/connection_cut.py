"""The TCP connection of a call ended (RST or FIN) before a request on it was answered, or while the call was up."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.connections import Cut, cuts, idle_ends
from diagnose.dialogs import dialogs
from diagnose.finding import Finding, public_name
from diagnose.forms import title
from diagnose.refusals import said
from diagnose.report import fact, seconds
from index.trace import ConnectionEnd

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "critical", 10, "RFC 3261 sections 18.2.2, 18.4 and 8.1.3.1, RFC 9293 section 3.5.2"
_ADVICE = (
    "Look at {by} for why: a restart or crash, a limit of connections, a timer for idle ones that is shorter than "
    "calls ring. A firewall or load balancer in between may end connections in its name: compare the TTL of this "
    "packet with that of others from there."
)


def check(call: Call) -> Iterator[Finding]:
    """One finding for each connection; information where the call went on over another one, or was only idle on it."""
    told: dict[ConnectionEnd, list[Cut]] = {}
    for c in cuts(call):
        if c.judged.believable:
            told.setdefault(c.end, []).append(c)
    for end, some in told.items():
        yield _finding(call, end, some)
    if not told and any(d.bye is None for d in dialogs(call)):
        for end, last in idle_ends(call):
            yield _idle(call, end, last)


def _finding(call: Call, end: ConnectionEnd, some: list[Cut]) -> Finding:
    c = next((c for c in some if c.request.m.sip.method == "INVITE"), some[0])
    s, sip = c.request, c.request.m.sip
    evidence = [fact(s, f"{title(s)} from {s.m.src} to {s.m.dst}", sip.start_line)]
    early = call.answers_to(s)
    if early:
        evidence.append(fact(early[-1], f"the last answer to it: {said(early[-1].m.sip)}"))
    apart = seconds(abs(end.ts - s.m.ts))
    when = f"{apart} before the {sip.method}" if c.sent_after else f"{apart} after the {sip.method}"
    evidence.append(fact(None, f"{end.by} sent {_flag(end)} {when}; no final answer to it was seen from then on"))
    if c.told is not None:
        evidence.append(fact(c.told, f"{c.told.m.src.ip} then answered {said(c.told.m.sip)} to {c.told.m.dst.ip}"))
    if c.judged.why:
        evidence.append(fact(None, c.judged.why))
    initial = sip.method == "INVITE" and not (sip.to and sip.to.tag)
    later = call.answered_after(s) if initial else None
    if later is not None:
        evidence.append(fact(later, "this answer came all the same: the call did not fail"))
    elif c.again is not None:
        evidence.append(fact(c.again, f"{title(c.again)} goes on over another connection"))
    severity = SEVERITY if initial else "error"
    if later is not None or c.again is not None:
        severity = "info" if c.told is None else "warning"
    return Finding(
        NAME,
        severity,
        c.judged.confidence,
        f"{end.by} {_did(end)} its TCP connection with {end.peer} {when} of {s.m.src.ip}, which was never answered.",
        tuple(evidence),
        _ADVICE.format(by=end.by.ip),
        REFERENCE,
        90 if severity == "info" else PRECEDENCE,
    )


def _idle(call: Call, end: ConnectionEnd, last: Step) -> Finding:
    quiet = call.trace.capture_end - end.ts
    return Finding(
        NAME,
        "info",
        "likely",
        f"{end.by} {_did(end)} the TCP connection of the running call, and nothing more of the call was seen.",
        (
            fact(last, f"{title(last)}: the last message of the call"),
            fact(
                None,
                f"{end.by} sent {_flag(end)} {seconds(end.ts - last.m.ts)} later; nothing for {seconds(quiet)} after "
                "it, as far as this capture goes",
            ),
        ),
        "Harmless while each side can open a new connection to the other's Contact; behind a NAT only the inside can, "
        "and a hang-up from outside never arrives. Keep such connections open (RFC 5626 section 3.5.1).",
        REFERENCE,
        90,
    )


def _did(end: ConnectionEnd) -> str:
    return "reset" if end.reset else "closed"


def _flag(end: ConnectionEnd) -> str:
    return "RST" if end.reset else "FIN"
