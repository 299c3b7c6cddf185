"""G.729 and annexb: what an offer and an answer mean by the standard and by the older habit.

RFC 4856 section 2.1.9 says that an absent parameter means yes, RFC 7261 section 3.3 what a pair of values means.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sip.sdp import Codec, Media

VENDOR_NAMES = frozenset({"G729A", "G729B", "G729AB", "G729R8", "G729BR8"})
_SAID = re.compile(r"(?:^|;)\s*annexb\s*=\s*(yes|no)\s*(?:;|$)", re.IGNORECASE)
_SPEAKS = re.compile(r"annexb|^\s*(?:yes|no)\s*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reading:
    """Whether Annex B (silence suppression) is in use, as each convention reads the pair."""

    offer: str
    """yes, no or absent."""
    answer: str
    standard: bool
    """By RFC 7261: absent means yes; in use only when both say so."""
    habit: bool
    """By much equipment's reading: absent means no."""


def g729(media: Media) -> Codec | None:
    """The stream's G.729 format, under its own or a vendor's name."""
    return next((c for c in media.codecs if c.name.upper() == "G729" or c.name.upper() in VENDOR_NAMES), None)


def said(codec: Codec) -> str:
    """yes, no, or absent."""
    match = _SAID.search(codec.fmtp or "")
    return match[1].lower() if match else "absent"


def odd(codec: Codec) -> bool:
    """The fmtp speaks of annexb in a form that no standard knows (annexb=0, annexb:no, a bare no)."""
    return bool(codec.fmtp and said(codec) == "absent" and _SPEAKS.search(codec.fmtp))


def remarks(side: str, media: Media, codec: Codec) -> list[str]:
    """What is wrong with the form of a side's parameters, in words."""
    out = []
    if odd(codec):
        out.append(
            f"the {side}'s fmtp {codec.fmtp!r} is a form of annexb that no standard knows; strict equipment ignores it"
        )
    lines = [v.partition(" ") for n, v in media.attributes if n == "fmtp" and v]
    if sum(pt == str(codec.pt) for pt, _, _ in lines) > 1:
        out.append(f"the {side} has several fmtp lines for payload type {codec.pt}; the last one was read")
    g729s = {str(c.pt) for c in media.codecs if c.name.upper().startswith("G729")}
    out += [
        f"the {side} says {value.strip()!r} for payload type {pt}, which is not its G.729: it counts for nothing"
        for pt, _, value in lines
        if pt not in g729s and "annexb" in value.lower()
    ]
    return out


def read(offer: str, answer: str) -> Reading:
    """One of the nine combinations."""
    return Reading(offer, answer, offer != "no" and answer != "no", offer == answer == "yes")
