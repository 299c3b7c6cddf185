"""One side tests inside the call whether the other is still there, gets no answer, and hangs up a working call."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import SECOND, TIMEOUT, Call, Step
from diagnose.dialogs import inside, tags
from diagnose.finding import Finding, public_name
from diagnose.guards import silence
from diagnose.report import fact, seconds
from diagnose.rules.nat_binding_expired import closed_ports

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 70, "RFC 3261 sections 11 and 12.2.1.2"
_PINGS = ("OPTIONS", "INFO")
_PATIENT, _SOON = 4 * SECOND, TIMEOUT + 30 * SECOND
"""No side gives up sooner after its ping; later the hang-up has another reason."""


def check(call: Call) -> Iterator[Finding]:
    """One finding for the hang-up of the side that had asked in vain."""
    for over in hang_ups(call):
        silent = unanswered(call, over)
        if not silent:
            continue
        first, last = silent[0], silent[-1]
        judged = silence(call, last, min(over.m.ts, last.m.ts + TIMEOUT))
        if not judged.believable:
            continue
        evidence = [
            fact(s, f"{s.m.sip.method} inside the call to {s.m.dst}, sent {len(call.copies(s))} ×; no answer")
            for s in silent[:3]
        ]
        text = f"{over.m.src.ip} hung up {seconds(over.m.ts - last.m.ts)} after the last of them"
        evidence.append(fact(over, text, over.header_line("Reason")))
        gone = call.final_of(over)
        alive = gone is not None and gone.m.src.ip == last.m.dst.ip
        if gone is not None and alive:
            evidence.append(fact(gone, f"{gone.m.src.ip} did answer the BYE: it was there all the time"))
        if judged.why:
            evidence.append(fact(None, judged.why))
        times = f"{len(silent)} pings" if len(silent) > 1 else "a ping"
        yield Finding(
            NAME,
            SEVERITY,
            judged.confidence if alive else "possible" if judged.confidence == "possible" else "likely",
            f"{over.m.src.ip} hung up after {last.m.dst.ip} had not answered {times} inside the call "
            f"({first.m.sip.method}).",
            tuple(evidence),
            "The device ignores such requests inside a call, or they do not reach it (NAT, its Contact). Switch the "
            "ping off towards it, use session timers in its place, or repair the way there.",
            REFERENCE,
            PRECEDENCE,
        )


def hang_ups(call: Call) -> list[Step]:
    """BYEs; of a flood the first ones."""
    return [b for b in call.requests if b.m.sip.method == "BYE"][:50]


def unanswered(call: Call, over: Step) -> list[Step]:
    """Pings of the side that hung up, after the last one that was answered, if they can be its reason."""
    silent: list[Step] = []
    closed = closed_ports(call)
    for s in call.requests:
        if s.m.sip.method not in _PINGS or not inside(s) or tags(s) != tags(over) or s.number > over.number:
            continue
        if s.m.src.ip != over.m.src.ip or s.m.sip.body or s.m.dst in closed:
            continue
        if call.answers_to(s):
            silent.clear()
        else:
            silent.append(s)
    if not silent or not _PATIENT <= over.m.ts - silent[-1].m.ts <= _SOON:
        return []
    # Whoever hung up because it was asked to, or after the other side had spoken again, had another reason.
    spoke = any(
        s.m.sip.is_request and s.m.dst.ip == over.m.src.ip and s.side == tags(over)[1]
        for s in call.steps[silent[-1].number : over.number - 1]
    )
    return [] if spoke else silent
