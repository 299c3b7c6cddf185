"""A side numbers its requests inside the call in the wrong order (CSeq): the other side must refuse them with 500."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.dialogs import inside, tags
from diagnose.finding import Finding, public_name
from diagnose.refusals import said
from diagnose.report import fact

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 70, "RFC 3261 sections 12.2.1.1 and 12.2.2"


def check(call: Call) -> Iterator[Finding]:
    """One finding for each side; requests that a proxy passes on are the same request."""
    highest: dict[tuple[str, str, str], Step] = {}
    told: set[tuple[str, str, str]] = set()
    for s in call.requests:
        sip = s.m.sip
        if sip.method in ("ACK", "CANCEL") or not inside(s) or sip.cseq is None or len(sip.vias) != 1:
            continue
        key = (*tags(s), s.m.src.ip)
        before = highest.get(key)
        if before is None or (before.m.sip.cseq or 0) < sip.cseq:
            highest[key] = s
            continue
        # The same request again, to another host or over another path, keeps its number.
        same = before.m.sip.cseq == sip.cseq and before.m.sip.method == sip.method
        if same or before.key[2] == s.key[2] or key in told or s.m.ts == before.m.ts:
            continue
        told.add(key)
        final = call.final_of(s)
        evidence = [
            fact(before, f"{before.m.sip.method} with the number {before.m.sip.cseq}", before.header_line("CSeq")),
            fact(s, f"then {sip.method} with the number {sip.cseq}", s.header_line("CSeq")),
        ]
        refused = final is not None and final.m.sip.code >= 400
        if final is not None:
            evidence.append(fact(final, f"{final.m.src.ip} answered {said(final.m.sip)}"))
        yield Finding(
            NAME,
            "error" if refused and final is not None and final.m.sip.code == 500 else SEVERITY,
            "certain" if final is not None and final.m.sip.code == 500 else "likely",
            f"{s.m.src.ip} gave its {sip.method} the CSeq number {sip.cseq} after {before.m.sip.cseq} in the same call"
            + (f", and {final.m.src.ip} refused it with {said(final.m.sip)}." if refused and final else "."),
            tuple(evidence),
            "Each request inside a call has a higher number than the one before. A device that restarted, or a switch "
            "that joins two legs and does not count for each, does this: report it to its vendor.",
            REFERENCE,
            PRECEDENCE,
        )
