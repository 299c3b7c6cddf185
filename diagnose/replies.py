"""Where replies go, and whether the one who asked had them. Pure."""

from __future__ import annotations

from diagnose.call import MAGIC, SECOND, Call, Step
from diagnose.finding import Evidence
from diagnose.report import fact
from sip.ip import is_private, is_public, literal


def deaf(call: Call, s: Step, reply: Step) -> Evidence | None:
    """The sender shows that it never had the reply: it sends its request again, or no ACK for a final one."""
    again = next((c for c in call.copies(s) if c.m.ts > reply.m.ts), None)
    if again is not None:
        return fact(again, "the sender repeated its request after that: it never had the reply")
    final = next((r for r in call.answers_to(s) if r.m.sip.code >= 200), None)
    if s.m.sip.method != "INVITE" or final is None or call.trace.capture_end < final.m.ts + SECOND:
        return None
    if any(a.m.src.ip == s.m.src.ip for a in call.acks(final)):
        return None
    return fact(final, "no ACK followed: the sender never had this reply")


def heeded(call: Call, s: Step, reply: Step) -> Step | None:
    """What the sender did next in this call."""
    return next((r for r in call.requests if r.number > reply.number and r.m.src.ip == s.m.src.ip), None)


def misdirected(call: Call, reply: Step) -> Step | None:
    """The request to which this reply went astray: not back to its source, though its Via asks for that.

    UDP only. Replies to the Via's port for want of rport (RFC 3261 section 18.2.2) are not astray."""
    if reply.m.transport != "udp" or not reply.key[2].startswith(MAGIC):
        return None
    asked = [s for s in call.requests_of(reply.key) if s.number < reply.number]
    # A tap on both sides of a NAT sees the request from two sources; a reply to either is right.
    if any(s.m.src == reply.m.dst for s in asked):
        return None
    return next((s for s in asked if s.m.dst.ip == reply.m.src.ip and _astray(s, reply)), None)


def _astray(s: Step, reply: Step) -> bool:
    via, noted = s.m.sip.top_via, reply.m.sip.top_via
    if via is None or noted is None or "maddr" in via.params:
        return False
    elsewhere = reply.m.dst.ip != s.m.src.ip
    if elsewhere and is_private(s.m.src.ip) and is_public(reply.m.dst.ip):
        return False  # The request was seen before the NAT, the reply behind it.
    to_via = literal(via.host) is not None and literal(via.host) == literal(reply.m.dst.ip)
    if elsewhere and to_via and literal(noted.params.get("received") or "") == literal(s.m.src.ip):
        return False  # The replying side knew the source; the NAT has already translated what is seen here.
    return "rport" in via.params or (elsewhere and to_via and is_private(via.host))
