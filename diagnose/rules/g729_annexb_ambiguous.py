"""G.729 without annexb: the standard reads that as yes, much equipment as no. Each side may believe something else."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose import annexb
from diagnose.call import Call
from diagnose.finding import Finding, public_name
from diagnose.report import fact

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 50, "RFC 4856 section 2.1.9, RFC 7261 section 3.3"


def check(call: Call) -> Iterator[Finding]:
    """One finding an agreed G.729 stream in which a side does not say."""
    for x in call.agreements:
        for offered, answered in x.streams():
            a, b = annexb.g729(offered), annexb.g729(answered)
            if a is None or b is None or x.answer is None or 0 in (offered.port, answered.port):
                continue
            r = annexb.read(annexb.said(a), annexb.said(b))
            # Both readings agree as soon as one side says no; what is unequal then is g729-annexb-mismatch's.
            if "absent" not in (r.offer, r.answer) or "no" in (r.offer, r.answer):
                continue
            sides = [(x.offer, "offer", offered, a, r.offer), (x.answer, "answer", answered, b, r.answer)]
            evidence = []
            for step, name, media, codec, value in sides:
                how = "without annexb" if value == "absent" else f"with annexb={value}"
                evidence.append(fact(step, f"the {name} has G729 (payload type {codec.pt}) {how}", media.lines[0][1]))
                evidence += [fact(step, text) for text in annexb.remarks(name, media, codec)]
            silent = " and ".join(name for _, name, _, _, value in sides if value == "absent")
            evidence += [
                fact(None, "RFC 7261 (absent means yes): Annex B in use"),
                fact(None, "older habit (absent means no): Annex B not in use"),
            ]
            yield Finding(
                NAME,
                SEVERITY,
                "certain",
                f"G.729 without annexb in the {silent} ({x.offer.m.src.ip} offered, {x.answer.m.src.ip} answered): "
                "by the standard that is Annex B (VAD), older equipment reads plain G.729A.",
                tuple(evidence),
                f"Send `a=fmtp:{a.pt} annexb=no` (or yes, if silence suppression is wanted) to remove the doubt.",
                REFERENCE,
                PRECEDENCE,
            )
