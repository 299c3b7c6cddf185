"""A host or router says by ICMP that a message could not be delivered: nothing listens there, no route, a firewall."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.finding import Finding, public_name
from diagnose.forms import title
from diagnose.report import fact
from diagnose.undelivered import undelivered
from index.trace import IcmpError

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "critical", 10, "RFC 3261 sections 18.4 and 8.1.3.1, RFC 792, RFC 4443 section 3"
_PORT = ("nothing listens on that port", "Start the service there, or correct the port: the host itself is up.")
_HOST = ("the host cannot be reached", "The host is off or has another address: look there, and at its network.")
_NET = ("there is no route to that network", "Look at the routing of the host that says so, and at the address.")
_WALL = ("a firewall forbids it", "Let this traffic through the firewall that says so (source, target and port).")
_LARGE = (
    "the packet is too large for the path and may not be cut",
    "Make the message smaller or use TCP; a smaller MTU, or fragments that are allowed, help as well.",
)
_OTHER = ("it could not be delivered", "Ask the operator of the host that says so.")
_MEANING = {
    (4, 3): {0: _NET, 1: _HOST, 3: _PORT, 4: _LARGE, 6: _NET, 7: _HOST, 9: _WALL, 10: _WALL, 13: _WALL},
    (6, 1): {0: _NET, 1: _WALL, 3: _HOST, 4: _PORT, 5: _WALL},
}


def check(call: Call) -> Iterator[Finding]:
    """One finding for each target and kind of error; context where the message got its answer all the same."""
    found: dict[tuple[str, int, int], list[tuple[IcmpError, Step]]] = {}
    for e, s in undelivered(call):
        found.setdefault((str(e.dst), e.kind, e.code), []).append((e, s))
    for errors in found.values():
        e, s = errors[0]
        what, advice = (
            _LARGE if (e.version, e.kind) == (6, 2) else _MEANING.get((e.version, e.kind), {}).get(e.code, _OTHER)
        )
        evidence = [
            fact(s, f"{title(s)} from {s.m.src} to {s.m.dst}, sent {len(call.copies(s))} ×"),
            fact(
                s,
                f"{e.by} answered with ICMP{'v6' if e.version == 6 else ''} type {e.kind} code {e.code}: {what}"
                + (f", {len(errors)} times" if len(errors) > 1 else ""),
            ),
        ]
        severity, later = _severity(call, s)
        if later is not None:
            evidence.append(fact(later, "this came all the same: the call did not fail for it"))
        yield Finding(
            NAME,
            severity,
            "certain",
            f"The {title(s)} of {s.m.src.ip} did not reach {s.m.dst}: {e.by} says that {what}.",
            tuple(evidence),
            advice,
            REFERENCE,
            PRECEDENCE if severity != "info" else 90,
        )


def _severity(call: Call, s: Step) -> tuple[str, Step | None]:
    """How bad it is, and what shows that it was not."""
    if not s.m.sip.is_request:
        ended = next((a for a in call.acks(s)), None) if s.m.sip.method == "INVITE" else None
        return ("info", ended) if ended is not None else ("error", None)
    final = call.final_of(s)
    if final is not None and final.m.src.ip == s.m.dst.ip:
        return "info", final
    if s.m.sip.method != "INVITE":
        return "error", None
    later = call.answered_after(s)
    return ("warning", later) if later is not None else (SEVERITY, None)
