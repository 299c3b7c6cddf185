"""420 or 421: one side requires an extension of SIP that the other does not have, or does not offer."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call
from diagnose.finding import Finding, public_name
from diagnose.refusals import request_of, said
from diagnose.report import fact

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 40, "RFC 3261 sections 8.2.2.3, 21.4.15 and 21.4.16"
_BAD, _WANTED = 420, 421


def check(call: Call) -> Iterator[Finding]:
    """One finding for each method and code, at the host that refused it."""
    told: set[tuple[str, int, str]] = set()
    for s in call.responses:
        sip = s.m.sip
        key = (sip.method, sip.code, s.side_of_request)
        if sip.code not in (_BAD, _WANTED) or key in told:
            continue
        told.add(key)
        asked = request_of(call, s)
        header = "Unsupported" if sip.code == _BAD else "Require"
        names = ", ".join(sip.all(header)) or "an extension that it does not name"
        evidence = [fact(s, f"{s.m.src.ip} answered {said(sip)}", s.header_line(header))]
        if asked is not None:
            proxies = not asked.m.sip.first("Require") and bool(asked.m.sip.first("Proxy-Require"))
            name = "Supported" if sip.code == _WANTED else "Proxy-Require" if proxies else "Require"
            has = ", ".join(asked.m.sip.all(name)) or "nothing"
            evidence.append(fact(asked, f"the request says {name}: {has}", asked.header_line(name)))
        later = next(
            (
                r
                for r in call.responses
                if r.number > s.number and r.m.sip.method == sip.method and 200 <= r.m.sip.code < 300
            ),
            None,
        )
        if later is not None:
            evidence.append(fact(later, "a later try was taken: it did not fail for this"))
        what = f"does not know {names}, which {s.m.dst.ip} requires" if sip.code == _BAD else f"demands {names}"
        yield Finding(
            NAME,
            "info" if later else SEVERITY,
            "certain",
            f"{s.m.src.ip} refused the {sip.method} with {said(sip)}: it {what}.",
            tuple(evidence),
            f"Let {s.m.dst.ip} ask for it with Supported in place of Require, or switch it off there."
            if sip.code == _BAD
            else f"Switch {names} on at {s.m.dst.ip}, or let {s.m.src.ip} do without it.",
            REFERENCE,
            90 if later else PRECEDENCE,
        )
