"""A NAT closed the port of a silent device: what is sent there is lost until the device speaks from a new port."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from diagnose.call import SECOND, Call, Step
from diagnose.finding import Finding, public_name
from diagnose.report import fact, seconds
from index.trace import Endpoint
from sip.ip import is_public, literal

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 60, "RFC 3581 section 3, RFC 5626 section 4.4"
_LEEWAY = 5 * SECOND
"""By so much a device may be late with renewing its registration."""
_SLOW = 2 * SECOND
"""Whoever is there has answered by then, with 100 Trying at least (RFC 3261 section 17.2.1)."""


def check(call: Call) -> Iterator[Finding]:
    """One finding for each device behind a NAT, about the shortest silence that cost it its port."""
    for spoken in _devices(call).values():
        ports = [s.m.src.port for s in spoken]
        runs = [p for n, p in enumerate(ports) if n == 0 or ports[n - 1] != p]
        if len(runs) < 2 or len(set(runs)) < len(runs):
            continue  # Never moved; or back at an old port, so that several bindings live side by side.
        found = _judge(call, spoken)
        if found is not None:
            yield found


def closed_ports(call: Call) -> frozenset[Endpoint]:
    """Ports that this rule tells to be closed: that something sent there is lost needs no finding of its own."""
    return call.once(_closed)


def _closed(call: Call) -> frozenset[Endpoint]:
    first = (f.evidence[0].message for f in check(call))
    return frozenset(call.steps[n - 1].m.src for n in first if n is not None)


def _devices(call: Call) -> dict[tuple[str, object, int], list[Step]]:
    """What each device behind a NAT asked over UDP: it always writes the same Via, whatever its NAT makes of that."""
    out: dict[tuple[str, object, int], list[Step]] = {}
    for s in call.requests:
        via = s.m.sip.top_via
        if s.m.transport != "udp" or via is None or len(s.m.sip.vias) > 1 or not is_public(s.m.src.ip):
            continue
        if literal(via.host) is not None:
            out.setdefault((s.m.src.ip, literal(via.host), via.port or 5060), []).append(s)
    return out


def _judge(call: Call, spoken: list[Step]) -> Finding | None:
    kept, moves = 0, []
    for a, b in pairwise(spoken):
        last = _last_heard(call, a, b)
        idle = b.m.ts - last.m.ts
        if a.m.src.port == b.m.src.port:
            kept = max(kept, idle)
            continue
        lost = _lost(call, a, last, b)
        # A host without NAT may send each request from a new port as well; then nothing is lost.
        translated = literal(a.m.sip.top_via.host) != literal(a.m.src.ip) if a.m.sip.top_via else False
        if lost or (translated and b.m.sip.method == "REGISTER" and _still_registered(call, a, idle)):
            moves.append((lost[0].m.ts - last.m.ts if lost else idle, a, b, lost))
    harmed = [m for m in moves if m[3]]
    # Where the same port outlived an equal silence, a restart of the router explains a new one better.
    expired = [m for m in moves if m[0] > kept * 1.1]
    if not harmed and not expired:
        return None
    idle, a, b, lost = min(harmed or expired, key=lambda m: m[0])
    evidence = [fact(a, f"the {a.m.sip.method} came from {a.m.src}", a.header_line("Via"))]
    evidence += [fact(r, f"this {r.m.sip.method} to {r.m.dst} was never answered") for r in lost[:1]]
    evidence.append(fact(b, f"{seconds(b.m.ts - a.m.ts)} later the same device came from port {b.m.src.port}"))
    if kept > SECOND:
        evidence.append(fact(None, f"a silence of {seconds(kept)} did not cost it its port"))
    certain = bool(lost) and idle > kept * 1.1
    confidence = "certain" if certain else "likely" if lost or kept or len(expired) > 1 else "possible"
    if call.trace.losses:
        confidence = "possible"
        evidence.append(fact(None, "packets were lost by the capture while this ran"))
    missed = f"the {lost[0].m.sip.method} sent there was lost" if lost else "calls to it meanwhile went nowhere"
    return Finding(
        NAME,
        SEVERITY if lost else "warning",
        confidence,
        f"The NAT of {a.m.src.ip} closed port {a.m.src.port} within {seconds(idle)} of silence: {missed}.",
        tuple(evidence),
        f"Let something pass more often than every {seconds(idle)}: a NAT ping from the server or keep-alives from the "
        "device, every 20 to 60 s for UDP; or use TCP or TLS, whose bindings live longer.",
        REFERENCE,
        PRECEDENCE,
    )


def _last_heard(call: Call, a: Step, b: Step) -> Step:
    """The last sign that the binding of `a` was alive: it spoke, or was given a reply."""
    between = call.steps[a.number - 1 : b.number - 1]
    return next(
        s for s in reversed(between) if s.m.src == a.m.src or (s.m.dst == a.m.src and not s.m.sip.is_request) or s is a
    )


def _lost(call: Call, a: Step, last: Step, b: Step) -> list[Step]:
    """Requests to the old port that nobody answered."""
    return [
        r
        for r in call.steps[last.number : b.number - 1]
        if r.m.sip.is_request
        and not r.m.retransmission
        and r.m.sip.method not in ("ACK", "CANCEL")
        and r.m.dst == a.m.src
        and not call.answers_to(r)
        and (len(call.copies(r)) > 1 or b.m.ts - r.m.ts > _SLOW)
    ]


def _still_registered(call: Call, a: Step, idle: int) -> bool:
    """The registrar still sent calls to the old port; a device that came back later had no calls to lose."""
    final = call.final_of(a)
    if a.m.sip.method != "REGISTER" or final is None or final.m.sip.code >= 300:
        return False
    mine = next((c for c in a.m.sip.contacts), None)
    granted = [c.params.get("expires") for c in final.m.sip.contacts if mine and c.uri.user == mine.uri.user]
    said = next((g for g in [*granted, final.m.sip.first("Expires"), a.m.sip.first("Expires")] if g), "3600")
    return not said.isascii() or not said.isdigit() or idle <= int(said[:9]) * SECOND + _LEEWAY
