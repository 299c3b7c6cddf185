"""Credentials were given for a fresh challenge and the server asked again: wrong password, user, algorithm, or late."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call
from diagnose.credentials import Rejection, rejections, succeeded_after
from diagnose.finding import Evidence, Finding, public_name
from diagnose.refusals import said
from diagnose.report import fact, listed, seconds
from diagnose.scanners import is_scan

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 30, "RFC 3261 sections 22.1 and 22.2, RFC 8760 section 2"


def check(call: Call) -> Iterator[Finding]:
    """One finding for each realm, method and whether the nonce or the credentials were to blame."""
    groups: dict[tuple[str, str, bool], list[Rejection]] = {}
    for r in rejections(call):
        groups.setdefault((r.proof.get("realm"), r.request.m.sip.method, r.grown_old), []).append(r)
    if not groups or is_scan(call):
        return
    for (realm, method, _), group in groups.items():
        last = group[-1]
        later = succeeded_after(call, last.again)
        if later is not None and len(group) == 1:
            continue  # One more round that then succeeds: the server changed its nonce and did not say so.
        why, evidence, advice = _cause(last)
        if later is not None:
            evidence.append(fact(later, f"a later try was accepted ({later.m.sip.code})"))
        user = last.proof.get("username") or "nobody"
        times = f" {len(group)} ×" if len(group) > 1 else ""
        yield Finding(
            NAME,
            "warning" if later else SEVERITY,
            "certain",
            f"{last.again.m.src.ip} rejected the credentials of {user} for realm {realm}{times} ({method}): {why}.",
            (
                fact(last.asked, f"{last.asked.m.src.ip} asked for credentials, realm {realm}"),
                fact(last.request, f"{last.request.m.src.ip} answered that very challenge as {user}"),
                fact(last.again, f"{last.again.m.src.ip} asked again and does not call the nonce stale", _line(last)),
                *evidence,
            ),
            advice,
            REFERENCE,
            PRECEDENCE,
        )


def _line(r: Rejection) -> str:
    return next((d.line for d in r.offered if d.get("realm") == r.proof.get("realm")), "")


def _cause(r: Rejection) -> tuple[str, list[Evidence], str]:
    """The likeliest cause, what shows it, and what to do; a digest cannot be tested without the password."""
    if r.grown_old:
        waited = seconds(r.request.m.ts - r.asked.m.ts)
        return (
            f"its nonce had changed when they came, {waited} after the challenge",
            [fact(r.again, f"it blames the nonce: {said(r.again.m.sip)}", r.again.m.sip.start_line)],
            "Look at what the device does between the challenge and its answer (DNS, a directory). The server should "
            "say stale=true: then a device tries again by itself and nobody looks for a wrong password.",
        )
    wanted = sorted({d.algorithm for d in r.offered if d.get("realm") == r.proof.get("realm")})
    if r.proof.algorithm not in wanted:
        text = f"the server wants {listed(wanted)}, the client used {r.proof.algorithm}"
        return text, [fact(r.request, text)], "Offer an algorithm that both sides know: older devices know MD5 only."
    before, now = r.asked.m.sip.cseq, r.request.m.sip.cseq
    if before is not None and now is not None and now <= before:
        text = f"the client did not raise its CSeq number ({before}, then {now})"
        return (
            text,
            [fact(r.request, text, r.request.header_line("CSeq"))],
            "The client must send the credentials with a higher CSeq number: update its software.",
        )
    evidence = []
    covered = r.proof.get("uri")
    if covered and covered != r.request.m.sip.uri:
        text = f"the digest covers {covered}, the request is for {r.request.m.sip.uri}: a strict server refuses that"
        evidence.append(fact(r.request, text))
    return (
        "wrong password or user name",
        evidence,
        "Compare user name, authentication name, realm and password on both sides; the password itself never goes over "
        "the wire. A client must not try rejected credentials again: see that it does not hammer.",
    )
