"""A message too large for one UDP packet: it travels in IP fragments, which firewalls and NATs like to drop."""

from __future__ import annotations

from collections.abc import Iterator

from capture.flags import FRAGMENT_LOST, FRAGMENTED
from diagnose.call import TIMEOUT, Call, Step
from diagnose.finding import Evidence, Finding, public_name
from diagnose.forms import title
from diagnose.guards import silence
from diagnose.report import fact, listed

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 12, "RFC 3261 section 18.1.1"
_LIMIT = 1300
"""Above it a request must go over a stream where the path's MTU is unknown."""
_ETHERNET = 1500
_HEADERS = {False: 28, True: 48}
"""IP and UDP, by IPv6 or not."""


def check(call: Call) -> Iterator[Finding]:
    """One finding for the call: the largest message that nobody answers, or else the largest."""
    large = [s for s in (*call.requests, *call.responses) if s.m.transport == "udp" and _large(s)]
    if not large:
        return
    silent = [(s, judged) for s in large if (judged := _unanswered(call, s)) is not None]
    s, confidence = max(silent, key=lambda pair: _size(pair[0])) if silent else (max(large, key=_size), "certain")
    severity = "error" if silent else SEVERITY if _split(s) or _size(s) > _fits(s) else "info"
    least = "at least " if s.m.flags & FRAGMENT_LOST else ""
    size, how = _size(s), "in IP fragments" if _split(s) else "in one packet"
    if silent:
        harm = "nothing came back, and a firewall that drops fragments is the usual cause"
    elif severity == "info":
        harm = "a few headers more, and it is cut into fragments, which many firewalls drop"
    else:
        harm = "many firewalls drop those" if _split(s) else "on an Ethernet path it is cut into fragments"
    evidence = [fact(s, f"{least}{size} bytes from {s.m.src} to {s.m.dst} over UDP, {how}")]
    evidence += [fact(s, "some of its fragments never came to this capture")] if least else []
    evidence += _filling(s)
    yield Finding(
        NAME,
        severity,
        confidence,
        f"The {title(s)} of {s.m.src.ip} has {least}{size} bytes over UDP and travels {how}: {harm}.",
        tuple(evidence),
        "Use TCP or TLS between these two, or make the message smaller: fewer codecs, no video, no ICE candidates, "
        "fewer extra headers. See that firewalls on the way let fragments through.",
        REFERENCE,
        PRECEDENCE if silent else 90,
    )


def _size(s: Step) -> int:
    return len(s.m.sip.raw)


def _split(s: Step) -> bool:
    return bool(s.m.flags & (FRAGMENTED | FRAGMENT_LOST))


def _fits(s: Step) -> int:
    return _ETHERNET - _HEADERS[":" in s.m.src.ip]


def _large(s: Step) -> bool:
    """Responses go where the request came from, however large: only real fragments count there."""
    return _split(s) or (s.m.sip.is_request and _size(s) > _LIMIT)


def _unanswered(call: Call, s: Step) -> str | None:
    """How sure we are that it never arrived; None where it did, or where nothing follows from silence."""
    sip = s.m.sip
    fragile = _split(s) or _size(s) > _fits(s)
    if not sip.is_request or sip.method == "ACK" or not fragile or call.answers_to(s):
        return None
    judged = silence(call, s, s.m.ts + TIMEOUT, "likely")
    return judged.confidence if judged.believable else None


def _filling(s: Step) -> list[Evidence]:
    """What makes it so large."""
    sip = s.m.sip
    parts = [f"{len(sip.body)} bytes of body"] if sip.body else []
    if sip.sdp is not None:
        codecs = sum(len(m.formats) for m in sip.sdp.media)
        parts.append(f"{len(sip.sdp.media)} media streams with {codecs} formats")
        candidates = sip.body.count(b"a=candidate:")
        parts += [f"{candidates} ICE candidates"] if candidates else []
    hops = len(sip.vias)
    parts += [f"{hops} Via"] if hops > 1 else []
    return [fact(s, f"in it: {listed(parts)}")] if parts else []
