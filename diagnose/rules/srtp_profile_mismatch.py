"""One side wants secure RTP (SRTP), the other plain RTP; or secure RTP is named without keys: refused, or no audio."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.answers import PLAIN, SECURE, answered, family, m_line
from diagnose.call import Call, Exchange, Step
from diagnose.finding import Evidence, Finding, public_name
from diagnose.guards import whole
from diagnose.profiles import NAMES, audio, clash, keys
from diagnose.report import fact
from diagnose.rules.no_common_codec import REFUSALS, refused_offers
from sip.sdp import Media

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "critical", 50, "RFC 4568 section 5.1, RFC 5763 section 5, RFC 3264 section 6"
_ADVICE = (
    "Set the same media encryption on both sides: require SRTP on both, or on none, or let the switch or a media relay "
    "change between RTP/SAVP and RTP/AVP on the way."
)


def check(call: Call) -> Iterator[Finding]:
    """One finding for each answering side and kind of clash, said once however many hops passed it on."""
    told: set[tuple[str, str]] = set()
    for key, finding in (*_keyless(call), *_refusals(call), *_answers(call)):
        if key not in told:
            told.add(key)
            yield finding


def _keyless(call: Call) -> Iterator[tuple[tuple[str, str], Finding]]:
    """A stream of secure RTP from which nobody can learn keys."""
    for s in call.steps:
        sip = s.m.sip
        if sip.sdp is None or not whole(s) or sip.code >= 300:
            continue
        bad = next((m for m in audio(sip.sdp) if family(m.proto) == SECURE and not keys(sip.sdp, m)), None)
        if bad is not None:
            text = f"{bad.proto} without a=crypto, a=fingerprint or another source of keys"
            yield (
                (s.side, "keys"),
                _made(
                    SEVERITY,
                    "certain",
                    f"{s.m.src.ip} wants {bad.proto} but gives no keys for it: no audio can be decrypted.",
                    [fact(s, text, m_line(bad))],
                ),
            )


def _refusals(call: Call) -> Iterator[tuple[tuple[str, str], Finding]]:
    """The profile was refused, with a code or with port 0."""
    for offer, final in refused_offers(call):
        found = clash(call, offer, final)
        first = next(iter(audio(offer.m.sip.sdp)), None)
        if found is None or first is None or not _keyed(offer, first):
            continue
        sip = final.m.sip
        said = f"{sip.code} {sip.reason}" if sip.code in REFUSALS else "every audio stream is refused"
        evidence = [
            fact(offer, f"offered as {first.proto} only", m_line(first)),
            fact(final, f"refused: {said}"),
            fact(found.step, found.why, found.line),
        ]
        later = call.answered_after(final) if sip.code >= 300 else None
        if later is not None:
            evidence.append(fact(later, "a later try was answered: the call did not fail"))
        headline = f"{final.m.src.ip} does not take {NAMES[family(first.proto)]} ({first.proto}): {said}."
        yield (
            (final.side or final.m.src.ip, f"refused {sip.cseq}"),
            _made("warning" if later else SEVERITY, found.confidence, headline, evidence),
        )


def _keyed(step: Step, media: Media) -> bool:
    """Secure RTP without keys is told as that, not as a refusal."""
    sdp = step.m.sip.sdp
    return family(media.proto) != SECURE or (sdp is not None and bool(keys(sdp, media)))


def _answers(call: Call) -> Iterator[tuple[tuple[str, str], Finding]]:
    """The answer took another profile than the offer's, or left optional keys unused."""
    for x in answered(call):
        for ours, theirs in x.streams():
            profiles = family(ours.proto), family(theirs.proto)
            if x.answer is None or x.answered is None or 0 in (ours.port, theirs.port) or theirs.kind != "audio":
                continue
            if set(profiles) == {PLAIN, SECURE}:
                yield (x.answer.side, "answer"), _mismatch(x, x.answer, ours, theirs)
            elif profiles == (PLAIN, PLAIN):
                optional = _optional(keys(x.offered, ours))
                if optional:
                    yield (x.answer.side, "optional"), _opportunistic(x, x.answer, ours, theirs, optional)


def _mismatch(x: Exchange, answer: Step, ours: Media, theirs: Media) -> Finding:
    evidence = [
        fact(x.offer, f"offered as {ours.proto}", m_line(ours)),
        fact(answer, f"answered as {theirs.proto}", m_line(theirs)),
    ]
    severity, confidence, outcome = SEVERITY, "certain", "the two cannot understand each other"
    if family(ours.proto) == PLAIN and _optional(keys(x.offered, ours)):
        severity, confidence, outcome = (
            "error",
            "likely",
            "only a caller that expects such an answer will follow",
        )
        evidence.append(fact(x.offer, "the offer has keys beside its plain profile (optional encryption)"))
    headline = f"{answer.m.src.ip} answers {theirs.proto} to an offer of {ours.proto}: {outcome}."
    return _made(severity, confidence, headline, evidence)


def _optional(found: list[str]) -> str:
    """The attribute by which plain RTP is offered with optional keys (RFC 8643); ZRTP belongs to plain RTP."""
    return next((k for k in found if k in ("crypto", "fingerprint")), "")


def _opportunistic(x: Exchange, answer: Step, ours: Media, theirs: Media, optional: str) -> Finding:
    taken = x.answered is not None and bool(_optional(keys(x.answered, theirs)))
    outcome = "the answer takes them" if taken else f"{answer.m.src.ip} leaves them, so the call is not encrypted"
    line = next((t for _, t in ours.lines if t.startswith(f"a={optional}")), m_line(ours))
    return _made(
        "info",
        "certain",
        f"{x.offer.m.src.ip} offers plain RTP with optional keys (a={optional}): {outcome}.",
        [fact(x.offer, f"{ours.proto} with a={optional}", line), fact(answer, outcome, m_line(theirs))],
    )


def _made(severity: str, confidence: str, headline: str, evidence: list[Evidence]) -> Finding:
    return Finding(NAME, severity, confidence, headline, tuple(evidence), _ADVICE, REFERENCE, PRECEDENCE)
