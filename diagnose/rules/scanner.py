"""Not a call but a search for open telephone systems: a known tool, or one host that tries many numbers at once."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.finding import Finding, public_name
from diagnose.report import fact, seconds
from diagnose.scanners import guessed, known

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 5, "RFC 3261 section 26.1"


def check(call: Call) -> Iterator[Finding]:
    """One finding for the call."""
    named, tries = known(call), guessed(call)
    if named is not None:
        s, name, confidence, header = named
        text = f"its {header} names {name}, a program that looks for open telephone systems"
        yield _finding(s, confidence, f"{s.m.src.ip} is a scanner ({name})", fact_line=s.header_line(header), text=text)
    elif tries:
        s, took = tries[0], seconds(tries[-1].m.ts - tries[0].m.ts)
        text = f"{len(tries)} numbers within {took}, most of them refused; the last in message {tries[-1].number}"
        yield _finding(s, "likely", f"{s.m.src.ip} tries {len(tries)} numbers within {took} in one call", "", text)


def _finding(s: Step, confidence: str, what: str, fact_line: str, text: str) -> Finding:
    return Finding(
        NAME,
        SEVERITY,
        confidence,
        f"{what}: this is an attack, not a caller with trouble.",
        (fact(s, f"from {s.m.src} to {s.m.dst}: {text}", fact_line),),
        "Let the firewall drop this address (fail2ban, pike, an allow-list), answer nothing to such requests, and see "
        "that none of its tries was accepted.",
        REFERENCE,
        PRECEDENCE,
    )
