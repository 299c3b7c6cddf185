"""A session description changed without a higher version in its o= line: a peer may take it for the old one."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.finding import Finding, public_name
from diagnose.guards import whole
from diagnose.report import fact
from sip.sdp import SessionDescription

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "info", 90, "RFC 3264 section 8"


def check(call: Call) -> Iterator[Finding]:
    """One finding for each side and hop, between one transaction and the next."""
    before: dict[tuple[str, str, str], tuple[Step, SessionDescription]] = {}
    told: set[str] = set()
    for s in call.steps:
        sdp = s.m.sip.sdp
        if sdp is None or s.m.retransmission or not whole(s) or s.m.sip.code >= 300:
            continue
        key = s.side, s.m.src.ip, s.m.dst.ip
        old = before.get(key)
        before[key] = s, sdp
        # Replies to one request are previews of one another, which is a matter of its own.
        if old is None or s.side in told or old[0].key[:2] == s.key[:2]:
            continue
        first, second = _version(old[1]), _version(sdp)
        if first is None or second is None or first[0] != second[0]:
            continue
        lower, same = second[1] < first[1], second[1] == first[1] and _content(old[1]) != _content(sdp)
        if not (lower or same):
            continue
        told.add(s.side)
        how = (
            f"goes back from version {first[1]} to {second[1]}" if lower else f"changes its SDP at version {second[1]}"
        )
        yield Finding(
            NAME,
            SEVERITY,
            "certain",
            f"{s.m.src.ip} {how} of its o= line: a peer that goes by the version ignores the change.",
            (
                fact(old[0], f"version {first[1]}", f"o={old[1].origin}"),
                fact(s, f"version {second[1]}" + ("" if lower else ", and other content"), f"o={sdp.origin}"),
            ),
            "Where hold, resume or a change of codec has no effect, let this device raise the version by one with each "
            "change.",
            REFERENCE,
            PRECEDENCE,
        )


def _version(sdp: SessionDescription) -> tuple[str, int] | None:
    """Session (its id and who made it) and version; None where the line cannot be read."""
    words = sdp.origin.split()
    if len(words) != 6 or not (words[2].isascii() and words[2].isdigit() and len(words[2]) < 21):
        return None
    return f"{words[0]} {words[1]} {words[5]}", int(words[2])


def _content(sdp: SessionDescription) -> list[str]:
    return [x.strip() for x in sdp.lines if not x.startswith(("o=", "a=candidate", "a=ssrc"))]
