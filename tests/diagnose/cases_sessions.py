"""Sessions: pings, CANCEL, session timers, changes of a running call, PRACK. For each a pair of calls."""

from __future__ import annotations

from calls import CALLED, CALLER, NAT, PROXY, Packet, ack, answered, bye, reply, request, resent, sdp
from case import Call, Case

INVITE = request(body=sdp())
OFFER, ANSWER = sdp(), sdp("198.51.100.10")
TALK = answered(OFFER, ANSWER)
BYE = bye()
FAR_BYE = bye(CALLED, from_tag="called", to_tag="caller")
CANCEL = request("CANCEL", contact="")
SECOND_ASK = request(body=sdp(), branch="z9hG4bKre", cseq=2, to_tag="called")
RELIABLE = ("Require: 100rel", "RSeq: 17")


def pings(answered_last: bool) -> Call:
    out: list[Packet] = []
    for n in range(3):
        ping = request("OPTIONS", branch=f"z9hG4bKping{n}", cseq=n + 1)
        out += resent(Packet(60 * n, CALLER, CALLED, ping), 0.5, 1.5, 3.5)
    return (*out, *([Packet(121, CALLED, CALLER, reply(ping, 200))] * answered_last))


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
    "request-unanswered": Case(
        pings(False),
        pings(True),
        "critical",
        "certain",
        (CALLED, "3 OPTIONS in a row"),
        (1, 5, 9),
        tap={"heard": frozenset({NAT, PROXY})},
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
