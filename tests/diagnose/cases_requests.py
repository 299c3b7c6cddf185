"""Changes that collide, timers, CANCELs without effect, pings and transfers inside a call: a pair of calls for each."""

from __future__ import annotations

from calls import CALLED, CALLER, NAT, PROXY, Packet, answered, bye, reply, request, resent, sdp
from case import Call, Case

BOTH = {"heard": frozenset({NAT, PROXY})}
INVITE = request(body=sdp())
TALK = answered(sdp(), sdp(PROXY))
FAR_BYE = bye(CALLED, from_tag="called", to_tag="caller")


def far(method: str, cseq: int, **more: str) -> bytes:
    """A request of the called side inside the call."""
    return request(
        method,
        via=CALLED,
        from_tag="called",
        to_tag="caller",
        cseq=cseq,
        branch=f"z9hG4bKfar{method}{cseq}",
        contact=f"<sip:bob@{CALLED}>",
        **more,  # type: ignore[arg-type]
    )


def near(method: str, cseq: int, *extra: str, body: str = "") -> bytes:
    """One of the caller."""
    return request(method, to_tag="called", cseq=cseq, branch=f"z9hG4bKnear{method}{cseq}", extra=extra, body=body)


def crossing(later: bool, code: int = 491, *extra: str) -> Call:
    """Both sides update the session; the second one before, or after, the first is done."""
    mine, yours = near("UPDATE", 2), far("UPDATE", 7)
    done = Packet(10.2, CALLED, CALLER, reply(mine, code, "Request Pending", extra=extra))
    at = 10.5 if later else 10.05
    return (
        *TALK,
        Packet(10, CALLER, CALLED, mine),
        Packet(at, CALLED, CALLER, yours),
        Packet(at + 0.3, CALLER, CALLED, reply(yours, 200)),
        done,
    )


def too_small(again: int) -> Call:
    """422, and the next try."""
    first = request(extra=("Session-Expires: 90",))
    second = request(cseq=2, branch="z9hG4bK2", extra=(f"Session-Expires: {again}", "Min-SE: 1800"))
    return (
        Packet(0, CALLER, CALLED, first),
        Packet(0.1, CALLED, CALLER, reply(first, 422, "Session Interval Too Small", extra=("Min-SE: 1800",))),
        Packet(0.2, CALLER, CALLED, request("ACK", to_tag="called", contact="")),
        Packet(0.3, CALLER, CALLED, second),
        Packet(3, CALLED, CALLER, reply(second, 486, "Busy Here")),
    )


def cancelled(final: bool, taken: bool = True) -> Call:
    """CANCEL while it rings."""
    cancel = request("CANCEL", contact="")
    own_ack = Packet(5.3, CALLER, CALLED, request("ACK", to_tag="called", contact=""))
    return (
        Packet(0, CALLER, CALLED, INVITE),
        Packet(0.2, CALLED, CALLER, reply(INVITE, 180, "Ringing")),
        Packet(5, CALLER, CALLED, cancel),
        *((Packet(5.1, CALLED, CALLER, reply(cancel, 200)),) * taken),
        *((Packet(5.2, CALLED, CALLER, reply(INVITE, 487, "Request Terminated")), own_ack) * final),
    )


def pinged(answered_ping: bool, pause: float = 32) -> Call:
    """The called side asks inside the call whether anybody is there, and hangs up."""
    ping = far("OPTIONS", 7)
    back = Packet(30.1, CALLER, CALLED, reply(ping, 200))
    return (
        *TALK,
        *resent(Packet(30, CALLED, CALLER, ping), *(() if answered_ping else (0.5, 1.5, 3.5, 7.5))),
        *((back,) * answered_ping),
        Packet(30 + pause, CALLED, CALLER, FAR_BYE),
        Packet(30.1 + pause, CALLER, CALLED, reply(FAR_BYE, 200)),
    )


def ended(reason: str, after: float = 61) -> Call:
    """The called side hangs up and says why."""
    over = FAR_BYE.replace(b"Max-Forwards", f"Reason: {reason}\r\nMax-Forwards".encode())
    return (*TALK, Packet(1 + after, CALLED, CALLER, over), Packet(1.1 + after, CALLER, CALLED, reply(over, 200)))


def transferred(status: str, code: int = 202) -> Call:
    """The caller sends the called side to carol."""
    refer = near("REFER", 2, "Refer-To: <sip:carol@192.0.2.77>")
    body = f"SIP/2.0 {status}\r\n"
    head = far("NOTIFY", 7).decode().split("Content-Length")[0]
    notify = (
        f"{head}Event: refer\r\nContent-Type: message/sipfrag\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    return (
        *TALK,
        Packet(10, CALLER, CALLED, refer),
        Packet(10.1, CALLED, CALLER, reply(refer, code, "Accepted" if code == 202 else "Decline")),
        *((Packet(14, CALLED, CALLER, notify), Packet(14.1, CALLER, CALLED, reply(notify, 200))) * (code < 300)),
    )


CASES: dict[str, Case] = {
    "changes-collided": Case(
        crossing(False), crossing(True, 488), "info", "certain", (PROXY, NAT, "491", "at the same moment"), (4, 5, 6)
    ),
    "session-interval-too-small": Case(
        too_small(600),
        too_small(1800),
        "error",
        "certain",
        (PROXY, "90 s", NAT, "600 s instead of at least 1800 s"),
        (1, 2, 4),
    ),
    "cancel-without-effect": Case(
        cancelled(False),
        cancelled(True),
        "error",
        "certain",
        (NAT, PROXY, "never ended the INVITE"),
        (3, 4, 1),
        tap=BOTH,
    ),
    "ping-in-call-unanswered": Case(
        pinged(False), pinged(True), "error", "certain", (PROXY, NAT, "a ping", "OPTIONS"), (4, 9, 10), tap=BOTH
    ),
    "cut-by-timer": Case(
        ended('Q.850;cause=102;text="RTP Timeout"'),
        ended('Q.850;cause=16;text="Normal call clearing"'),
        "error",
        "certain",
        (PROXY, "61.0 s", "no audio", "RTP Timeout"),
        (2, 4),
    ),
    "transfer-failed": Case(
        transferred("486 Busy Here"),
        transferred("200 OK"),
        "warning",
        "certain",
        (NAT, "carol", "486 Busy Here"),
        (4, 5, 6),
    ),
}
