"""G.729 without annexb: the standard reads that as yes, much equipment as no. Each side may believe something else."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose import annexb
from diagnose.call import Call
from diagnose.finding import Finding
from diagnose.report import fact

NAME, SEVERITY, PRECEDENCE, REFERENCE = (
    "g729-annexb-ambiguous",
    "warning",
    50,
    "RFC 4856 section 2.1.9, RFC 7261 section 3.3",
)


def check(call: Call) -> Iterator[Finding]:
    """One finding an agreed (or, unanswered, an offered) G.729 stream in which a side does not say."""
    for x in call.exchanges:
        pairs = list(x.streams())
        if not pairs and x.answer is None:
            continue
        for offered, answered in pairs:
            a, b = annexb.g729(offered), annexb.g729(answered)
            if a is None or b is None or answered.port == 0:
                continue
            r = annexb.read(annexb.said(a), annexb.said(b))
            if "absent" not in (r.offer, r.answer) or "no" in (r.offer, r.answer):
                continue  # one "no" settles it by both readings; a differing pair is g729-annexb-mismatch's
            sides = [(x.offer, "offer", a)] * (r.offer == "absent") + [(x.answer, "answer", b)] * (r.answer == "absent")
            evidence = [
                fact(
                    s,
                    f"the {name} has G729 (payload type {c.pt}) without annexb"
                    + (f"; its fmtp says {c.fmtp!r}" if c.fmtp else ""),
                )
                for s, name, c in sides
            ]
            evidence += [
                fact(None, "RFC 7261 (absent means yes): Annex B in use"),
                fact(None, "older habit (absent means no): Annex B not in use"),
            ]
            if any(annexb.odd(c) for _, _, c in sides):
                evidence.append(
                    fact(
                        None, "the fmtp speaks of annexb in a form that no standard knows; strict equipment ignores it"
                    )
                )
            yield Finding(
                NAME,
                SEVERITY,
                "certain",
                "G.729 is agreed without annexb: by the standard that means Annex B (VAD), older equipment reads plain G.729A.",
                tuple(evidence),
                f"Send `a=fmtp:{a.pt} annexb=no` (or yes, if silence suppression is wanted) to remove the doubt.",
                REFERENCE,
                PRECEDENCE,
            )
