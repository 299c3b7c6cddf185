"""The call was answered but the ACK never reached the answering side: it sends its 200 again and again and hangs up after 32 s."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import TIMEOUT, Call
from diagnose.finding import Finding
from diagnose.guards import crosses, silence
from diagnose.report import fact, seconds

NAME, SEVERITY, PRECEDENCE, REFERENCE = "missing-ack", "critical", 70, "RFC 3261 sections 13.3.1.4, 13.2.2.4 and 12.1.1"


def check(call: Call) -> Iterator[Finding]:
    """One finding for each answer without its ACK on that hop."""
    for s in call.responses:
        sip = s.m.sip
        if sip.method != "INVITE" or not 200 <= sip.code < 300:
            continue
        acks = [
            a
            for a in call.steps
            if a.m.sip.is_request and a.m.sip.method == "ACK" and a.m.sip.cseq == sip.cseq and a.number > s.number
        ]
        if any(a.m.dst.ip == s.m.src.ip for a in acks):
            continue
        sends = call.copies(s)
        bye = next((b for b in call.requests if b.m.sip.method == "BYE" and b.number > s.number), None)
        gave_up = (
            bye is not None
            and bye.m.src.ip == s.m.src.ip
            and TIMEOUT - 2_000_000_000 < bye.m.ts - s.m.ts < TIMEOUT + 3_000_000_000
        )
        # Without resends (always so on TCP and TLS) only the hang-up at 32 s shows that the ACK was waited for.
        if len(sends) < 2 and not gave_up:
            continue
        judged = silence(call, s, (sends[-1].m.ts if len(sends) > 2 else s.m.ts + TIMEOUT) if not gave_up else s.m.ts)
        if not judged.believable and not gave_up:
            continue
        target = sip.contacts[0].uri if sip.contacts else None
        evidence = [
            fact(
                s,
                f"{sip.code} {sip.reason} was sent {len(sends)} × within {seconds(sends[-1].m.ts - s.m.ts)} and no ACK came to {s.m.src}",
            )
        ]
        why = "the ACK goes to the Contact of the 200, and that is missing"
        if target is not None:
            why = f"the ACK goes to {target.text}"
            private = crosses(target.host, s)
            evidence.append(fact(s, why + (", a private address" if private else ""), s.header_line("Contact")))
        for a in acks[:1]:
            evidence.append(fact(a, f"an ACK went to {a.m.dst} instead"))
        if gave_up and bye is not None:
            evidence.append(fact(bye, f"{bye.m.src.ip} hung up {seconds(bye.m.ts - s.m.ts)} after its answer"))
        yield Finding(
            NAME,
            SEVERITY,
            judged.confidence,
            f"{s.m.src.ip} answered but never got the ACK"
            + (f" and hung up after {seconds(bye.m.ts - s.m.ts)}" if gave_up and bye else "")
            + f"; {why}.",
            tuple(evidence),
            "Make the Contact of the 200 reachable (NAT handling at the answering side) and see that the calling side keeps the Record-Route set. "
            "Ask the calling side whether it sent the ACK, and where to.",
            REFERENCE,
            PRECEDENCE,
        )
