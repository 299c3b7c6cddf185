"""The called side refused every codec of the offer (488, 606 or 415, or an answer in which all audio is refused)."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.dialogs import inside
from diagnose.finding import Finding, public_name
from diagnose.guards import weakened
from diagnose.profiles import clash
from diagnose.report import fact, listed
from diagnose.rules import sdp_malformed
from diagnose.rules.address_family_mismatch import refused_family
from sip.sdp import SessionDescription

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "critical", 50, "RFC 3261 section 21.4.26, RFC 3264 section 6"
REFUSALS = (488, 606, 415)


def names(sdp: SessionDescription | None) -> list[str]:
    """Audio codecs of a description."""
    return [
        c.name
        for m in (sdp.media if sdp else ())
        if m.kind == "audio"
        for c in m.codecs
        if c.name.lower() not in ("telephone-event", "cn")
    ]


def fax(sdp: SessionDescription | None) -> bool:
    """The offer is about fax (T.38): an image stream, and audio switched off at most."""
    wanted = [m.kind for m in (sdp.media if sdp else ()) if m.port != 0]
    return "image" in wanted and "audio" not in wanted


def refused_offers(call: Call) -> list[tuple[Step, Step]]:
    """Offers with the final response that refused them, the hop next to the refusing side first."""
    out = []
    for s in call.requests:
        if s.m.sip.method not in ("INVITE", "UPDATE") or not names(s.m.sip.sdp) or fax(s.m.sip.sdp):
            continue
        final = call.final_of(s)
        if final is None:
            continue
        audio = [m for m in (final.m.sip.sdp.media if final.m.sip.sdp else ()) if m.kind == "audio"]
        silent = 200 <= final.m.sip.code < 300 and audio and all(m.port == 0 for m in audio)
        if final.m.sip.code in REFUSALS or silent:
            out.append((s, final))
    return sorted(out, key=lambda pair: pair[1].number)


def check(call: Call) -> Iterator[Finding]:
    """One finding for each refused offer, said once however many hops passed the refusal on."""
    told: set[tuple[int | None, str]] = set()
    for s, final in refused_offers(call):
        who = final.m.sip.cseq, final.side or final.m.src.ip
        # Plain against secure RTP, and IPv4 against IPv6, are said by rules of their own, whatever the codecs.
        if who in told or clash(call, s, final) is not None or refused_family(final):
            continue
        if _agreed_before(call, s):
            continue  # A change of the running call was refused, and not for its codecs (session-change-refused).
        if inside(s) and not call.seen_from_start:
            continue  # What was agreed on before is not seen here.
        told.add(who)
        refused = final.m.sip.code in REFUSALS
        offered = names(s.m.sip.sdp)
        lines = [x for x in s.m.sip.lines() if x.startswith("m=audio")]
        evidence = [fact(s, f"offered: {listed(offered)}", lines[0] if lines else "")]
        evidence.append(
            fact(
                final,
                f"refused with {final.m.sip.code} {final.m.sip.reason}" if refused else "answered with audio port 0",
            )
        )
        able = names(final.m.sip.sdp) if refused else []
        if refused and not able and any(sdp_malformed.defects(s)):
            continue  # It could not be read at all.
        if able:
            evidence.append(fact(final, f"the refusal says it could take {listed(able)}"))
        evidence += [fact(final, "Warning header", f"Warning: {w}") for w in final.m.sip.all("Warning")]
        later = call.answered_after(final) if refused else None
        if later is not None:
            evidence.append(fact(later, "a later try was answered: the call did not fail"))
        common = [c for c in able if c.upper() in {o.upper() for o in offered}]
        confidence = "certain" if not refused or (able and not common) else "likely"
        yield Finding(
            NAME,
            "warning" if later else SEVERITY,
            weakened(call, confidence) if inside(s) else confidence,
            f"{final.m.src.ip} takes none of the offered codecs ({listed(offered)})"
            + (f": {final.m.sip.code} {final.m.sip.reason}." if refused else ": every audio stream is refused."),
            tuple(evidence),
            f"Allow a common codec on this route: add {able[0] if able else 'PCMA or PCMU'} on the calling side, or "
            "let the switch transcode. If only G.729 differs, look at annexb and its name first.",
            REFERENCE,
            PRECEDENCE,
        )


def _agreed_before(call: Call, offer: Step) -> bool:
    """Inside a call that already agreed on one of the offered codecs."""
    to = offer.m.sip.to
    if not (to and to.tag):
        return False
    answers = [x.answered for x in call.agreements if x.answer is not None and x.answer.number < offer.number]
    agreed = {n.upper() for sdp in answers for n in names(sdp)}
    return any(n.upper() in agreed for n in names(offer.m.sip.sdp))
