"""A message with lines that are no headers, no end of its headers, or a start line that no parser should accept."""

from __future__ import annotations

import re
from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.finding import Finding, public_name
from diagnose.forms import title, whole
from diagnose.report import fact
from sip.address import SPACE
from sip.text import text_of

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "info", 92, "RFC 3261 sections 7 and 25.1"
_LONGEST = 300
"""A line that is longer is not shown."""
_AUTHORITY = re.compile(r"sips?:(?:[^@;?]*@)?([^;?]*)", re.IGNORECASE)
"""The host of a SIP URI with its port (RFC 3261 section 19.1.1)."""
_TOLD_ELSEWHERE = ("Content-Length", "no Call-ID", "Call-IDs")


def check(call: Call) -> Iterator[Finding]:
    """One finding for each host, at the first such message."""
    told: set[str] = set()
    for s in call.steps:
        if s.m.src.ip in told or s.m.retransmission or not whole(s):
            continue
        unread = [d for d in s.m.sip.defects if not any(x in d for x in _TOLD_ELSEWHERE)]
        defects = unread or list(_start_line(s))
        if not defects:
            continue
        told.add(s.m.src.ip)
        yield Finding(
            NAME,
            SEVERITY,
            "certain",
            f"{s.m.src.ip}'s {title(s)} {'cannot be read in full' if unread else 'is malformed'}: {defects[0]}"
            + (f", and {len(defects) - 1} more." if len(defects) > 1 else "."),
            tuple(fact(s, *_shown(s, d)) for d in defects[:10]),
            "Strict devices answer it with 400 or not at all. Look at the sender, or at what changes it on its way.",
            REFERENCE,
            PRECEDENCE,
        )


def _start_line(s: Step) -> Iterator[str]:
    """What readers that look at each byte do not take for a start line."""
    sip = s.m.sip
    line = sip.start_line.rstrip(SPACE)
    version = line.rpartition(" ")[2] if sip.is_request else line.partition(" ")[0]
    if version.upper() != "SIP/2.0":
        yield f"its version is {version[:20]}, where there is only SIP/2.0"
    if not sip.is_request:
        return
    if line != sip.start_line:
        yield "white space stands behind its start line"
    elif line != f"{sip.method} {sip.uri} {version}":
        yield "more than one space stands between the parts of its start line"
    if any(c in sip.uri for c in SPACE):
        yield "white space stands inside its request URI"
    if sip.uri.startswith("<"):
        yield "its request URI stands in angle brackets"
    found = _AUTHORITY.match(sip.uri)
    if found is not None and found[1].count(":") > 1 and not found[1].startswith("["):
        yield "the IPv6 address in its request URI stands in no brackets"


def _shown(s: Step, defect: str) -> tuple[str, str]:
    """The defect with the line, and where in the message it begins."""
    number = defect.split()[1] if defect.startswith("line ") else ""
    lines = s.m.sip.raw.split(b"\n")
    if not number.isdecimal() or not 0 < int(number) <= len(lines):
        return defect, s.m.sip.start_line
    at = sum(len(x) + 1 for x in lines[: int(number) - 1])
    line = text_of(lines[int(number) - 1].removesuffix(b"\r"))
    return f"{defect} (byte {at})", line if len(line) <= _LONGEST else ""
