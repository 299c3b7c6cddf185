"""Plain against secure RTP: which profile a stream names, with which keys, and when a refusal is about that. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from diagnose.answers import PLAIN, SECURE, family
from diagnose.call import Call, Step
from sip.sdp import Media, SessionDescription

NAMES = {PLAIN: "plain RTP", SECURE: "secure RTP"}
_KEYS = ("crypto", "fingerprint", "key-mgmt", "zrtp-hash")
"""Where the keys come from: RFC 4568, 5763, 4567, 6189."""
_OF_CODECS = ("304", "305")
_OF_TRANSPORT = "302"


@dataclass(frozen=True, slots=True)
class Clash:
    """A refusal of the profile."""

    why: str
    confidence: str
    step: Step
    line: str = ""


def audio(sdp: SessionDescription | None) -> list[Media]:
    """Audio streams that are not switched off."""
    return [m for m in (sdp.media if sdp else ()) if m.kind == "audio" and m.port != 0]


def keys(sdp: SessionDescription, media: Media) -> list[str]:
    """Names of the attributes that tell how keys are agreed, the stream's own and the session's."""
    said = {name for name, _ in (*media.attributes, *sdp.attributes)}
    lines = [x for _, x in media.lines]
    return [k for k in _KEYS if k in said] + ["k="] * any(x.startswith("k=") for x in lines)


def clash(call: Call, offer: Step, final: Step) -> Clash | None:
    """Why this refusal (488, 606, 415, or every audio stream at port 0) is about the profile; None where it is not."""
    offered = {family(m.proto) for m in audio(offer.m.sip.sdp)}
    if len(offered) != 1 or not offered <= NAMES.keys():
        return None
    (ours,) = offered
    sip = final.m.sip
    for warning in sip.all("Warning"):
        if warning.startswith(_OF_TRANSPORT):
            return Clash("the Warning speaks of the transport protocol", "certain", final, f"Warning: {warning}")
    able = {family(m.proto) for m in (sip.sdp.media if sip.sdp else ()) if m.kind == "audio"}
    if sip.code >= 300 and able and ours not in able and able <= NAMES.keys():
        (theirs,) = able
        line = next(m.lines[0][1] for m in sip.sdp.media if m.kind == "audio") if sip.sdp else ""
        return Clash(f"the refusal says that it takes {NAMES[theirs]}", "certain", final, line)
    retry = _retry(call, offer, final, ours)
    if retry is not None:
        there = audio(retry.m.sip.sdp)[0]
        text = f"the same side tried again with {NAMES[family(there.proto)]}, and was answered"
        return Clash(text, "likely", retry, there.lines[0][1])
    if ours == SECURE and not able and not any(w.startswith(_OF_CODECS) for w in sip.all("Warning")):
        # Whoever knows plain RTP only refuses the whole stream; of its codecs such a refusal says nothing.
        return Clash("all of the offer was secure RTP, and the refusal does not blame a codec", "likely", final)
    return None


def _retry(call: Call, offer: Step, final: Step, ours: str) -> Step | None:
    """A later offer of the same side with the same codecs and the other profile that was answered with a 2xx."""
    before = {c.name.upper() for m in audio(offer.m.sip.sdp) for c in m.codecs}
    for r in call.requests:
        if r.number < final.number or r.m.sip.method != "INVITE" or r.m.src.ip != offer.m.src.ip:
            continue
        streams = audio(r.m.sip.sdp)
        answer = call.final_of(r)
        if (
            streams
            and answer is not None
            and 200 <= answer.m.sip.code < 300
            and {c.name.upper() for m in streams for c in m.codecs} <= before
            and {family(m.proto) for m in streams} == {PLAIN, SECURE} - {ours}
        ):
            return r
    return None
