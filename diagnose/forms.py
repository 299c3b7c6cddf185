"""Which messages may be judged by their form: those that this capture holds whole."""

from __future__ import annotations

from capture.flags import FRAGMENT_LOST, HEADERS_CUT, STREAM_GAP, TRUNCATED
from diagnose.call import Call, Step

_PARTIAL = TRUNCATED | FRAGMENT_LOST | STREAM_GAP | HEADERS_CUT


def whole(step: Step) -> bool:
    """The capture cut nothing off: what is missing in the message was missing on the wire."""
    return bool(step.m.sip.raw) and not step.m.flags & _PARTIAL


def reached(call: Call, step: Step) -> Step | None:
    """A later request inside the dialog that found its way to the sender of this message."""
    return next(
        (
            r
            for r in call.requests
            if r.number > step.number
            and r.m.dst.ip == step.m.src.ip
            and r.m.sip.to is not None
            and r.m.sip.to.tag
            and r.m.sip.method in ("ACK", "BYE", "INVITE", "UPDATE", "INFO", "NOTIFY", "PRACK")
            and r.side != step.side
        ),
        None,
    )


def title(step: Step) -> str:
    """'INVITE' or '200 to INVITE'."""
    sip = step.m.sip
    return (sip.method if sip.is_request else f"{sip.code} to {sip.method}") or "message"
