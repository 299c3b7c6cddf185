"""The ACK came, and the answering side still repeats its 200: the ACK does not belong to its answer, or got lost."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import SECOND, TIMEOUT, Call, Step
from diagnose.dialog_routes import difference
from diagnose.dialogs import stray_acks, tags
from diagnose.finding import Evidence, Finding, public_name
from diagnose.report import fact, seconds
from diagnose.resends import next_due
from sip.address import parse_uri

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 70, "RFC 3261 sections 13.2.2.4, 12.2.1.1 and 13.3.1.4"


def check(call: Call) -> Iterator[Finding]:
    """One finding for each answer, at the host that gave it (later hops only pass it on)."""
    told: set[tuple[int | None, str]] = set()
    for s in call.responses:
        sip = s.m.sip
        if sip.method != "INVITE" or not 200 <= sip.code < 300 or (sip.cseq, s.side) in told:
            continue
        told.add((sip.cseq, s.side))
        acks = [a for a in call.acks(s) if a.m.dst.ip == s.m.src.ip] or stray_acks(call, s)
        if not acks:
            continue
        again = [c for c in call.copies(s) if c.number > acks[0].number]
        # One repetition may have crossed the ACK.
        if len(again) < 2 or again[-1].m.ts - acks[0].m.ts < SECOND or not _to_the_end(call, s):
            continue
        yield _finding(call, s, acks[0], again)


def _to_the_end(call: Call, s: Step) -> bool:
    """It never was content: it repeats until somebody hangs up, 64*T1 have passed, or the capture ends."""
    bye = next((b.m.ts for b in call.requests if b.m.sip.method == "BYE" and b.number > s.number), None)
    return next_due(call.copies(s)) >= min(bye or call.trace.capture_end, s.m.ts + TIMEOUT)


def _finding(call: Call, s: Step, a: Step, again: list[Step]) -> Finding:
    sip = s.m.sip
    after = seconds(again[-1].m.ts - a.m.ts)
    evidence = [
        fact(a, f"an ACK came to {a.m.dst} {seconds(a.m.ts - s.m.ts)} after the {sip.code}"),
        fact(again[-1], f"the {sip.code} was repeated {len(again)} × after that, the last time {after} later"),
    ]
    mismatch = _mismatch(call, s, a)
    evidence += mismatch[1]
    bye = next((b for b in call.requests if b.m.sip.method == "BYE" and b.number > again[-1].number), None)
    if bye is not None and bye.m.src.ip == s.m.src.ip:
        evidence.append(fact(bye, f"{bye.m.src.ip} hung up {seconds(bye.m.ts - s.m.ts)} after its answer"))
    return Finding(
        NAME,
        SEVERITY,
        "certain" if mismatch[1] else "likely",
        f"{s.m.src.ip} goes on repeating its {sip.code} for {after} although an ACK from {a.m.src.ip} came: "
        f"{mismatch[0]}.",
        tuple(evidence),
        "Compare the ACK with the 200: both tags, the CSeq number, a branch of its own, the Contact as its request "
        "URI, the Record-Route set as its Route. Where all is equal, the ACK is lost between this capture and that "
        "host, or a node behind a load balancer got it.",
        REFERENCE,
        PRECEDENCE,
    )


def _mismatch(call: Call, s: Step, a: Step) -> tuple[str, list[Evidence]]:
    """The first thing in which the ACK does not belong to the answer."""
    if a.m.sip.cseq != s.m.sip.cseq:
        text = f"its CSeq number is {a.m.sip.cseq}, the INVITE's {s.m.sip.cseq}"
        return text, [fact(a, text, a.header_line("CSeq"))]
    for name, mine, theirs in (("From", tags(a)[0], tags(s)[0]), ("To", tags(a)[1], tags(s)[1])):
        if mine != theirs:
            text = f"its {name} tag is {mine or 'missing'}, the answer's {theirs}"
            return text, [fact(a, text, a.header_line(name))]
    if a.key[2] == s.key[2]:
        text = "it has the branch of the INVITE, where a 200 needs a new one"
        return text, [fact(a, text, a.header_line("Via"))]
    routed = difference(call, a)
    if routed is not None:
        what, expected, found = routed
        text = f"its {what} is {found} instead of {expected}"
        return text, [fact(a, text, a.m.sip.start_line)]
    uri, contacts = parse_uri(a.m.sip.uri), s.m.sip.contacts
    if contacts and (uri.user, uri.host) != (contacts[0].uri.user, contacts[0].uri.host):
        text = f"its request URI is {uri.text}, the Contact of the answer {contacts[0].uri.text}"
        return text, [fact(a, text, a.m.sip.start_line)]
    return "nothing in it is wrong, so it is lost behind this capture or not understood", []
