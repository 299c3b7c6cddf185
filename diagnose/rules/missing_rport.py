"""A request from a translated port without `rport`: replies go to the port in its Via, where a NAT drops them."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import SECOND, Call, Step
from diagnose.finding import Evidence, Finding, public_name
from diagnose.report import fact
from sip.address import Via
from sip.ip import literal

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 60, "RFC 3581 sections 3 and 4, RFC 3261 section 18.2.2"


def check(call: Call) -> Iterator[Finding]:
    """One finding a sender. UDP only: on connections the reply goes back on the connection."""
    told: set[str] = set()
    for s in call.requests:
        via = s.m.sip.top_via
        if via is None or s.m.transport != "udp" or s.m.sip.method == "ACK" or "rport" in via.params:
            continue
        port = via.port or 5060
        if port == s.m.src.port or s.m.src.ip in told:
            continue
        told.add(s.m.src.ip)
        finding = _judge(call, s, via, port)
        if finding is not None:
            yield finding


def _judge(call: Call, s: Step, via: Via, port: int) -> Finding | None:
    translated = literal(via.host) != literal(s.m.src.ip)
    evidence = [
        fact(
            s,
            f"Via says {via.host} port {port}, the packet came from {s.m.src}, and Via has no rport",
            s.header_line("Via"),
        )
    ]
    # Without any reply in sight: a device may well listen on the port in its Via, unless its address is another's too.
    severity, confidence = SEVERITY, "likely" if translated else "possible"
    replies = [r for r in call.answers_to(s) if r.m.dst.ip == s.m.src.ip]
    wrong = next((r for r in replies if r.m.dst.port == port), None)
    forced = next((r for r in replies if r.m.dst.port == s.m.src.port), None)
    if wrong is not None:
        evidence.append(fact(wrong, f"the reply went to {wrong.m.dst}, where the request did not come from"))
        deaf, heeded = _deaf(call, s, wrong), _heeded(call, s, wrong)
        if deaf is not None:
            severity, confidence = "error", "certain"
            evidence.append(deaf)
        elif heeded is not None and not translated:
            return None  # It listens on that port and sends from another: unusual, and no fault.
        elif heeded is not None:
            severity, confidence = "info", "certain"
            evidence.append(fact(heeded, "the sender went on as if it had the reply: a forwarding lets it in"))
    elif forced is not None:
        severity, confidence = "info", "certain"
        evidence.append(fact(forced, f"the reply still went to port {s.m.src.port}: the proxy forces rport"))
    return Finding(
        NAME,
        severity,
        confidence,
        f"{s.m.src} sends without rport: "
        + (
            f"its replies still reach port {s.m.src.port}, since the proxy forces it."
            if forced and not wrong
            else f"replies go to port {port} instead of {s.m.src.port}."
        ),
        tuple(evidence),
        "Switch rport (symmetric response routing) on in the device, or let the proxy force it (force_rport).",
        REFERENCE,
        PRECEDENCE,
    )


def _deaf(call: Call, s: Step, reply: Step) -> Evidence | None:
    """The sender shows that it never had the reply: it sends its request again, or no ACK for a final one."""
    again = next((c for c in call.copies(s) if c.m.ts > reply.m.ts), None)
    if again is not None:
        return fact(again, "the sender repeated its request after that: it never had the reply")
    final = next((r for r in call.answers_to(s) if r.m.sip.code >= 200), None)
    if s.m.sip.method != "INVITE" or final is None or call.trace.capture_end < final.m.ts + SECOND:
        return None
    if any(a.m.src.ip == s.m.src.ip for a in call.acks(final)):
        return None
    return fact(final, "no ACK followed: the sender never had this reply")


def _heeded(call: Call, s: Step, reply: Step) -> Step | None:
    """What the sender did next in this call."""
    return next((r for r in call.requests if r.number > reply.number and r.m.src.ip == s.m.src.ip), None)
