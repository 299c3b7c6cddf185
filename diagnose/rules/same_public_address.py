"""Both telephones sit behind one public address: their audio must turn round in the router (hairpin) or be relayed."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call, Step
from diagnose.finding import Finding, public_name
from diagnose.report import fact
from sip.ip import is_private, is_public

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "info", 90, "RFC 4787 section 6 (hairpinning), RFC 5128 section 3.3.2"


def check(call: Call) -> Iterator[Finding]:
    """One finding a call in which both sides give private media addresses from the same public one."""
    first: dict[str, tuple[str, str, Step, str]] = {}
    for s in call.steps:
        sdp = s.m.sip.sdp
        if s.m.sip.method != "INVITE" or sdp is None or not is_public(s.m.src.ip) or not _own_words(s):
            continue
        media = next((m for m in sdp.media if m.port != 0 and is_private(m.address)), None)
        if media is None or not s.side:
            continue
        line = next((x for x in sdp.lines if x.startswith("c=") and media.address in x), "")
        known = first.setdefault(s.m.src.ip, (s.side, media.address, s, line))
        # The same side again, or a host that passes on what another one wrote, is no second telephone.
        if known[0] == s.side or known[1] == media.address:
            continue
        yield Finding(
            NAME,
            SEVERITY,
            "likely",
            f"Both sides of this call are behind {s.m.src.ip}, with {known[1]} and {media.address} inside.",
            (
                fact(known[2], f"{known[2].m.src} asks for audio at {known[1]}", known[3]),
                fact(s, f"{s.m.src} asks for audio at {media.address}", line),
            ),
            "If there is no audio: many routers do not send packets back to their own network by its public address. "
            "Let these two talk directly (internal calls within the site), or take the audio through a relay.",
            REFERENCE,
            PRECEDENCE,
        )
        return


def _own_words(s: Step) -> bool:
    """Not passed on by a proxy: a request with its sender's Via only."""
    return not s.m.sip.is_request or len(s.m.sip.vias) == 1
