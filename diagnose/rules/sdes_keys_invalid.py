"""The keys for secure RTP (a=crypto) do not fit: a suite nobody offered, more than one, or a key of a wrong length."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.answers import SECURE, answered, family
from diagnose.call import Call, Exchange, Step
from diagnose.finding import Finding, public_name
from diagnose.report import fact, listed
from sip.sdp import Media

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "critical", 50, "RFC 4568 sections 5.1.2, 5.1.3 and 6.2, RFC 6188 section 2"
_LENGTHS = {"AES_CM_128": 30, "AES_192_CM": 38, "AES_256_CM": 46, "F8_128": 30}
"""Bytes of master key and salt; a suite that is not here is not measured."""


@dataclass(frozen=True, slots=True)
class Crypto:
    """One a=crypto line."""

    tag: str
    suite: str
    key: str
    line: str


def check(call: Call) -> Iterator[Finding]:
    """One finding for each answering side: the first thing that is wrong."""
    told: set[str] = set()
    for x in answered(call):
        for ours, theirs in x.streams():
            if x.answer is None or 0 in (ours.port, theirs.port) or x.answer.side in told:
                continue
            if family(ours.proto) != SECURE or family(theirs.proto) != SECURE:
                continue
            found = _judge(x, x.answer, ours, theirs)
            if found is not None:
                told.add(x.answer.side)
                yield found


def cryptos(media: Media) -> list[Crypto]:
    """The a=crypto lines of a stream: tag, suite, and what stands after `inline:`."""
    out = []
    for _, line in media.lines:
        words = line[9:].split() if line.startswith("a=crypto:") else []
        if len(words) > 2:
            out.append(Crypto(words[0], words[1].upper(), words[2].removeprefix("inline:").partition("|")[0], line))
    return out


def _judge(x: Exchange, answer: Step, ours: Media, theirs: Media) -> Finding | None:
    offered, taken = cryptos(ours), cryptos(theirs)
    if not offered or not taken:
        return None
    for step, c in (*((x.offer, c) for c in offered), *((answer, c) for c in taken)):
        have, want = _length(c.key), next((n for name, n in _LENGTHS.items() if c.suite.startswith(name)), None)
        if want is not None and have != want:
            text = f"the key is no Base64, {c.suite} needs {want} bytes"
            if have is not None:
                text = f"the key has {have} bytes, {c.suite} needs {want}"
            return _made(f"{step.m.src.ip} gives a key that cannot be used: {text}.", [(step, text, c.line)])
    if len(taken) > 1:
        text = f"{len(taken)} a=crypto lines in the answer"
        return _made(f"{answer.m.src.ip} answers with {text}: it must pick one.", [(answer, text, taken[1].line)])
    chosen = next((c for c in offered if c.tag == taken[0].tag), None)
    if chosen is None or chosen.suite != taken[0].suite:
        had = listed([f"{c.tag} {c.suite}" for c in offered])
        return _made(
            f"{answer.m.src.ip} answers {taken[0].tag} {taken[0].suite}, which was not offered ({had}).",
            [(x.offer, f"offered {had}", offered[0].line), (answer, f"answered {taken[0].tag}", taken[0].line)],
        )
    if chosen.key == taken[0].key:
        # It works, yet two streams under one key stream give away their sound to whoever compares them.
        return _made(
            f"{answer.m.src.ip} answers with the key of the offer: each side must have its own.",
            [(x.offer, "the key of the offer", chosen.line), (answer, "the same key again", taken[0].line)],
            "warning",
        )
    return None


def _length(key: str) -> int | None:
    try:
        return len(b64decode(key + "=" * (-len(key) % 4), validate=True))
    except (binascii.Error, ValueError):
        return None


def _made(headline: str, why: list[tuple[Step, str, str]], severity: str = SEVERITY) -> Finding:
    return Finding(
        NAME,
        severity,
        "certain",
        headline,
        tuple(fact(step, text, line) for step, text, line in why),
        "The answer must carry exactly one a=crypto, with tag and suite of one in the offer and a new key of its own. "
        "Leave one suite that both know (AES_CM_128_HMAC_SHA1_80) and compare again.",
        REFERENCE,
        PRECEDENCE,
    )
