"""Pairs for the rules about routing, limits, authentication, causes and the form of messages."""

from __future__ import annotations

from calls import CALLED, CALLER, PROXY, Packet, reply, request, sdp
from case import Call, Case


def refused(code: int, reason: str, *extra: str, **more: str) -> Call:
    """INVITE, 100, a final failure, ACK."""
    invite = request(body=sdp(), **more)
    return (
        Packet(0, CALLER, CALLED, invite),
        Packet(0.1, CALLED, CALLER, reply(invite, 100, "Trying")),
        Packet(1, CALLED, CALLER, reply(invite, code, reason, extra=extra)),
        Packet(1.1, CALLER, CALLED, request("ACK", to_tag="called", contact="", **more)),
    )


CASES: dict[str, Case] = {
    "server-error": Case(
        refused(503, "Service Unavailable", 'Reason: Q.850;cause=38;text="Network out of order"'),
        refused(503, "Service Unavailable", "Retry-After: 10"),
        "critical",
        "certain",
        (PROXY, "bob", "503 Service Unavailable"),
        (3, 3),
    ),
}
