"""Digest challenges and the credentials that follow them (RFC 3261 section 22, RFC 8760): who asked, who answered.

It compares what can be compared without the password, and keeps no digest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from diagnose.call import TIMEOUT, Call, Step
from diagnose.refusals import CHALLENGES, request_of
from sip.address import parse_params, split_list

ASKED = {401: "WWW-Authenticate", 407: "Proxy-Authenticate"}
GIVEN = {401: "Authorization", 407: "Proxy-Authorization"}


@dataclass(frozen=True, slots=True)
class Digest:
    """The parameters of one challenge, or of one set of credentials."""

    params: Mapping[str, str | None]
    line: str

    def get(self, name: str) -> str:
        """A parameter, '' where it is absent."""
        return self.params.get(name) or ""

    @property
    def algorithm(self) -> str:
        """MD5 where nothing is said (RFC 7616 section 3.3)."""
        return self.get("algorithm").upper() or "MD5"


@dataclass(frozen=True, slots=True)
class Rejection:
    """Credentials that answered a fresh challenge, and were challenged once more."""

    asked: Step
    """The challenged request's first challenge, whose nonce the credentials use."""
    request: Step
    again: Step
    proof: Digest
    offered: tuple[Digest, ...]

    @property
    def grown_old(self) -> bool:
        """The server blames the nonce in words, though it does not say `stale=true` (RFC 7616 section 3.3)."""
        return "nonce" in self.again.m.sip.reason.lower()


def digests(step: Step, header: str) -> tuple[Digest, ...]:
    """All values of such a header field that speak of Digest."""
    out = []
    for f in step.m.sip.fields(header):
        scheme, _, rest = f.value.partition(" ")
        if scheme.lower() == "digest":
            out.append(Digest(parse_params(";".join(split_list(rest))), f"{f.written}: {f.value}"))
    return tuple(out)


def challenges(call: Call) -> Iterator[tuple[Step, tuple[Digest, ...]]]:
    """Every challenge once, at the host that made it; what later hops pass on has its nonces."""
    told: set[tuple[str, str]] = set()
    for s in call.responses:
        if s.m.sip.code not in CHALLENGES:
            continue
        found = digests(s, ASKED[s.m.sip.code])
        # Some servers give the same nonce again and again: with another CSeq those are challenges of their own.
        key = f"{s.m.sip.cseq} {s.m.sip.method}", ",".join(d.get("nonce") for d in found)
        if found and key not in told:
            told.add(key)
            yield s, found


def proofs(call: Call, code: int, realm: str) -> list[tuple[Step, Digest]]:
    """Requests that carry credentials for a realm, for a 401 or a 407."""
    return [
        (r, d)
        for r in call.requests
        if r.m.sip.method not in ("ACK", "CANCEL")
        for d in digests(r, GIVEN[code])
        if d.get("realm") == realm
    ]


def rejections(call: Call) -> list[Rejection]:
    """Credentials that were certainly refused: fresh nonce, same host, not called stale, never accepted before."""
    issued: dict[tuple[int, str, str], Step] = {}
    accepted = _accepted(call)
    out: list[Rejection] = []
    for s, offered in challenges(call):
        code = s.m.sip.code
        request = request_of(call, s)
        given = digests(request, GIVEN[code]) if request is not None else ()
        for proof in given:
            first = issued.get((code, proof.get("realm"), proof.get("nonce")))
            again = [d for d in offered if d.get("realm") == proof.get("realm")]
            if request is None or first is None or not again or any(d.get("stale").lower() == "true" for d in again):
                continue
            same_host = first.m.src.ip == s.m.src.ip
            if same_host and request.m.ts - first.m.ts < TIMEOUT and proof.get("nonce") not in accepted:
                out.append(Rejection(first, request, s, proof, offered))
                break
        for d in offered:
            issued.setdefault((code, d.get("realm"), d.get("nonce")), s)
    return out


def _accepted(call: Call) -> set[str]:
    """Nonces whose credentials were good at least once: a later challenge for them means that they grew old."""
    if not any(s.m.sip.code in CHALLENGES for s in call.responses):
        return set()
    good = (request_of(call, s) for s in call.responses if 200 <= s.m.sip.code < 300)
    return {d.get("nonce") for r in good if r is not None for name in GIVEN.values() for d in digests(r, name)}


def succeeded_after(call: Call, s: Step) -> Step | None:
    """A later success of the same method: soon for a registration (it lives for months), at any time for a call."""
    method = s.m.sip.method
    if method == "INVITE":
        return call.answered_after(s)
    return next(
        (
            r
            for r in call.responses
            if r.number > s.number
            and r.m.sip.method == method
            and 200 <= r.m.sip.code < 300
            and r.m.ts - s.m.ts < TIMEOUT
        ),
        None,
    )
