"""The caller heard nothing for too long after dialling; it says behind which hop the time went."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.beyond import further
from diagnose.call import SECOND, Call, Step
from diagnose.finding import Evidence, Finding, public_name
from diagnose.guards import JUMP
from diagnose.report import fact, seconds

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 70, "RFC 3261 section 13.2.2 and RFC 6076 section 4.3"
LIMIT = 5 * SECOND


def check(call: Call) -> Iterator[Finding]:
    """One finding a call: from the INVITE that was taken (not the one that was challenged) to the first sign."""
    if not call.seen_from_start:
        return
    for s in call.invites:
        sign = _sign(call, s)
        if sign is None:
            continue
        delay = sign.m.ts - s.m.ts
        if LIMIT < delay < JUMP:
            behind, evidence = _share(call, s)
            lossy = bool(call.trace.losses)
            doubt = [fact(None, "packets were lost by the capture: an earlier ringing may be among them")] * lossy
            yield Finding(
                NAME,
                SEVERITY,
                "possible" if lossy else "certain",
                f"It took {seconds(delay)} from the INVITE until {s.m.src.ip} heard of ringing or an answer{behind}.",
                (
                    fact(s, f"INVITE from {s.m.src} to {s.m.dst}"),
                    *evidence,
                    fact(sign, f"the first sign, {sign.m.sip.code} {sign.m.sip.reason}, after {seconds(delay)}"),
                    *doubt,
                ),
                "Look at the hop that took the time: several carriers tried in turn, slow number look-up or DNS, or a "
                "mobile that has to be found.",
                REFERENCE,
                PRECEDENCE,
            )
        return  # hops further on tell the same again


def _sign(call: Call, invite: Step) -> Step | None:
    """180, a preview with SDP, or an answer (RFC 6076 section 4.3 counts from INVITE to these)."""
    return next(
        (
            a
            for a in call.answers_to(invite)
            if a.m.sip.code == 180 or 200 <= a.m.sip.code < 300 or (a.m.sip.code in (181, 182, 183) and a.m.sip.sdp)
        ),
        None,
    )


def _share(call: Call, first: Step) -> tuple[str, list[Evidence]]:
    """What of the delay was spent behind the next hop, and how long it kept the INVITE itself."""
    onward = [s for s in call.onward(first) if s.m.sip.method == "INVITE"]
    evidence = []
    reply = call.answers_to(first)[0]
    sends = [c for c in call.copies(first) if c.number < reply.number]
    if len(sends) > 1:
        waited = seconds(reply.m.ts - first.m.ts)
        evidence.append(fact(reply, f"the first reply of any kind came after {waited} and {len(sends)} sends"))
    for s in onward:
        sign = _sign(call, s)
        if sign is not None:
            behind = sign.m.ts - s.m.ts
            evidence.append(
                fact(s, f"{first.m.dst.ip} sent it on after {seconds(s.m.ts - first.m.ts)} to {s.m.dst.ip}")
            )
            return f", {seconds(behind)} of it behind {s.m.dst.ip}", evidence
        final = call.final_of(s)
        if final is not None:
            took = seconds(final.m.ts - s.m.ts)
            evidence.append(fact(final, f"{s.m.dst.ip} was tried before and took {took} to say {final.m.sip.code}"))
    beyond_switch, beyond = _on_other_legs(call, first)
    if beyond:
        return beyond_switch, [*evidence, *beyond]
    return (f", all of it behind {first.m.dst.ip}" if not onward else ""), evidence


def _on_other_legs(call: Call, first: Step) -> tuple[str, list[Evidence]]:
    """The same through a switch, where each further leg is a call of its own: the longest share of the furthest hop."""
    evidence, longest, where = [], 0, ""
    for way in further(call):
        c, kept = way.leg, seconds(way.leg.start - first.m.ts)
        if c.pdd_ms is not None:
            took, how = int(c.pdd_ms * 1e6), "rang or was answered"
        elif c.final_code is not None:
            took, how = c.end - c.start, f"ended with {c.final_code}"
        else:
            took, how = c.end - c.start, "said nothing until the end"
        evidence.append(fact(None, f"leg {c.call_id} went to {c.dst} after {kept}, and {how} after {seconds(took)}"))
        if took >= longest * 0.9:  # of two in a row the further one
            longest, where = took, c.dst.rpartition(":")[0].strip("[]")
    return (f", {seconds(longest)} of it behind {where}" if where else ""), evidence
