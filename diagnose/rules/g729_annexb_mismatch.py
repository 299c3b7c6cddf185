"""Offer and answer disagree about G.729 Annex B (silence suppression): clipped words, noise between them, or a 488."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose import annexb
from diagnose.call import Call
from diagnose.finding import Finding, public_name
from diagnose.report import fact

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 50, "RFC 4856 section 2.1.9, RFC 7261 section 3.3"


def check(call: Call) -> Iterator[Finding]:
    """One finding an exchange whose two explicit or implied values differ."""
    for x in call.agreements:
        for offered, answered in x.streams():
            a, b = annexb.g729(offered), annexb.g729(answered)
            if a is None or b is None or x.answer is None or 0 in (offered.port, answered.port):
                continue
            r = annexb.read(annexb.said(a), annexb.said(b))
            # Absent means yes by the standard, so yes against absent agrees; no against absent does not.
            if r.offer == r.answer or {r.offer, r.answer} == {"yes", "absent"}:
                continue
            ignored = r.offer == "no" and r.answer == "yes"
            # An answer that leaves out the "no" of its offer is tolerated everywhere.
            severity = "info" if r.offer == "no" and r.answer == "absent" else SEVERITY
            used = "in use" if r.standard else "not in use"
            yield Finding(
                NAME,
                severity,
                "certain",
                f"G.729 annexb: {x.offer.m.src.ip} offered {r.offer}, {x.answer.m.src.ip} answered {r.answer}; "
                f"by the standard Annex B is {used}" + (", and the answerer ignored the offer." if ignored else "."),
                (
                    fact(x.offer, f"offer: annexb {r.offer}", _line(a.pt, a.fmtp)),
                    *(fact(x.offer, text) for text in annexb.remarks("offer", offered, a)),
                    fact(x.answer, f"answer: annexb {r.answer}", _line(b.pt, b.fmtp)),
                    *(fact(x.answer, text) for text in annexb.remarks("answer", answered, b)),
                    fact(None, f"RFC 7261 (absent means yes): Annex B {used}"),
                    fact(None, f"older habit (absent means no): Annex B {'in use' if r.habit else 'not in use'}"),
                ),
                f"Send `a=fmtp:{a.pt} annexb=no` from both sides, and switch silence suppression (VAD) off on them.",
                REFERENCE,
                PRECEDENCE,
            )


def _line(pt: int, fmtp: str | None) -> str:
    return f"a=fmtp:{pt} {fmtp}" if fmtp else ""
