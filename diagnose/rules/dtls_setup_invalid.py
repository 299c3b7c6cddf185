"""DTLS-SRTP cannot start: both sides wait for the other (a=setup), or one gives no fingerprint for its certificate."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.answers import answered, m_line
from diagnose.call import Call, Exchange, Step
from diagnose.finding import Finding, public_name
from diagnose.profiles import keys
from diagnose.report import fact
from sip.sdp import Media, SessionDescription

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 50, "RFC 5763 section 5, RFC 8842 section 5, RFC 4145 section 4.1"
_FITS = {
    "actpass": ("active", "passive"),
    "active": ("passive",),
    "passive": ("active",),
}


def check(call: Call) -> Iterator[Finding]:
    """One finding for each answering side. What gives no keys of any kind is told as plain against secure RTP."""
    told: set[str] = set()
    for x in answered(call):
        for ours, theirs in x.streams():
            if x.answer is None or x.answered is None or 0 in (ours.port, theirs.port) or x.answer.side in told:
                continue
            a, b = keys(x.offered, ours), keys(x.answered, theirs)
            # Keys by SDES may be chosen beside DTLS, and plain RTP may leave optional keys unused.
            if "crypto" in (*a, *b) or "fingerprint" not in a or "TLS" not in ours.proto.upper():
                continue
            found = _judge(x, x.answer, ours, theirs, "fingerprint" in b)
            if found is not None:
                told.add(x.answer.side)
                yield found


def _judge(x: Exchange, answer: Step, ours: Media, theirs: Media, certified: bool) -> Finding | None:
    offered, taken = _setup(x.offered, ours), _setup(x.answered, theirs)
    if not certified:
        what = f"{answer.m.src.ip} answers without a=fingerprint: its certificate cannot be checked."
        return _made(what, [(answer, "no a=fingerprint in the answer", m_line(theirs))])
    if not offered[0]:
        what = f"{x.offer.m.src.ip} offers a=fingerprint without a=setup: the other side has to guess who begins."
        return _made(what, [(x.offer, "no a=setup in the offer", m_line(ours))], "likely")
    if not taken[0]:
        return _unsaid(x, answer, offered, theirs)
    role = taken[0]
    if offered[0] not in _FITS or role in _FITS[offered[0]]:
        return None
    outcome = "both wait" if role in ("passive", "actpass") else "both begin"
    return _made(
        f"{answer.m.src.ip} answers setup:{role} to setup:{offered[0]}: {outcome}, and no key is agreed.",
        [
            (x.offer, f"setup:{offered[0]} was offered", offered[1]),
            (answer, f"setup:{role} cannot answer that", taken[1] or m_line(theirs)),
        ],
    )


def _unsaid(x: Exchange, answer: Step, offered: tuple[str, str], theirs: Media) -> Finding | None:
    """An answer without a=setup is passive by RFC 4145 section 4.1, and active to many browsers."""
    if offered[0] not in ("active", "passive"):
        return None  # Either fits.
    outcome = "both wait" if offered[0] == "passive" else "both begin"
    return _made(
        f"{answer.m.src.ip} answers without a=setup to setup:{offered[0]}: some read that as passive, others as "
        f"active, and then {outcome}.",
        [
            (x.offer, f"setup:{offered[0]} was offered", offered[1]),
            (answer, "no a=setup in the answer: passive by the standard, active to many browsers", m_line(theirs)),
        ],
        "likely" if offered[0] == "passive" else "possible",
    )


def _setup(sdp: SessionDescription | None, media: Media) -> tuple[str, str]:
    """The role and its line: the stream's own, else the session's."""
    first = next((n for m in (sdp.media[:1] if sdp else ()) for n, _ in m.lines), 0)
    lines = [*(x for _, x in media.lines), *(sdp.lines[:first] if sdp else ())]
    line = next((x for x in lines if x.startswith("a=setup:")), "")
    return line[8:].strip().lower(), line


def _made(headline: str, why: list[tuple[Step, str, str]], confidence: str = "certain") -> Finding:
    return Finding(
        NAME,
        SEVERITY,
        confidence,
        headline,
        tuple(fact(step, text, line) for step, text, line in why),
        "The offer should say a=setup:actpass, the answer a=setup:active, and both their a=fingerprint. Look at the "
        "gateway between the browsers (WebRTC) and the other side; a media relay can do DTLS for it.",
        REFERENCE,
        PRECEDENCE,
    )
