"""A session description that breaks its own grammar: lines missing, in the wrong order, or an address of no kind."""

from __future__ import annotations

import re
from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.finding import Finding, public_name
from diagnose.guards import whole
from diagnose.refusals import said
from diagnose.report import fact, listed
from sip.ip import literal
from sip.sdp import SessionDescription

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 50, "RFC 8866 sections 5, 5.7 and 9, RFC 3261 section 7.4"
_ORDER = "vosiuepcbtrzka"
_NEEDED = {"v": "version", "o": "origin", "s": "session name", "t": "time"}
_HOST = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")
_REFUSED = (400, 415, 488, 500, 606)
"""How a host says that it could not read it."""
_LONGEST = 200


def check(call: Call) -> Iterator[Finding]:
    """One finding for each host that writes such a description; critical where it was refused."""
    told: set[str] = set()
    for s in call.steps:
        if s.m.retransmission or not s.m.sip.body or s.m.src.ip in told or not whole(s):
            continue
        wrong = list(defects(s))
        if not wrong:
            continue
        told.add(s.m.src.ip)
        final = call.final_of(s) if s.m.sip.is_request else None
        refused = final is not None and final.m.sip.code in _REFUSED
        evidence = [fact(s, text, line if len(line) <= _LONGEST else "") for text, line in wrong[:6]]
        if refused and final is not None:
            evidence.append(fact(final, f"{final.m.src.ip} answered {said(final.m.sip)}"))
        yield Finding(
            NAME,
            "critical" if refused else SEVERITY,
            "likely" if refused else "certain",
            f"{s.m.src.ip} writes a session description that strict devices refuse: {wrong[0][0]}"
            + (f", and {len(wrong) - 1} more." if len(wrong) > 1 else "."),
            tuple(evidence),
            "Report it to the vendor of that device; if it comes through a router or an ALG, see whether that changed "
            "it. An SBC can often repair it on the way.",
            REFERENCE,
            PRECEDENCE,
        )


def defects(s: Step) -> Iterator[tuple[str, str]]:
    """What is wrong, with the line."""
    sip, kind = s.m.sip, s.m.sip.first("Content-Type").lower()
    begins = sip.body.lstrip().startswith(b"v=0")
    if begins and kind and not kind.startswith(("application/sdp", "multipart/")):
        yield f"its Content-Type is {kind.partition(';')[0]}, not application/sdp", s.header_line("Content-Type")
        return
    sdp = sip.sdp
    if sdp is None:
        if kind.startswith("application/sdp"):
            yield "its body is no session description at all", s.header_line("Content-Type")
        return
    head = [x for x in sdp.lines[: next((n for n, x in enumerate(sdp.lines) if x.startswith("m=")), len(sdp.lines))]]
    missing = [
        f"{letter}= ({name})" for letter, name in _NEEDED.items() if not any(x.startswith(letter + "=") for x in head)
    ]
    if missing:
        yield f"it has no {listed(missing)} line", ""
    letters = [x[0] for x in head if len(x) > 1 and x[1] == "=" and x[0] in _ORDER]
    places = [_ORDER.index("t") if x in "trz" else _ORDER.index(x) for x in letters]
    if not missing and places != sorted(places):
        at = next(n for n in range(1, len(places)) if places[n] < places[n - 1])
        yield f"its {letters[at]}= line stands after {letters[at - 1]}=", _line(head, letters[at])
    odd = next((x for x in sdp.lines if x.strip() and not re.match(r"[A-Za-z]=", x)), None)
    if odd is not None:
        yield "a line of it is no letter with =", odd
    yield from _addresses(sdp)


def _addresses(sdp: SessionDescription) -> Iterator[tuple[str, str]]:
    for line in (x for x in sdp.lines if x.startswith("c=")):
        parts = line[2:].split()
        if len(parts) != 3 or parts[0] != "IN" or parts[1] not in ("IP4", "IP6"):
            yield "a c= line is not IN IP4 or IN IP6 with an address", line
            return
        host = parts[2].partition("/")[0]
        found = literal(host)
        if found is not None and (":" in host) != (parts[1] == "IP6"):
            yield f"a c= line calls {host} an {parts[1]} address", line
            return
        if found is None and (not _HOST.fullmatch(host) or host.replace(".", "").isdigit()):
            yield f"{host} in a c= line is no address", line
            return
    bare = next((m for m in sdp.media if m.port > 0 and not m.address), None)
    if bare is not None:
        yield "a stream has no c= line, and the session has none either", bare.lines[0][1]
    unread = next((m for m in sdp.media if m.port < 0), None)
    if unread is not None:
        yield "the port of an m= line is no number", unread.lines[0][1]


def _line(lines: list[str], letter: str) -> str:
    return next(x for x in lines if x.startswith(letter + "="))
