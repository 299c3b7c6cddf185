"""A REGISTER, SUBSCRIBE, PUBLISH or MESSAGE was refused: a phone stays unreachable, or a service of it fails."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import SECOND, Call, Step
from diagnose.credentials import succeeded_after
from diagnose.finding import Evidence, Finding, public_name
from diagnose.guards import silence
from diagnose.refusals import explanations, request_of, said
from diagnose.report import fact
from diagnose.scanners import is_scan

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 40, "RFC 3261 sections 10.3 and 21, RFC 6665 section 4.2.1"
_LOST = {
    "REGISTER": "calls to it find nobody",
    "SUBSCRIBE": "it will not be told what it asked for",
    "PUBLISH": "others do not learn of its state",
    "MESSAGE": "the message was not delivered",
}
_TOLD_ELSEWHERE = frozenset({401, 403, 407, 408, 420, 421, 481, 482, 483})
_SAYS_MORE = {
    405: "Allow",
    415: "Accept",
    423: "Min-Expires",
    489: "Allow-Events",
    500: "Retry-After",
    503: "Retry-After",
}
_ASKED_TO_RETRY, _PATIENCE = 423, 5 * SECOND
"""A device that learns that it asked for too short a time asks again at once (RFC 3261 section 10.2.8)."""
_LACKS = "The server does not do this: switch it off on the device, or let another server do it."
_ADVICE = {
    404: "The server does not know this user or domain: compare user name and domain on both sides.",
    405: _LACKS,
    423: "Let the device ask for a longer time: Min-Expires says how long at least.",
    489: _LACKS,
    501: _LACKS,
}
_FAILED = "The server failed: its log at this time says why. Give the device a second server that it may turn to."
_OTHER = "Look into that server's log for this Call-ID; its reason phrase and headers are above."


def check(call: Call) -> Iterator[Finding]:
    """One finding for each method and code; a refusal that the next try overcomes is no matter."""
    groups: dict[tuple[str, int], list[Step]] = {}
    taken = {(s.m.sip.method, s.m.sip.cseq) for s in call.responses if 200 <= s.m.sip.code < 300}
    told: set[tuple[str, int | None]] = set()
    for s in call.responses:
        sip = s.m.sip
        key = (sip.method, sip.cseq)
        # What a hop passes on, or makes of it, has the CSeq of the first; one branch of several may be taken after all.
        if sip.method not in _LOST or sip.code < 400 or key in told or key in taken:
            continue
        told.add(key)
        if sip.code == _ASKED_TO_RETRY and not silence(call, s, s.m.ts + _PATIENCE).believable:
            continue
        if sip.code not in _TOLD_ELSEWHERE and _begins(call, s) and succeeded_after(call, s) is None:
            groups.setdefault((sip.method, sip.code), []).append(s)
    if groups and not is_scan(call):
        for group in groups.values():
            yield _finding(call, group)


def _begins(call: Call, s: Step) -> bool:
    """The refused request is outside any dialog. A REGISTER always is; of another the request must be here."""
    asked = request_of(call, s)
    return s.m.sip.method == "REGISTER" or (asked is not None and not (asked.m.sip.to and asked.m.sip.to.tag))


def _finding(call: Call, group: list[Step]) -> Finding:
    s, sip = group[0], group[0].m.sip
    asked = request_of(call, s)
    asker = sip.from_.uri.user if sip.from_ and sip.from_.uri.user else s.m.dst.ip
    evidence = [fact(s, f"{s.m.src.ip} answered {said(sip)}", sip.start_line), *_more(s, asked)]
    later = next((r for r in call.responses if r.number > group[-1].number and _taken(r, sip.method)), None)
    if later is not None:
        evidence.append(fact(later, f"a later {sip.method} was accepted"))
    times = f" {len(group)} ×" if len(group) > 1 else ""
    return Finding(
        NAME,
        SEVERITY if sip.method == "REGISTER" and later is None else "warning",
        silence(call, s, s.m.ts).confidence if sip.code == _ASKED_TO_RETRY else "certain",
        f"{s.m.src.ip} refused the {sip.method} of {asker}{times} with {said(sip)}: {_LOST[sip.method]}"
        + (" until a later one." if later else "."),
        tuple(evidence),
        _ADVICE.get(sip.code, _FAILED if sip.code >= 500 else _OTHER),
        REFERENCE,
        PRECEDENCE,
    )


def _more(s: Step, asked: Step | None) -> Iterator[Evidence]:
    sip = s.m.sip
    for value, line in explanations(s):
        yield fact(s, f"it says why: {value}", line)
    header = _SAYS_MORE.get(sip.code, "")
    if header and sip.first(header):
        yield fact(s, f"its {header} says {', '.join(sip.all(header))}", s.header_line(header))
    if sip.code == 405 and sip.method in sip.all("Allow"):
        package = asked.m.sip.first("Event") if asked is not None else ""
        what = f"the event package {package}" if package else "this use of it"
        yield fact(s, f"it lists {sip.method} among what it allows: it may only lack {what}")


def _taken(r: Step, method: str) -> bool:
    return r.m.sip.method == method and 200 <= r.m.sip.code < 300
