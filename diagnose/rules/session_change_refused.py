"""A re-INVITE or UPDATE inside the call was refused: hold, codec change or session refresh did not work."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import SECOND, Call
from diagnose.finding import Finding, public_name
from diagnose.report import fact, seconds
from diagnose.rules.changes_collided import collisions

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 70, "RFC 3261 sections 14.1 and 12.2.1.2, RFC 3311 section 5.2"
HARMLESS = frozenset({401, 407, 422, 481, 487, 491})
"""Followed by another try, by its own finding (481), or asked for (487)."""
SOON = 5 * SECOND
MEANING = {
    405: "it does not know the method",
    408: "nothing answered behind it in time",
    488: "it cannot use what was offered; the session stays as it was",
    500: "it was busy with another change or failed",
    501: "it does not know the method",
    606: "it cannot use what was offered; the session stays as it was",
}


def check(call: Call) -> Iterator[Finding]:
    """One finding for each refused change; an error where the call ends right after it."""
    told: set[tuple[str, int | None, str]] = set()
    allowed: dict[str, str] = {}
    byes = [b for b in call.requests if b.m.sip.method == "BYE"]
    collided = {c.refusal.key for c in collisions(call)}
    for s in call.requests:
        sip = s.m.sip
        if sip.method not in ("INVITE", "UPDATE") or not (sip.to and sip.to.tag):
            continue
        final = call.final_of(s)
        key = (sip.method, sip.cseq, s.side)
        if (
            final is None
            or final.m.sip.code < 300
            or final.m.sip.code in HARMLESS
            or key in told
            or final.key in collided
        ):
            continue
        told.add(key)
        if sip.sdp is not None and any(m.kind == "image" for m in sip.sdp.media):
            continue  # a fax that may not change to T.38 is told on its own
        code, reason = final.m.sip.code, final.m.sip.reason
        over = next((b for b in byes if b.number > final.number), None)
        dropped = over is not None and over.m.ts - final.m.ts < SOON
        name = "re-INVITE" if sip.method == "INVITE" else "UPDATE"
        evidence = [fact(s, f"{name} from {s.m.src.ip}"), fact(final, f"{final.m.src.ip} answered {code} {reason}")]
        if final.m.src.ip not in allowed:
            allowed[final.m.src.ip] = ", ".join(_allowed(call, final.m.src.ip))
        if sip.method == "UPDATE" and "UPDATE" not in allowed[final.m.src.ip]:
            evidence.append(fact(None, f"{final.m.src.ip} never listed UPDATE in its Allow header"))
        if dropped and over is not None:
            after = seconds(over.m.ts - final.m.ts)
            evidence.append(fact(over, f"{over.m.src.ip} hung up {after} later", over.header_line("Reason")))
        meaning = f": {MEANING[code]}" if code in MEANING else ""
        yield Finding(
            NAME,
            "error" if dropped else SEVERITY,
            "certain",
            f"{final.m.src.ip} refused the {name} of {s.m.src.ip} with {code} {reason}{meaning}"
            f"{', and the call ended there' if dropped else ''}.",
            tuple(evidence),
            "Compare what was offered with what the first offer of the call had, and with the Allow header of the "
            "refusing side; a refused refresh need not end a call, but many systems hang up then.",
            REFERENCE,
            PRECEDENCE,
        )


def _allowed(call: Call, ip: str) -> list[str]:
    return [m for s in call.steps if s.m.src.ip == ip for m in s.m.sip.all("Allow")]
