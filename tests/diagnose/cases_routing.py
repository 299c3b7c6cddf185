"""Pairs for the rules about routing, limits, authentication, causes and the form of messages."""

from __future__ import annotations

from calls import CALLED, CALLER, NAT, PROXY, Packet, reply, request, sdp
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


REALM, NONCE = "voice.example", "84f1c1ae6cbe5ua9c8e88dfa3ecm3459"


def challenge(nonce: str = NONCE, more: str = "", realm: str = REALM) -> str:
    """The header of a 407."""
    return f'Proxy-Authenticate: Digest realm="{realm}", nonce="{nonce}"{more}'


def proof(nonce: str = NONCE, more: str = "", realm: str = REALM) -> str:
    """The header that answers it."""
    return f'Proxy-Authorization: Digest username="alice", realm="{realm}", nonce="{nonce}", response="0"{more}'


def attempt(at: float, cseq: int, code: int, reason: str, answer: str, given: str = "", method: str = "INVITE") -> Call:
    """One try, its final answer and ACK."""
    more = {"cseq": cseq, "branch": f"z9hG4bK{cseq}x{at}"}
    ask = request(method, extra=[given] if given else [], **more)
    done = Packet(at + 0.1, CALLED, CALLER, reply(ask, code, reason, extra=[answer] if answer else []))
    acked = Packet(at + 0.2, CALLER, CALLED, request("ACK", to_tag="called", contact="", **more))
    return (Packet(at, CALLER, CALLED, ask), done, *([acked] if method == "INVITE" else []))


def asked_twice(second: str = challenge("fresh"), given: str = proof()) -> Call:
    """Challenge, credentials, challenge."""
    return (*attempt(0, 1, 407, "Auth", challenge()), *attempt(1, 2, 407, "Auth", second, given))


def called(number: str, code: int = 404, reason: str = "Not Found") -> Call:
    """A call to a number that is refused."""
    invite = request(body=sdp()).replace(b"sip:bob@example.org SIP", f"sip:{number}@example.org SIP".encode())
    return (Packet(0, CALLER, CALLED, invite), Packet(1, CALLED, CALLER, reply(invite, code, reason)))


CASES: dict[str, Case] = {
    "server-error": Case(
        refused(503, "Service Unavailable", 'Reason: Q.850;cause=38;text="Network out of order"'),
        refused(503, "Service Unavailable", "Retry-After: 10"),
        "critical",
        "certain",
        (PROXY, "bob", "503 Service Unavailable"),
        (3, 3),
    ),
    "credentials-rejected": Case(
        asked_twice(),
        asked_twice(challenge("fresh", ", stale=TRUE")),
        "error",
        "certain",
        (PROXY, "alice", REALM, "INVITE", "wrong password or user name"),
        (2, 4, 5),
    ),
    "challenge-unanswered": Case(
        attempt(0, 1, 407, "Auth", challenge()),
        (*attempt(0, 1, 407, "Auth", challenge()), *attempt(1, 2, 486, "Busy", "", proof())),
        "error",
        "certain",
        (PROXY, NAT, REALM, "32.0 s", "INVITE"),
        (2,),
    ),
    "access-refused": Case(
        refused(403, "IP not allowed"),
        refused(480, "IP not allowed"),
        "error",
        "certain",
        (PROXY, NAT, "403 IP not allowed", "without asking for a password"),
        (3,),
    ),
    "number-refused": Case(
        called("+441632960001"),
        called("+441632960001", 480, "Not Here"),
        "error",
        "certain",
        (PROXY, "+441632960001", "12 digits after a +", "404 Not Found"),
        (1, 2),
    ),
}
