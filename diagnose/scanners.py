"""Who is no telephone but a program that looks for open ones; rules about refused calls leave its calls alone."""

from __future__ import annotations

from diagnose.call import SECOND, Call, Step

KNOWN = {
    "friendly-scanner": "certain",
    "friendly-request": "certain",
    "sipvicious": "certain",
    "sundayddr": "certain",
    "sip-scan": "certain",
    "sipscan": "certain",
    "siparmyknife": "certain",
    "sivus": "certain",
    "iwar": "likely",
    "pplsip": "certain",
    "sipcli": "likely",
    "vaxsipuseragent": "likely",
    "nm@nm": "certain",
}
"""Parts of User-Agent or of the caller's name, and how sure they make us: some kits are in honest phones too."""
USERS, WINDOW = 8, 60 * SECOND
"""So many different numbers asked for by one host within so long, under one Call-ID: no telephone does that."""


def known(call: Call) -> tuple[Step, str, str, str] | None:
    """The first request that names a scanner: (message, its name, confidence, header)."""
    for s in call.requests[:20]:
        caller = s.m.sip.from_
        texts = {
            "User-Agent": s.m.sip.first("User-Agent"),
            "From": f"{caller.display} {caller.uri.text}" if caller else "",
        }
        for header, text in texts.items():
            small = text.lower()
            for name, confidence in KNOWN.items():
                if name in small:
                    return s, name, confidence, header
    return None


def guessed(call: Call) -> list[Step]:
    """Requests of one host for many numbers within a minute, when most are refused; [] where there is no such host."""
    seen: dict[str, list[Step]] = {}
    for s in call.requests:
        if s.m.sip.method in ("INVITE", "REGISTER", "OPTIONS") and not (s.m.sip.to and s.m.sip.to.tag):
            seen.setdefault(s.m.src.ip, []).append(s)
    for steps in seen.values():
        tries: dict[str, Step] = {}
        for s in steps:
            if s.m.ts - steps[0].m.ts <= WINDOW:
                to = s.m.sip.to
                tries.setdefault(to.uri.user if to else "", s)
        finals = [call.final_of(s) for s in tries.values()]
        if len(tries) >= USERS and sum(f is None or f.m.sip.code >= 300 for f in finals) > len(tries) // 2:
            return list(tries.values())
    return []


def is_scan(call: Call) -> bool:
    """Nobody wants these calls to succeed."""
    return known(call) is not None or bool(guessed(call))
