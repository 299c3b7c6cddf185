"""Oddities of signalling that few calls show: extensions, timer values, CSeq, several answers, malformed bodies."""

from __future__ import annotations

from calls import CALLED, CALLER, FAR, NAT, PHONE, PROXY, Packet, ack, answered, bye, reply, request, resent, sdp
from case import Call, Case

BOTH = {"heard": frozenset({NAT, PROXY})}
INVITE = request(body=sdp())
TALK = answered(sdp(), sdp(PROXY))
DAY = 86_400


def timed(answer: str) -> Call:
    """A call whose answer says this about the session timer."""
    invite = request(body=sdp(), extra=("Session-Expires: 1800;refresher=uas",))
    ok = reply(invite, 200, contact=f"<sip:bob@{CALLED}>", body=sdp(PROXY), extra=(f"Session-Expires: {answer}",))
    return (Packet(0, CALLER, CALLED, invite), Packet(1, CALLED, CALLER, ok), Packet(1.1, CALLER, CALLED, ack(invite)))


def extended(code: int) -> Call:
    """An INVITE that requires something, and what it got."""
    invite = request(body=sdp(), extra=("Require: 100rel, precondition",))
    own_ack = request("ACK", to_tag="called", contact="")
    final = reply(invite, code, "Bad Extension", extra=("Unsupported: precondition",))
    return (
        Packet(0, CALLER, CALLED, invite),
        Packet(0.1, CALLED, CALLER, final),
        Packet(0.2, CALLER, CALLED, own_ack),
    )


def terminated(cancelled: bool) -> Call:
    cancel = request("CANCEL", contact="")
    asked = (Packet(8.9, CALLER, CALLED, cancel), Packet(8.95, CALLED, CALLER, reply(cancel, 200)))
    return (
        Packet(0, CALLER, CALLED, INVITE),
        Packet(0.2, CALLED, CALLER, reply(INVITE, 180, "Ringing")),
        *(asked * cancelled),
        Packet(9, CALLED, CALLER, reply(INVITE, 487, "Request Terminated")),
        Packet(9.1, CALLER, CALLED, request("ACK", to_tag="called", contact="")),
    )


def late(rang: bool) -> Call:
    """408 after six seconds."""
    first = reply(INVITE, 180, "Ringing") if rang else reply(INVITE, 100, "Trying")
    return (
        Packet(0, CALLER, CALLED, INVITE),
        Packet(0.1, CALLED, CALLER, first),
        Packet(6, CALLED, CALLER, reply(INVITE, 408, "Request Timeout")),
        Packet(6.1, CALLER, CALLED, request("ACK", to_tag="called", contact="")),
    )


def forked(ended: bool) -> Call:
    """Two telephones answer."""
    out = [Packet(0, CALLER, CALLED, INVITE)]
    for n, tag in enumerate(("desk", "mobile")):
        ok = reply(INVITE, 200, contact=f"<sip:bob@{CALLED}>", body=sdp(PROXY), to_tag=tag)
        own_ack = ack(INVITE, to_tag=tag).replace(b"z9hG4bKack", f"z9hG4bKack{n}".encode())
        out += [Packet(2 + n / 10, CALLED, CALLER, ok), Packet(2.05 + n / 10, CALLER, CALLED, own_ack)]
    over = bye(to_tag="mobile")
    return (*out, *((Packet(2.3, CALLER, CALLED, over), Packet(2.4, CALLED, CALLER, reply(over, 200))) * ended))


def numbered(second: int) -> Call:
    """An UPDATE with the number 5, then a BYE."""
    update = request("UPDATE", to_tag="called", cseq=5, branch="z9hG4bKup")
    over = bye(cseq=second)
    code, reason = (200, "OK") if second > 5 else (500, "Server Internal Error")
    return (
        *TALK,
        Packet(10, CALLER, CALLED, update),
        Packet(10.1, CALLED, CALLER, reply(update, 200)),
        Packet(20, CALLER, CALLED, over),
        Packet(20.1, CALLED, CALLER, reply(over, code, reason)),
    )


def late_reply(sends: int) -> Call:
    times = (0.5, 1.5, 3.5)[: sends - 1]
    return (
        *resent(Packet(0, CALLER, CALLED, INVITE), *times),
        Packet((times or (0,))[-1] + 0.2, CALLED, CALLER, reply(INVITE, 100, "Trying")),
        Packet(5, CALLED, CALLER, reply(INVITE, 486, "Busy Here")),
        Packet(5.1, CALLER, CALLED, request("ACK", to_tag="called", contact="")),
    )


def neighbours(other: str) -> Call:
    """A proxy joins two telephones; the second is behind the NAT `other`."""
    invite = request(via=f"{PHONE}:5060", contact=f"<sip:alice@{NAT}:31044>", body=sdp(PHONE))
    onward = invite.replace(b"Via:", f"Via: SIP/2.0/UDP {PROXY};branch=z9hG4bKp\r\nVia:".encode(), 1)
    ok = reply(onward, 200, contact=f"<sip:bob@{other}:32055>", body=sdp("192.168.1.77"))
    return (
        Packet(0, f"{NAT}:31044", CALLED, invite),
        Packet(0.1, CALLED, f"{other}:32055", onward),
        Packet(2, f"{other}:32055", CALLED, ok),
    )


def noted(received: str) -> Call:
    """A telephone behind a NAT, and the reply to it."""
    invite = request(via=f"{PHONE}:5060", contact=f"<sip:alice@{NAT}:31044>")
    trying = reply(invite, 100, "Trying").replace(b";rport;", f";rport=31044{received};".encode())
    return (Packet(0, f"{NAT}:31044", CALLED, invite), Packet(0.1, CALLED, f"{NAT}:31044", trying))


CASES: dict[str, Case] = {
    "session-timer-invalid": Case(
        timed("3600;refresher=uas"),
        timed("1800;refresher=uas"),
        "warning",
        "certain",
        (PROXY, "from 1800 s to 3600 s"),
        (2,),
    ),
    "extension-refused": Case(
        extended(420), extended(486), "error", "certain", (PROXY, "420", "precondition", NAT), (2, 1)
    ),
    "terminated-without-cancel": Case(
        terminated(False), terminated(True), "info", "certain", (PROXY, "487 after 9.0 s", NAT), (3, None), tap=BOTH
    ),
    "timeout-reply": Case(late(False), late(True), "warning", "certain", (PROXY, NAT, "408 after 6.0 s"), (3,)),
    "several-answers": Case(
        forked(False), TALK, "warning", "certain", ("2 parties", NAT, "2 of those"), (2, 4, None), tap=BOTH
    ),
    "cseq-not-rising": Case(numbered(3), numbered(6), "error", "certain", (NAT, "number 3 after 5", "500"), (4, 6, 7)),
    "call-without-end": Case(
        TALK, TALK, "info", "possible", ("Nobody hung up",), (2, 3), tap={"until": DAY}, near_tap={"until": 7200}
    ),
    "slow-first-reply": Case(
        late_reply(3), late_reply(1), "warning", "certain", (PROXY, NAT, "1.7 s and 3 sends"), (1, 4)
    ),
    "same-public-address": Case(
        neighbours(NAT), neighbours(FAR), "info", "likely", (NAT, PHONE, "192.168.1.77"), (1, 3)
    ),
    "sdp-malformed": Case(
        answered(sdp().replace("t=0 0\r\n", ""), sdp(PROXY)),
        answered(sdp(), sdp(PROXY)),
        "warning",
        "certain",
        (NAT, "no t= (time) line"),
        (1,),
    ),
    "media-port-unusual": Case(
        answered(sdp(port=4001), sdp(PROXY)),
        answered(sdp(port=4002), sdp(PROXY)),
        "info",
        "certain",
        (NAT, f"{NAT}:4001", "an odd port"),
        (1,),
    ),
    "received-missing": Case(noted(""), noted(f";received={NAT}"), "info", "certain", (PROXY, NAT, "INVITE"), (1, 2)),
}
