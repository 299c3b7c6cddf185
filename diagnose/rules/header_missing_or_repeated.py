"""A header that every message needs is missing, stands twice or contradicts the start line."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import MAGIC, Call, Step
from diagnose.finding import Finding, public_name
from diagnose.forms import title, whole
from diagnose.report import fact, listed

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 85, "RFC 3261 sections 8.1.1, 8.1.1.7 and 7.3.1"
_ALWAYS = ("Via", "From", "To", "Call-ID", "CSeq")
_ONCE = ("From", "To", "Call-ID", "CSeq", "Max-Forwards", "Content-Length", "Content-Type")
_MINOR = ("no Max-Forwards", "a branch of the old kind")
"""Usual in devices of the days of RFC 2543, and mostly without harm."""


def check(call: Call) -> Iterator[Finding]:
    """One finding for each host, for all that is wrong with its messages. What a host answers it copies."""
    wrong: dict[str, dict[str, tuple[Step, str]]] = {}
    for s in call.steps:
        if not s.m.retransmission and whole(s):
            for problem, line in _problems(s):
                wrong.setdefault(s.m.src.ip, {}).setdefault(problem, (s, line))
    for ip, found in wrong.items():
        minor = all(p in _MINOR for p in found)
        first = next(iter(found.values()))[0]
        named = [*found] if len(found) < 5 else [*list(found)[:4], f"{len(found) - 4} more faults"]
        yield Finding(
            NAME,
            "info" if minor else SEVERITY,
            "certain",
            f"{ip} sends messages with {listed(named)} (first in its {title(first)}).",
            tuple(fact(s, f"the {title(s)} has {problem}", line) for problem, (s, line) in list(found.items())[:10]),
            "Strict devices refuse or ignore such messages: update or correct the sender, or whoever rewrites its "
            "headers on the way.",
            REFERENCE,
            PRECEDENCE,
        )


def _problems(s: Step) -> Iterator[tuple[str, str]]:
    sip = s.m.sip
    for name in _ALWAYS:
        if not sip.first(name):
            yield f"no {name}", ""
    if not sip.is_request:
        for name in ("Content-Length", "Content-Type"):
            yield from _repeated(s, name)
        if sip.method == "INVITE" and 200 <= sip.code < 300 and sip.to is not None and not sip.to.tag:
            # Section 8.2.6.2: without it there is no dialog that ACK and BYE could belong to.
            yield "no tag in its To", s.header_line("To")
        return
    for name in _ONCE:
        yield from _repeated(s, name)
    for name, party in (("From", sip.from_), ("To", sip.to)):
        if party is not None and sip.first(name) and not (party.uri.scheme or party.uri.host):
            yield f"no readable address in its {name}", s.header_line(name)
    if not sip.fields("Max-Forwards"):
        yield "no Max-Forwards", ""
    if sip.first("CSeq") and sip.cseq is None:
        yield "no number in its CSeq", s.header_line("CSeq")
    elif sip.cseq_method and sip.cseq_method != sip.method:
        yield f"the CSeq method {sip.cseq_method} in a {sip.method}", s.header_line("CSeq")
    if sip.top_via is not None and not sip.top_via.branch.startswith(MAGIC):
        yield "a branch of the old kind" if sip.top_via.branch else "no branch in its Via", s.header_line("Via")
    elif sip.top_via is not None and sip.top_via.branch == MAGIC:
        yield f"a branch of nothing but {MAGIC}, the same for every request", s.header_line("Via")


def _repeated(s: Step, name: str) -> Iterator[tuple[str, str]]:
    fields = s.m.sip.fields(name)
    if len(fields) > 1:
        yield f"{len(fields)} × {name}", f"{fields[1].written}: {fields[1].value}"
