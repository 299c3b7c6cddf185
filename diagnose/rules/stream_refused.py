"""The answer refuses one of the offered streams (port 0), for example the video: the call goes on without it."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.answers import answered, m_line
from diagnose.call import Call
from diagnose.finding import Finding, public_name
from diagnose.report import fact

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "info", 90, "RFC 3264 section 6"


def check(call: Call) -> Iterator[Finding]:
    """One finding for each answering side and kind. An answer that refuses all of its streams is no context."""
    told: set[tuple[str, str]] = set()
    for x in answered(call):
        theirs = x.answered.media if x.answered else ()
        if x.answer is None or len(theirs) != len(x.offered.media) or all(m.port == 0 for m in theirs):
            continue
        for a, b in zip(x.offered.media, theirs, strict=False):
            key = x.answer.side, b.kind
            # A stream of a kind that is taken elsewhere was one of two forms of the same (plain and secure RTP).
            taken = any(m.kind == a.kind and m.port != 0 for m in theirs)
            if a.port == 0 or b.port != 0 or a.kind != b.kind or taken or key in told:
                continue
            told.add(key)
            yield Finding(
                NAME,
                SEVERITY,
                "certain",
                f"{x.answer.m.src.ip} takes no {b.kind}: the call goes on without it.",
                (
                    fact(x.offer, f"{x.offer.m.src.ip} offers {a.kind} ({a.proto})", m_line(a)),
                    fact(x.answer, "port 0 refuses this stream", m_line(b)),
                ),
                f"Nothing, unless {b.kind} was expected: then allow it, with a common codec, on {x.answer.m.src.ip}.",
                REFERENCE,
                PRECEDENCE,
            )
