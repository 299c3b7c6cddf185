"""G.729 and annexb: what an offer and an answer mean by the standard and by the older habit (RFC 4856 section 2.1.9, RFC 7261 section 3.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sip.sdp import Codec, Media

VENDOR_NAMES = frozenset({"G729A", "G729B", "G729AB", "G729R8", "G729BR8"})
_SAID = re.compile(r"(?:^|;)\s*annexb\s*=\s*(yes|no)\s*(?:;|$)", re.IGNORECASE)
_ODD = re.compile(r"annexb\s*(?:=\s*[01]|:\s*(?:yes|no))|^\s*(?:yes|no)\s*$", re.IGNORECASE)


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

    @property
    def doubtful(self) -> bool:
        """The two conventions disagree, or one side is silent."""
        return self.standard != self.habit or "absent" in (self.offer, self.answer)


def g729(media: Media) -> Codec | None:
    """The stream's G.729 format, under its own or a vendor's name."""
    return next((c for c in media.codecs if c.name.upper() == "G729" or c.name.upper() in VENDOR_NAMES), None)


def said(codec: Codec) -> str:
    """yes, no, or absent."""
    match = _SAID.search(codec.fmtp or "")
    return match[1].lower() if match else "absent"


def odd(codec: Codec) -> bool:
    """The fmtp speaks of annexb in a form that no standard knows."""
    return bool(codec.fmtp and said(codec) == "absent" and _ODD.search(codec.fmtp))


def read(offer: str, answer: str) -> Reading:
    """One of the nine combinations."""
    return Reading(offer, answer, offer != "no" and answer != "no", offer == answer == "yes")
