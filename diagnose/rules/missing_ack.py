"""Answered, but the ACK never reached the answering side: it repeats its 200 and hangs up after 32 s."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import SECOND, TIMEOUT, Call, Step
from diagnose.dialogs import stray_acks
from diagnose.finding import Finding, public_name
from diagnose.guards import crosses, silence
from diagnose.replies import misdirected
from diagnose.report import fact, seconds
from diagnose.resends import next_due
from diagnose.rules import answer_crossed_cancel
from diagnose.undelivered import refused_hops

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "critical", 70, "RFC 3261 sections 13.3.1.4, 13.2.2.4 and 12.1.1"


def check(call: Call) -> Iterator[Finding]:
    """One finding for each answer whose ACK never came, at the host that gave it (later hops only pass it on)."""
    told: set[tuple[int | None, str]] = set()
    for s in call.responses:
        sip = s.m.sip
        if sip.method != "INVITE" or not 200 <= sip.code < 300 or (sip.cseq, s.side) in told:
            continue
        told.add((sip.cseq, s.side))
        acks = call.acks(s)
        if any(a.m.dst.ip == s.m.src.ip for a in acks) or stray_acks(call, s):
            continue  # One that came and is not accepted is another matter (ack-ignored).
        if misdirected(call, s) is not None or (s.m.src, s.m.dst) in refused_hops(call):
            continue  # A reply that went astray is told as that: its ACK is missing in consequence.
        if answer_crossed_cancel.race(call, s):
            continue  # Told as that: the caller had given up.
        sends, bye = call.copies(s), _bye(call, s)
        gave_up = bye if bye and bye.m.src.ip == s.m.src.ip and _at_timeout(bye.m.ts - s.m.ts) else None
        if not _still_waiting(call, s, sends, bye, gave_up):
            continue
        confidence, deadline = "certain", s.m.ts + TIMEOUT
        if gave_up is not None:
            deadline = gave_up.m.ts
        elif call.trace.capture_end < deadline and len(sends) > 3:
            # Four sends take 3.5 s, far longer than any path: the missing end of the capture only costs certainty.
            confidence, deadline = "likely", sends[-1].m.ts
        if len(sends) == 1:
            confidence = "likely"  # Usual on a connection, where only the time of the hang-up speaks.
        judged = silence(call, s, deadline, confidence)
        if not judged.believable:
            continue
        yield _finding(s, sends, acks, gave_up, judged.confidence, judged.why)


def _bye(call: Call, s: Step) -> Step | None:
    return next((b for b in call.requests if b.m.sip.method == "BYE" and b.number > s.number), None)


def _at_timeout(waited: int) -> bool:
    return TIMEOUT - SECOND <= waited <= TIMEOUT + 3 * SECOND


def _still_waiting(call: Call, s: Step, sends: tuple[Step, ...], bye: Step | None, gave_up: Step | None) -> bool:
    """The answering side itself shows that it has no ACK: it repeats its answer to the end, or hangs up at 64*T1."""
    if len(sends) < 2:
        return gave_up is not None and s.m.transport != "udp"
    # RFC 3261 section 13.3.1.4; after a longer pause it had its ACK on a path unseen.
    return min(bye.m.ts if bye else call.trace.capture_end, s.m.ts + TIMEOUT) < next_due(sends)


def _finding(
    s: Step, sends: tuple[Step, ...], acks: list[Step], gave_up: Step | None, confidence: str, doubt: str
) -> Finding:
    sip = s.m.sip
    took = seconds(sends[-1].m.ts - s.m.ts)
    evidence = [fact(s, f"{sip.code} {sip.reason} was sent {len(sends)} × within {took} and no ACK came to {s.m.src}")]
    why = "the ACK goes to the Contact of the 200, and that is missing"
    if sip.contacts:
        target = sip.contacts[0].uri
        why = f"the ACK goes to {target.text}"
        private = ", a private address" if crosses(target.host, s) else ""
        evidence.append(fact(s, why + private, s.header_line("Contact")))
    evidence += [fact(a, f"an ACK went to {a.m.dst} instead") for a in acks[:1]]
    hung_up = ""
    if gave_up is not None:
        after = seconds(gave_up.m.ts - s.m.ts)
        hung_up = f" and hung up after {after}"
        evidence.append(fact(gave_up, f"{gave_up.m.src.ip} hung up {after} after its answer"))
    if doubt:
        evidence.append(fact(None, doubt))
    return Finding(
        NAME,
        SEVERITY,
        confidence,
        f"{s.m.src.ip} answered but never got the ACK{hung_up}; {why}.",
        tuple(evidence),
        "Make the Contact of the 200 reachable (NAT handling at the answering side) and see that the calling side "
        "keeps the Record-Route set. Ask the calling side whether it sent the ACK, and where to.",
        REFERENCE,
        PRECEDENCE,
    )
