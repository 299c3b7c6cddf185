"""The signed caller identity (STIR): refused (428, 436-438, 403 Stale Date), of another call, too old or in doubt."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import SECOND, Call, Step
from diagnose.finding import Evidence, Finding, public_name
from diagnose.passport import Passport, read
from diagnose.refusals import refusals, request_of, said
from diagnose.report import fact, listed
from sip.address import parse_name_addr
from sip.message import SipMessage

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "info", 90, "RFC 8224 sections 4 and 6.2.2, RFC 8225, RFC 8588"
_REFUSALS = {
    428: "wants a signed caller identity, and there is none that it takes",
    436: "cannot fetch the certificate of the signed caller identity",
    437: "does not trust, or not support, the certificate of the signed caller identity",
    438: "finds no valid signed caller identity in the INVITE",
    403: "finds the signed caller identity too old",
}
_FRESH = 60
"""Seconds for which a statement counts as fresh."""
_LEVELS = {
    "B": "the signer knows its customer, not the right to this number (attestation B)",
    "C": "the signer only passes the call on from elsewhere (attestation C)",
}


def check(call: Call) -> Iterator[Finding]:
    """One finding for a refusal, or else one for what is odd about the first statement."""
    refused = next((s for s in refusals(call) if about_identity(s.m.sip)), None)
    first = next((i for i in call.invites if i.m.sip.fields("Identity")), None)
    if refused is not None:
        asked = request_of(call, refused)
        evidence = [fact(refused, f"{refused.m.src.ip} answered {said(refused.m.sip)}", refused.m.sip.start_line)]
        if asked is not None:
            count = len(asked.m.sip.fields("Identity"))
            evidence.append(fact(asked, f"the INVITE has {count or 'no'} Identity header{'s' if count != 1 else ''}"))
        text = f"{refused.m.src.ip} {_REFUSALS[refused.m.sip.code]}: {said(refused.m.sip)}."
        later = call.answered_after(refused)
        yield _finding("warning" if later else "error", 30, text, evidence)
    elif first is not None:
        yield from _odd(first)


def about_identity(sip: SipMessage) -> bool:
    """A refusal for the signed caller identity, or for want of one."""
    return sip.code in _REFUSALS and (sip.code != 403 or "stale date" in sip.reason.lower())


def _odd(s: Step) -> Iterator[Finding]:
    odd, level = [], ""
    for f in s.m.sip.fields("Identity"):
        statement = read(f.value)
        if statement is None:
            continue
        odd += _wrong(s, statement)
        level = level or _LEVELS.get(statement.attest.upper(), "")
    if odd:
        text = f"The signed caller identity in {s.m.src.ip}'s INVITE does not fit: {listed(odd)}."
        yield _finding("warning", 40, text, [fact(s, x) for x in odd])
    elif level:
        yield _finding(
            SEVERITY, PRECEDENCE, f"{s.m.src.ip} does not fully vouch for the caller: {level}.", [fact(s, level)]
        )


def _wrong(s: Step, statement: Passport) -> list[str]:
    callers = [s.m.sip.from_] if s.m.sip.from_ else []
    callers += [parse_name_addr(v) for v in s.m.sip.all("P-Asserted-Identity")]
    shown = {c.uri.user for c in callers if _digits(c.uri.user)}
    out = []
    signed = _digits(statement.orig)
    if signed and shown and not any(_same(signed, _digits(user)) for user in shown):
        out.append(f"it is signed for {statement.orig}, the call shows {listed(sorted(shown))}")
    called = s.m.sip.to.uri.user if s.m.sip.to else ""
    if statement.dest and _digits(called) and not any(_same(_digits(n), _digits(called)) for n in statement.dest):
        out.append(f"it is signed for calls to {listed(list(statement.dest))}, this one goes to {called}")
    if statement.issued is not None and abs(age := s.m.ts // SECOND - statement.issued) > _FRESH:
        out.append(f"it was signed {abs(age)} s {'before' if age > 0 else 'after'} the INVITE, more than {_FRESH} s")
    return out


def _digits(text: str) -> str:
    return "".join(c for c in text if c.isdecimal())


def _same(one: str, other: str) -> bool:
    """Equal but for what stands in front of the national number."""
    return one == other or (min(len(one), len(other)) >= 7 and (one.endswith(other[-9:]) or other.endswith(one[-9:])))


def _finding(severity: str, precedence: int, headline: str, evidence: list[Evidence]) -> Finding:
    return Finding(
        NAME,
        severity,
        "certain",
        headline,
        tuple(evidence),
        "Look at the signing service of the side that sends the call: which number it signs, with which certificate, "
        "by which clock. Whether the signature itself is right cannot be told without the certificate.",
        REFERENCE,
        precedence,
    )
