"""Ends of TCP connections: a call that must fire, and its near miss."""

from __future__ import annotations

from calls import CALLED, CALLER, NAT, PROXY, START, Packet, ack, reply, request, sdp
from case import Case

from index.trace import ConnectionEnd, Endpoint

INVITE = request(body=sdp(), transport="TCP")
RINGS = (
    Packet(0, CALLER, CALLED, INVITE, "tcp"),
    Packet(0.1, CALLED, CALLER, reply(INVITE, 180, "Ringing"), "tcp"),
)
OTHER = f"{PROXY}:40000"
OK = Packet(4, OTHER, CALLER, reply(INVITE, 200, body=sdp(PROXY), contact=f"<sip:bob@{CALLED}>"), "tcp")
ANSWERED = (OK, Packet(4.1, CALLER, OTHER, ack(INVITE, transport="TCP"), "tcp"))


def end(at: float, by: str = CALLED, peer: str = CALLER, reset: bool = True) -> ConnectionEnd:
    """The end of a connection at this second."""
    a, b = (Endpoint(ip, int(port)) for ip, port in (x.split(":") for x in (by, peer)))
    return ConnectionEnd(START + round(at * 1e9), a, b, reset)


BOTH = {"heard": frozenset({NAT, PROXY}), "until": 60.0}

CASES: dict[str, Case] = {
    "connection-cut": Case(
        RINGS,
        (*RINGS, *ANSWERED),
        "critical",
        "certain",
        (CALLED, CALLER, "reset", "3.2 s after the INVITE"),
        (1, 2, None),
        tap={**BOTH, "ends": (end(3.2),)},
    ),
}
