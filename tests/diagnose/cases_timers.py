"""Transactions, timers and what happens inside a dialog: a call that must fire, and its near miss."""

from __future__ import annotations

from calls import CALLED, CALLER, NAT, OK_TIMES, PROXY, Packet, ack, answered, bye, reply, request, resent, sdp
from case import Call, Case

INVITE = request(body=sdp())
OFFER, ANSWER = sdp(), sdp("198.51.100.10")
TALK = answered(OFFER, ANSWER)
BYE = bye()
FAR_BYE = bye(CALLED, from_tag="called", to_tag="caller")
OPTIONS = request("OPTIONS", branch="z9hG4bKoptions")
CANCEL = request("CANCEL", contact="")
BYE_TIMES = (0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5)
NEXT, NEXT_HOP = "192.0.2.77", "192.0.2.77:5060"
SECOND_ASK = request(body=sdp(), branch="z9hG4bKre", cseq=2, to_tag="called")
RELIABLE = ("Require: 100rel", "RSeq: 17")


def refusal(acked: bool) -> Call:
    final = Packet(1, CALLED, CALLER, reply(INVITE, 404, "Not Found"))
    own_ack = Packet(4, CALLER, CALLED, request("ACK", to_tag="called", contact=""))
    return (Packet(0, CALLER, CALLED, INVITE), *resent(final, *OK_TIMES[: 3 if acked else 10]), *([own_ack] * acked))


def hung_up(answer: bool) -> Call:
    last = Packet(31.9, CALLED, CALLER, reply(BYE, 200))
    return (*TALK, *resent(Packet(10, CALLER, CALLED, BYE), *BYE_TIMES[: 4 if answer else 10]), *([last] * answer))


def pings(answered_last: bool) -> Call:
    out: list[Packet] = []
    for n in range(3):
        ping = request("OPTIONS", branch=f"z9hG4bKping{n}", cseq=n + 1)
        out += resent(Packet(60 * n, CALLER, CALLED, ping), 0.5, 1.5, 3.5)
    return (*out, *([Packet(121, CALLED, CALLER, reply(ping, 200))] * answered_last))


def refused_inside(code: int, reason: str, first: str = "caller", crossing: bool = False) -> Call:
    own = bye()
    crossed = Packet(9.9, CALLED, CALLER, FAR_BYE)
    return (
        *TALK,
        *([crossed] * crossing),
        Packet(10, CALLER, CALLED, own),
        *([Packet(10.05, CALLER, CALLED, reply(FAR_BYE, 200))] * crossing),
        Packet(10.1, CALLED, CALLER, reply(own, code, reason)),
    )


def trying(then: float, code: int, reason: str) -> Call:
    return (
        Packet(0, CALLER, CALLED, INVITE),
        Packet(0.1, CALLED, CALLER, reply(INVITE, 100, "Trying")),
        Packet(then, CALLED, CALLER, reply(INVITE, code, reason)),
    )


def slow(delay: float) -> Call:
    """Through a switch that sends the same dialog on: most of the time goes behind it."""
    onward = request(body=sdp(), via=CALLED, branch="z9hG4bK2")
    return (
        Packet(0, CALLER, CALLED, INVITE),
        Packet(0.1, CALLED, CALLER, reply(INVITE, 100, "Trying")),
        Packet(0.3, CALLED, NEXT_HOP, onward),
        Packet(delay, NEXT_HOP, CALLED, reply(onward, 180, "Ringing")),
        Packet(delay + 0.1, CALLED, CALLER, reply(INVITE, 180, "Ringing")),
    )


def crossed(ended: bool) -> Call:
    ok = Packet(5.1, CALLED, CALLER, reply(INVITE, 200, contact=f"<sip:bob@{CALLED}>", body=ANSWER))
    after = (Packet(5.2, CALLER, CALLED, ack(INVITE)), Packet(5.3, CALLER, CALLED, BYE))
    return (
        Packet(0, CALLER, CALLED, INVITE),
        Packet(0.2, CALLED, CALLER, reply(INVITE, 180, "Ringing")),
        Packet(5, CALLER, CALLED, CANCEL),
        Packet(5.05, CALLED, CALLER, reply(CANCEL, 200)),
        ok,
        *(after if ended else ()),
        *([Packet(5.4, CALLED, CALLER, reply(BYE, 200))] * ended),
    )


def cancelled(branch: str) -> Call:
    cancel = request("CANCEL", contact="", branch=branch)
    code, reason = (200, "OK") if branch == "z9hG4bK1" else (481, "Call/Transaction Does Not Exist")
    return (
        Packet(0, CALLER, CALLED, INVITE),
        Packet(0.2, CALLED, CALLER, reply(INVITE, 180, "Ringing")),
        Packet(5, CALLER, CALLED, cancel),
        Packet(5.05, CALLED, CALLER, reply(cancel, code, reason)),
    )


def timed(talk: float, *between: Packet) -> Call:
    timer = "Session-Expires: 180;refresher=uac"
    ok = reply(INVITE, 200, contact=f"<sip:bob@{CALLED}>", body=ANSWER, extra=(timer,))
    over = Packet(1 + talk, CALLED, CALLER, FAR_BYE)
    return (
        Packet(0, CALLER, CALLED, INVITE),
        Packet(1, CALLED, CALLER, ok),
        Packet(1.1, CALLER, CALLED, ack(INVITE)),
        *between,
        over,
        Packet(1.1 + talk, CALLER, CALLED, reply(FAR_BYE, 200)),
    )


REFRESH = (
    Packet(91, CALLER, CALLED, SECOND_ASK),
    Packet(91.1, CALLED, CALLER, reply(SECOND_ASK, 200, body=ANSWER, extra=("Session-Expires: 180;refresher=uac",))),
    Packet(91.2, CALLER, CALLED, request("ACK", cseq=2, to_tag="called", branch="z9hG4bKack2", contact="")),
)


def changed(code: int, reason: str) -> Call:
    third = request("BYE", cseq=3, to_tag="called", branch="z9hG4bKbye3", contact="")
    return (
        *TALK,
        Packet(10, CALLER, CALLED, SECOND_ASK),
        Packet(10.1, CALLED, CALLER, reply(SECOND_ASK, code, reason)),
        Packet(10.2, CALLER, CALLED, request("ACK", cseq=2, to_tag="called", branch="z9hG4bKre", contact="")),
        Packet(11, CALLER, CALLED, third),
        Packet(11.1, CALLED, CALLER, reply(third, 200)),
    )


def reliable(confirmed: bool) -> Call:
    early = Packet(1, CALLED, CALLER, reply(INVITE, 183, "Session Progress", extra=RELIABLE, body=ANSWER))
    prack = request("PRACK", cseq=2, to_tag="called", branch="z9hG4bKprack", contact="", extra=("RAck: 17 1 INVITE",))
    return (
        Packet(0, CALLER, CALLED, INVITE),
        *resent(early, *((0.5,) if confirmed else (0.5, 1.5, 3.5, 7.5, 15.5, 31.5))),
        *((Packet(1.9, CALLER, CALLED, prack), Packet(2, CALLED, CALLER, reply(prack, 200))) * confirmed),
    )


CASES: dict[str, Case] = {
    "refusal-unacknowledged": Case(
        refusal(False), refusal(True), "warning", "certain", ("198.51.100.10", "404 Not Found"), (2, 2)
    ),
    "bye-unanswered": Case(
        hung_up(False), hung_up(True), "warning", "certain", ("203.0.113.9", CALLED, "11 sent"), (4,)
    ),
    "request-unanswered": Case(
        pings(False),
        pings(True),
        "critical",
        "certain",
        (CALLED, "3 OPTIONS in a row"),
        (1, 5, 9),
        tap={"heard": frozenset({NAT, PROXY})},
    ),
    "dialog-unknown-to-peer": Case(
        refused_inside(481, "Call/Transaction Does Not Exist"),
        refused_inside(200, "OK"),
        "warning",
        "certain",
        ("198.51.100.10", "BYE", "481"),
        (4, 5),
    ),
    "stuck-after-trying": Case(
        trying(20.1, 408, "Request Timeout"),
        trying(4, 486, "Busy Here"),
        "error",
        "certain",
        ("198.51.100.10", "408 Request Timeout", "20.1 s"),
        (2, 3),
    ),
    "slow-post-dial-delay": Case(
        slow(6.2), slow(4.2), "warning", "certain", ("6.3 s", "5.9 s of it behind 192.0.2.77"), (1, 3, 5)
    ),
    "answer-crossed-cancel": Case(
        crossed(False), cancelled("z9hG4bK1"), "error", "certain", ("no ACK and no BYE", "198.51.100.10"), (3, 5, None)
    ),
    "cancel-refused": Case(
        cancelled("z9hG4bKother"),
        cancelled("z9hG4bK1"),
        "error",
        "certain",
        ("481", "branch is not that of the INVITE"),
        (3, 3, 4),
    ),
    "session-expired": Case(
        timed(180.2), timed(180.2, *REFRESH), "error", "likely", ("180 s", "203.0.113.9 should have"), (2, 4)
    ),
    "session-change-refused": Case(
        changed(488, "Not Acceptable Here"),
        changed(491, "Request Pending"),
        "error",
        "certain",
        ("re-INVITE", "488 Not Acceptable Here", "ended there"),
        (4, 5, 7),
    ),
    "prack-missing": Case(reliable(False), reliable(True), "error", "certain", ("198.51.100.10", "183", "7 ×"), (2, 1)),
}
