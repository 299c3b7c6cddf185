"""A request from a translated port without `rport`: replies go to the port in its Via, where a NAT drops them."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.finding import Finding, public_name
from diagnose.replies import deaf, heeded
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
        repeated, went_on = deaf(call, s, wrong), heeded(call, s, wrong)
        if repeated is not None:
            severity, confidence = "error", "certain"
            evidence.append(repeated)
        elif went_on is not None and not translated:
            return None  # It listens on that port and sends from another: unusual, and no fault.
        elif went_on is not None:
            severity, confidence = "info", "certain"
            evidence.append(fact(went_on, "the sender went on as if it had the reply: a forwarding lets it in"))
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
