"""Transactions, timers and requests inside a dialog: a call that must fire, and its near miss."""

from __future__ import annotations

from calls import CALLED, CALLER, FAR, NAT, OK_TIMES, PROXY, Packet, ack, answered, bye, reply, request, resent, sdp
from case import Call, Case

BOTH = {"heard": frozenset({NAT, PROXY})}
INVITE = request(body=sdp())
TALK = answered(sdp(), sdp(PROXY))
"""Answered at 1 s, acknowledged at 1.1 s."""
BYE = bye().replace(b"sip:bob@example.org SIP", f"sip:bob@{CALLED} SIP".encode())
"""To the Contact that the 200 told."""


def refused_again(*acks: Packet) -> Call:
    """404 to the end, whatever the caller does."""
    return (
        Packet(0, CALLER, CALLED, INVITE),
        *resent(Packet(1, CALLED, CALLER, reply(INVITE, 404, "Not Found")), *(OK_TIMES if not acks else OK_TIMES[:2])),
        *acks,
    )


def hung_up(*replies: Packet, sends: tuple[float, ...] = OK_TIMES) -> Call:
    """BYE at 20 s."""
    return (*TALK, *resent(Packet(20, CALLER, CALLED, BYE), *sends), *replies)


def ringing(at: float) -> Call:
    """100 at once, 180 then."""
    return (
        Packet(0, CALLER, CALLED, INVITE),
        Packet(0.1, CALLED, CALLER, reply(INVITE, 100, "Trying")),
        Packet(at, CALLED, CALLER, reply(INVITE, 180, "Ringing")),
    )


def repeated_after(*acks: Packet, times: tuple[float, ...] = OK_TIMES) -> Call:
    """The 200 goes on; its Contact is another host than the caller speaks to."""
    ok = reply(INVITE, 200, contact=f"<sip:bob@{CALLED}>")
    return (Packet(0, CALLER, CALLED, INVITE), *resent(Packet(1, CALLED, CALLER, ok), *times), *acks)


ROUTE = f"<sip:{PROXY};lr>"


def recorded(*later: Packet, route: str = ROUTE) -> Call:
    """The proxy is in the Record-Route, the called side's Contact is behind it."""
    ok = reply(INVITE, 200, contact=f"<sip:bob@{FAR}>", extra=[f"Record-Route: {route}"])
    good = ack(INVITE, extra=[f"Route: {route}"]).replace(b"sip:bob@example.org SIP", f"sip:bob@{FAR} SIP".encode())
    return (
        Packet(0, CALLER, CALLED, INVITE),
        Packet(1, CALLED, CALLER, ok),
        Packet(1.1, CALLER, CALLED, good),
        *later,
    )


def slow(delay: float) -> Call:
    """Through a switch that sends the same dialog on: most of the time goes behind it."""
    onward = request(body=sdp(), via=CALLED, branch="z9hG4bK2")
    return (
        Packet(0, CALLER, CALLED, INVITE),
        Packet(0.1, CALLED, CALLER, reply(INVITE, 100, "Trying")),
        Packet(0.3, CALLED, f"{FAR}:5060", onward),
        Packet(delay, f"{FAR}:5060", CALLED, reply(onward, 180, "Ringing")),
        Packet(delay + 0.1, CALLED, CALLER, reply(INVITE, 180, "Ringing")),
    )


ACK_OF_FAILURE = request("ACK", to_tag="called", contact="")

CASES: dict[str, Case] = {
    "refusal-unacknowledged": Case(
        refused_again(),
        refused_again(Packet(3, CALLER, CALLED, ACK_OF_FAILURE)),
        "warning",
        "certain",
        (PROXY, "404 Not Found", NAT),
        (2,),
        tap=BOTH,
    ),
    "ack-ignored": Case(
        repeated_after(Packet(1.1, CALLER, CALLED, ack(INVITE, to_tag="other"))),
        repeated_after(Packet(1.1, CALLER, CALLED, ack(INVITE, to_tag="other")), times=OK_TIMES[:1]),
        "error",
        "certain",
        (PROXY, NAT, "its To tag is other, the answer's called"),
        (3, 13, 3),
    ),
    "bye-unanswered": Case(
        hung_up(),
        hung_up(Packet(51.6, CALLED, CALLER, reply(BYE, 200))),
        "warning",
        "certain",
        (NAT, CALLED, "11 sent within 31.5 s"),
        (4,),
        tap=BOTH,
    ),
    "dialog-unknown-to-peer": Case(
        hung_up(Packet(20.1, CALLED, CALLER, reply(BYE, 481, "Call Leg/Transaction Does Not Exist")), sends=()),
        hung_up(Packet(20.1, CALLED, CALLER, reply(BYE, 480, "Temporarily Unavailable")), sends=()),
        "warning",
        "certain",
        (PROXY, "BYE", NAT, "481"),
        (5,),
    ),
    "stuck-after-trying": Case(
        ringing(5)[:2],
        ringing(5),
        "error",
        "certain",
        (CALLED, "40.1 s"),
        (1, 2),
        tap=BOTH,
    ),
    "route-set-ignored": Case(
        recorded(Packet(20, CALLER, f"{FAR}:5060", BYE)),
        recorded(Packet(20, CALLER, CALLED, BYE)),
        "error",
        "certain",
        (NAT, FAR, "BYE", f"sip:{PROXY};lr"),
        (2, 4),
    ),
    "slow-post-dial-delay": Case(
        slow(6.2), slow(4.2), "warning", "certain", ("6.3 s", "5.9 s of it behind 192.0.2.77"), (1, 3, 5)
    ),
}
