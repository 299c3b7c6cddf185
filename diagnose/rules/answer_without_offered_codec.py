"""The answer accepts a stream but names no codec of the offer: both sides talk, neither understands."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call
from diagnose.finding import Finding, public_name
from diagnose.report import fact, listed
from sip.sdp import Media

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 50, "RFC 3264 section 6.1"
_NOT_SPEECH = frozenset({"telephone-event", "cn", "red"})


def speech(media: Media) -> set[tuple[str, int, int]]:
    """(name, clock, channels) of the codecs that carry speech."""
    return {(c.name.upper(), c.clock, c.channels) for c in media.codecs if c.name.lower() not in _NOT_SPEECH}


def check(call: Call) -> Iterator[Finding]:
    """One finding an accepted audio stream without anything in common."""
    for x in call.agreements:
        for offered, answered in x.streams():
            if x.answer is None or 0 in (offered.port, answered.port) or answered.kind != "audio":
                continue
            ours, theirs = speech(offered), speech(answered)
            # A clock of 0 is a dynamic payload type without its rtpmap: nobody can say what it is.
            if not ours or ours & theirs or any(clock == 0 for _, clock, _ in ours | theirs):
                continue
            a, b = (listed([c.name for c in m.codecs]) for m in (offered, answered))
            yield Finding(
                NAME,
                SEVERITY,
                "certain",
                f"The answer of {x.answer.m.src.ip} has no codec of the offer: offered {a}, answered {b}.",
                (
                    fact(x.offer, f"offered {a}", offered.lines[0][1]),
                    fact(x.answer, f"answered {b}", answered.lines[0][1]),
                ),
                "The answering side must pick from the offer; correct its codec list, or let the switch transcode.",
                REFERENCE,
                PRECEDENCE,
            )
