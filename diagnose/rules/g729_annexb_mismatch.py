"""Offer and answer disagree about G.729 Annex B (silence suppression): clipped words, noise between them, or a 488."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose import annexb
from diagnose.call import Call
from diagnose.finding import Finding
from diagnose.report import fact

NAME, SEVERITY, PRECEDENCE, REFERENCE = (
    "g729-annexb-mismatch",
    "warning",
    50,
    "RFC 4856 section 2.1.9, RFC 7261 section 3.3",
)


def check(call: Call) -> Iterator[Finding]:
    """One finding an exchange whose two explicit or implied values differ."""
    for x in call.exchanges:
        for offered, answered in x.streams():
            a, b = annexb.g729(offered), annexb.g729(answered)
            if a is None or b is None or x.answer is None or answered.port == 0:
                continue
            r = annexb.read(annexb.said(a), annexb.said(b))
            # Absent means yes by the standard, so yes against absent agrees; no against absent does not.
            if r.offer == r.answer or {r.offer, r.answer} == {"yes", "absent"}:
                continue
            ignored = r.offer == "no" and r.answer == "yes"
            severity = "info" if r.offer == "no" and r.answer == "absent" else SEVERITY
            used = "in use" if r.standard else "not in use"
            yield Finding(
                NAME,
                severity,
                "certain",
                f"G.729 annexb: offered {r.offer}, answered {r.answer}; by the standard Annex B is {used}"
                + (", and the answerer ignored the offer" if ignored else "")
                + ".",
                (
                    fact(x.offer, f"offer: annexb {r.offer}", _line(a.pt, a.fmtp)),
                    fact(x.answer, f"answer: annexb {r.answer}", _line(b.pt, b.fmtp)),
                    fact(None, f"RFC 7261 (absent means yes): Annex B {used}"),
                    fact(None, f"older habit (absent means no): Annex B {'in use' if r.habit else 'not in use'}"),
                ),
                f"Send `a=fmtp:{a.pt} annexb=no` from both sides, and switch silence suppression (VAD) off on them.",
                REFERENCE,
                PRECEDENCE,
            )


def _line(pt: int, fmtp: str | None) -> str:
    return f"a=fmtp:{pt} {fmtp}" if fmtp else ""
