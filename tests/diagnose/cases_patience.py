"""How long it rang, and how often something was sent: a pair of calls for each."""

from __future__ import annotations

from calls import CALLED, CALLER, NAT, PROXY, Packet, answered, bye, reply, request, resent, sdp
from case import Call, Case

INVITE = request(body=sdp())


def rang(lasted: float, cancel: bool = False) -> Call:
    """180 after 0.2 s, and the end of it."""
    given_up = request("CANCEL", contact="")
    end = 0.2 + lasted
    own_ack = Packet(end + 0.3, CALLER, CALLED, request("ACK", to_tag="called", contact=""))
    code, reason = (487, "Request Terminated") if cancel else (480, "Temporarily Unavailable")
    return (
        Packet(0, CALLER, CALLED, INVITE),
        Packet(0.2, CALLED, CALLER, reply(INVITE, 180, "Ringing")),
        *((Packet(end, CALLER, CALLED, given_up), Packet(end + 0.1, CALLED, CALLER, reply(given_up, 200))) * cancel),
        Packet(end + 0.2 * cancel, CALLED, CALLER, reply(INVITE, code, reason)),
        own_ack,
    )


def asked(*again: float) -> Call:
    over = bye()
    sends = resent(Packet(10, CALLER, CALLED, over), *again)
    return (*answered(sdp(), sdp(PROXY)), *sends, Packet(sends[-1].at + 0.1, CALLED, CALLER, reply(over, 200)))


CASES: dict[str, Case] = {
    "rang-unanswered": Case(
        rang(31.4), rang(20), "info", "certain", ("31.4 s", PROXY, "480 Temporarily Unavailable"), (2, 3)
    ),
    "answered-after-many-sends": Case(
        asked(0.5, 1.5, 3.5, 7.5),
        asked(0.5, 1.5, 3.5),
        "warning",
        "certain",
        ("BYE", NAT, PROXY, "5 times in 7.6 s"),
        (4, 9),
    ),
}
