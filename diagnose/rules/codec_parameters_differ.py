"""Both sides name the same codec with parameters that exclude each other (AMR alignment, iLBC mode, H.264 packets)."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.answers import answered, m_line
from diagnose.call import Call, Exchange, Step
from diagnose.finding import Finding, public_name
from diagnose.report import fact, listed
from sip.sdp import Codec, Media

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 50, "RFC 4867 section 8.3, RFC 3952 section 5, RFC 6184 section 8.2.2"
_MUST_AGREE = {
    "AMR": ("octet-align", "0"),
    "AMR-WB": ("octet-align", "0"),
    "ILBC": ("mode", "30"),
    "H264": ("packetization-mode", "0"),
}
"""Parameter and the value that holds where it is absent."""


def check(call: Call) -> Iterator[Finding]:
    """One finding for each answering side and codec: what it answered was in no form of the offer."""
    told: set[tuple[str, str]] = set()
    for x in answered(call):
        for kind in ("audio", "video"):
            for ours, theirs in x.streams(kind):
                if x.answer is None or 0 in (ours.port, theirs.port):
                    continue
                for codec in theirs.codecs:
                    key = x.answer.side, codec.name.upper()
                    found = _judge(x, x.answer, ours, theirs, codec) if key not in told else None
                    if found is not None:
                        told.add(key)
                        yield found


def _judge(x: Exchange, answer: Step, ours: Media, theirs: Media, codec: Codec) -> Finding | None:
    name, default = _MUST_AGREE.get(codec.name.upper(), ("", ""))
    # The answer may name the codec in several forms as well; one that fits is enough.
    answers = [_value(c, name, default) for c in theirs.codecs if c.name.upper() == codec.name.upper()]
    offers = [c for c in ours.codecs if (c.name.upper(), c.clock) == (codec.name.upper(), codec.clock)]
    values = [_value(c, name, default) for c in offers]
    if not name or not offers or set(values) & set(answers):
        return None
    said = _value(codec, name, default)
    return Finding(
        NAME,
        # Of iLBC's two modes both sides use the one of less bandwidth: different ones are legal (RFC 3952 section 5).
        "info" if name == "mode" else SEVERITY,
        "likely",
        f"{answer.m.src.ip} answers {codec.name} with {name}={said}, {x.offer.m.src.ip} offered {name}="
        f"{listed(sorted(set(values)))}.",
        (
            fact(x.offer, f"{codec.name} with {name}={values[0]}{_absent(offers[0], name)}", _line(ours, offers[0])),
            fact(answer, f"{codec.name} with {name}={said}{_absent(codec, name)}", _line(theirs, codec)),
        ),
        f"Set {name} of {codec.name} to the same value on both sides, or leave the codec out.",
        REFERENCE,
        PRECEDENCE,
    )


def _parameters(codec: Codec) -> dict[str, str]:
    pairs = (p.partition("=") for p in (codec.fmtp or "").split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _value(codec: Codec, name: str, default: str) -> str:
    return _parameters(codec).get(name) or default


def _absent(codec: Codec, name: str) -> str:
    return "" if name in _parameters(codec) else " (not written, so this value holds)"


def _line(media: Media, codec: Codec) -> str:
    starts = f"a=fmtp:{codec.pt} ", f"a=rtpmap:{codec.pt} "
    return next((x for start in starts for _, x in media.lines if x.startswith(start)), m_line(media))
