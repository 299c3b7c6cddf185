"""A fax wanted to go over to T.38 and the other side refused: it must go on as sound, which often breaks."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.answers import m_line
from diagnose.call import Call, Step
from diagnose.finding import Finding, public_name
from diagnose.guards import whole
from diagnose.report import fact
from sip.sdp import Media

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "error", 50, "RFC 3264 section 6, RFC 3261 section 14.1, ITU-T T.38 Annex D"
_REFUSALS = (415, 488, 606)


def check(call: Call) -> Iterator[Finding]:
    """One finding for each side that refused, at the hop next to it; not where a later try was taken."""
    told: set[str] = set()
    pairs = []
    for s in call.requests:
        wanted = _image(s)
        final = call.final_of(s) if s.m.sip.method in ("INVITE", "UPDATE") and wanted else None
        if wanted is not None and final is not None:
            pairs.append((s, wanted, final))
    for s, wanted, final in sorted(pairs, key=lambda p: p[2].number):
        refused = final.m.sip.code in _REFUSALS
        answer = next((m for m in (final.m.sip.sdp.media if final.m.sip.sdp else ()) if m.kind == "image"), None)
        closed = 200 <= final.m.sip.code < 300 and answer is not None and answer.port == 0 and whole(final)
        taken = any(f.number > final.number and _took(f) for _, _, f in pairs)
        if not (refused or closed) or final.side in told or taken:
            continue
        told.add(final.side)
        how = f"{final.m.sip.code} {final.m.sip.reason}" if refused else "port 0 for the image stream"
        line = m_line(answer) if closed and answer is not None else final.m.sip.start_line
        yield Finding(
            NAME,
            SEVERITY,
            "certain",
            f"{final.m.src.ip} refuses fax by T.38 from {s.m.src.ip}: {how}.",
            (fact(s, f"{s.m.src.ip} offers {wanted.proto} {wanted.kind}", m_line(wanted)), fact(final, how, line)),
            "See that both gateways and all carriers between them take T.38, or send fax as G.711 without silence "
            "suppression and compression on the whole route.",
            REFERENCE,
            PRECEDENCE,
        )


def _image(s: Step) -> Media | None:
    media = s.m.sip.sdp.media if s.m.sip.sdp else ()
    return next((m for m in media if m.kind == "image" and m.port != 0 and "t38" in m.formats), None)


def _took(final: Step) -> bool:
    return 200 <= final.m.sip.code < 300 and _image(final) is not None
