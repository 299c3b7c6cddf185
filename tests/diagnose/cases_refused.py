"""Requests outside calls that are refused: a pair for the rule, and what its branches need."""

from __future__ import annotations

from calls import CALLED, CALLER, Packet, reply, request
from case import Call, Case


def refused(code: int, reason: str, *extra: str, method: str = "REGISTER", at: float = 0, cseq: int = 1) -> Call:
    """A request of that method and its final answer."""
    ask = request(method, cseq=cseq, branch=f"z9hG4bK{cseq}", extra=["Event: reg"] if method == "SUBSCRIBE" else [])
    return Packet(at, CALLER, CALLED, ask), Packet(at + 0.1, CALLED, CALLER, reply(ask, code, reason, extra=extra))


TOO_BRIEF = refused(423, "Interval Too Brief", "Min-Expires: 3600")
CASES: dict[str, Case] = {
    "request-refused": Case(
        TOO_BRIEF,
        (*TOO_BRIEF, *refused(200, "OK", at=0.2, cseq=2)),
        "error",
        "certain",
        ("REGISTER of alice", "423 Interval Too Brief", "calls to it find nobody"),
        (2, 2),
    ),
}
