"""The INVITE left the offer to the called side, and the offer (in the 200) or its answer (in the ACK) is missing."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.finding import Finding, public_name
from diagnose.guards import whole
from diagnose.report import fact

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "critical", 50, "RFC 3261 section 13.2.1, RFC 3264 section 5"


def check(call: Call) -> Iterator[Finding]:
    """One finding for each answering side of such an INVITE, said once however many hops passed it on."""
    told: set[tuple[int | None, str]] = set()
    for final in call.responses:
        sip = final.m.sip
        if sip.method != "INVITE" or not 200 <= sip.code < 300 or (sip.cseq, final.side) in told:
            continue
        invites = [r for r in call.requests if _asked(r, final)]
        if not invites or any(r.m.sip.body or not whole(r) for r in invites) or _elsewhere(call, final):
            continue
        found = _judge(call, invites[0], final)
        if found is not None:
            told.add((sip.cseq, final.side))
            yield found


def _asked(r: Step, final: Step) -> bool:
    sip = r.m.sip
    return (
        sip.method == "INVITE"
        and sip.cseq == final.m.sip.cseq
        and r.number < final.number
        and r.m.src.ip == final.m.dst.ip
        and r.side == (final.m.sip.from_.tag if final.m.sip.from_ else "")
    )


def _elsewhere(call: Call, final: Step) -> bool:
    """The exchange ran in reliable provisional responses, PRACK or UPDATE before the 200 (RFC 3262 section 5)."""
    return any(
        s.m.sip.body and (s.m.sip.method in ("PRACK", "UPDATE") or s.m.sip.fields("RSeq"))
        for s in call.steps[: final.number - 1]
    )


def _judge(call: Call, invite: Step, final: Step) -> Finding | None:
    code = f"{final.m.sip.code} {final.m.sip.reason}".strip()
    evidence = [fact(invite, "the INVITE has no body: it asks the called side for the offer", invite.m.sip.start_line)]
    if not final.m.sip.body:
        if not whole(final):
            return None
        evidence.append(fact(final, "the answer brings no offer either", final.m.sip.start_line))
        preview = next((s for s in call.answers_to(invite) if s.m.sip.code < 200 and s.m.sip.sdp is not None), None)
        if preview is not None:
            text = "a session description came only in this unreliable response, where no offer may stand"
            evidence.append(fact(preview, text, preview.m.sip.start_line))
        headline = f"{final.m.src.ip} answered {code} without an offer to an INVITE without one: no media is agreed."
        advice = (
            f"{final.m.src.ip} must put its offer into the 200. Until then switch late offer (delayed offer, INVITE "
            "without SDP) off on the calling side, so that the INVITE carries the offer."
        )
    else:
        acks = call.acks(final)
        if final.m.sip.sdp is None or not acks or any(a.m.sip.body or not whole(a) for a in acks):
            return None
        evidence.append(fact(final, f"{final.m.src.ip} made the offer", final.m.sip.start_line))
        evidence.append(fact(acks[0], "the ACK has no body: the offer has no answer", acks[0].m.sip.start_line))
        headline = f"{acks[0].m.src.ip} sent its ACK without an answer to the offer of {final.m.src.ip}: nobody knows "
        headline += "where to send media."
        advice = (
            f"{acks[0].m.src.ip} must answer in the ACK where its INVITE has no SDP; look at the device that removes "
            "or never writes that body, or let the INVITE carry the offer (early offer)."
        )
    # A re-INVITE that fails so leaves the session that was agreed before.
    later = bool(invite.m.sip.to and invite.m.sip.to.tag)
    if later:
        evidence.append(fact(invite, "this was a change inside the call; what was agreed before may still hold"))
    return Finding(
        NAME,
        "warning" if later else SEVERITY,
        "certain",
        headline,
        tuple(evidence),
        advice,
        REFERENCE,
        PRECEDENCE,
    )
