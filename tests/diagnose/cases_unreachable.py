"""ICMP errors about SIP: a call that must fire, and its near miss."""

from __future__ import annotations

from calls import CALLED, CALLER, INVITE_TIMES, NAT, PROXY, Packet, icmp, request, resent, sdp
from case import Case

INVITE = Packet(0, CALLER, CALLED, request(body=sdp()))
SILENT = tuple(resent(INVITE, *INVITE_TIMES))
ELSEWHERE = Packet(0, CALLER, "192.0.2.77:5060", INVITE.raw)
BOTH = {"heard": frozenset({NAT, PROXY})}

CASES: dict[str, Case] = {
    "destination-unreachable": Case(
        SILENT,
        SILENT,
        "critical",
        "certain",
        (NAT, CALLED, PROXY, "nothing listens"),
        (1, 1),
        tap={**BOTH, "icmp": (icmp(INVITE, PROXY), icmp(SILENT[1], PROXY))},
        near_tap={**BOTH, "icmp": (icmp(ELSEWHERE, PROXY),)},
    ),
}
