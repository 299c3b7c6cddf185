"""Content-Length and the body disagree: the end of the body is ignored, or the message was cut on its way."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.finding import Finding, public_name
from diagnose.forms import title, whole
from diagnose.report import fact
from sip.text import text_of

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 45, "RFC 3261 sections 18.3 and 20.14"
_PADDING = b"\r\n\0 \t"
"""What some senders put behind a body; nobody misses it."""
_STREAMS = ("tcp", "tls")
_ALG = (
    "Look for whoever changes bodies on the way without counting again (SIP ALG of a router: switch it off), else for "
    "an error in the sender."
)


def check(call: Call) -> Iterator[Finding]:
    """One finding for each side and kind."""
    told: set[tuple[str, str]] = set()
    for s in call.steps:
        if s.m.retransmission or not whole(s) or s.m.transport == "sctp":
            continue
        kind = _kind(s)
        if kind and (s.side, kind) not in told:
            told.add((s.side, kind))
            yield _finding(call, s, kind)


def _kind(s: Step) -> str:
    fields, body = s.m.sip.fields("Content-Length"), s.m.sip.body
    if not fields:
        return "absent" if s.m.transport in _STREAMS else ""
    said = _number(fields[0].value)
    if said is None:
        return "no number"
    if said > len(body):
        return "short"
    return "long" if body[said:].strip(_PADDING) else ""


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _finding(call: Call, s: Step, kind: str) -> Finding:
    sip, who, what = s.m.sip, s.m.src.ip, title(s)
    said, there = sip.first("Content-Length"), len(sip.body)
    severity, line = SEVERITY, s.header_line("Content-Length")
    evidence = [fact(s, f"Content-Length says {said or 'nothing'}, {there} bytes of body are there", line)]
    if kind == "absent":
        headline = f"{who} sends its {what} over {s.m.transport.upper()} without Content-Length: its end is a guess."
        advice = "On a stream every message needs a Content-Length: update the sender."
    elif kind == "no number":
        headline = f"{who} gives no number as the Content-Length of its {what}: {said[:40]}."
        advice = _ALG
    elif kind == "short":
        missing = int(said) - there
        headline = f"{who}'s {what} lacks {missing} of the {said} bytes that its Content-Length promises."
        advice = f"The message was cut on its way (a lost IP fragment, a buffer). {_ALG}"
    else:
        cut = sip.body[int(said) :]
        lost = next((x for x in text_of(cut).replace("\r", "\n").split("\n") if x.strip()), "")
        headline = f"{who}'s {what} has {len(cut)} bytes more than its Content-Length of {said}: they are ignored."
        if not sip.first("Content-Type"):
            severity = "warning"
            evidence.append(fact(s, f'no body was announced (no Content-Type); "{lost[:60]}" is never read'))
        else:
            evidence.append(fact(s, f'whoever obeys the length loses the body from "{lost[:60]}" on'))
        advice = _ALG
        if s.m.transport in _STREAMS:
            evidence.append(fact(s, "on a stream the rest is taken for the start of the next message"))
    refusal = call.final_of(s) if sip.is_request else None
    if refusal is not None and refusal.m.sip.code in (400, 488, 500, 606):
        text = f"{refusal.m.src.ip} answered {refusal.m.sip.code} {refusal.m.sip.reason}"
        evidence.append(fact(refusal, text, refusal.m.sip.start_line))
    return Finding(NAME, severity, "certain", headline, tuple(evidence), advice, REFERENCE, PRECEDENCE)
