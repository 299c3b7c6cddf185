"""Pairs for the rules about routing, limits, authentication, causes and the form of messages."""

from __future__ import annotations

import base64
import json

from calls import CALLED, CALLER, FAR, NAT, PROXY, SECOND, START, Packet, answered, bye, reply, request, sdp
from case import Call, Case

from capture.flags import FRAGMENTED


def refused(code: int, reason: str, *extra: str, agent: str = "") -> Call:
    """INVITE, 100, a final failure, ACK."""
    invite = request(body=sdp(), extra=[agent] if agent else [])
    return (
        Packet(0, CALLER, CALLED, invite),
        Packet(0.1, CALLED, CALLER, reply(invite, 100, "Trying")),
        Packet(1, CALLED, CALLER, reply(invite, code, reason, extra=extra)),
        Packet(1.1, CALLER, CALLED, request("ACK", to_tag="called", contact="")),
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


OTHER, THIRD = f"{FAR}:5060", "192.0.2.99:5060"


def circling(rounds: int, grows: bool = True) -> Call:
    """CALLER → PROXY, and then between PROXY and OTHER; each hop puts its Via on top, or forgets those below."""
    out, vias, left = [], [], 70
    hops = [(CALLER, CALLED)] + [(CALLED, OTHER), (OTHER, CALLED)] * (rounds - 1)
    for n, (src, dst) in enumerate(hops):
        own = f"z9hG4bKhop{n}"
        below = [f"Via: {v}" for v in vias] if grows else []
        out.append(Packet(n / 100, src, dst, request(via=src, branch=own, extra=[*below, f"Max-Forwards: {left}"])))
        vias.insert(0, f"SIP/2.0/UDP {src};branch={own}")
        left -= 1
    return tuple(out)


def hops(code: int, reason: str, method: str = "INVITE", left: int = 0) -> Call:
    """A request with four Vias is refused."""
    below = [f"Via: SIP/2.0/UDP 192.0.2.{n};branch=z9hG4bKv{n}" for n in range(3)]
    ask = request(method, extra=[*below, f"Max-Forwards: {left}"])
    return (Packet(0, CALLER, CALLED, ask), Packet(0.1, CALLED, CALLER, reply(ask, code, reason)))


def ended(reason: str, method: str = "BYE") -> Call:
    """A call of 20 s that the called side ends."""
    over = bye(CALLED, from_tag="called", to_tag="caller").replace(b"Call-ID", f"Reason: {reason}\r\nCall-ID".encode())
    return (*answered(sdp(), sdp(PROXY)), Packet(21, CALLED, CALLER, over))


def two_ways(pause: float, code: int = 503) -> Call:
    """PROXY tries OTHER, and then (or at once) THIRD."""
    one, two = request(via=CALLED, branch="z9hG4bKa"), request(via=CALLED, branch="z9hG4bKb")
    return (
        Packet(0, CALLED, OTHER, one),
        Packet(0.2, OTHER, CALLED, reply(one, code, "No", to_tag="o")),
        Packet(pause, CALLED, THIRD, two),
        Packet(pause + 1, THIRD, CALLED, reply(two, 200, to_tag="t", contact="<sip:bob@192.0.2.99>")),
    )


def moved(code: int = 302, contact: str = f"<sip:bob@{OTHER}>", reason: str = "Moved") -> Call:
    """A redirection that nobody follows."""
    ask = request()
    return (Packet(0, CALLER, CALLED, ask), Packet(0.1, CALLED, CALLER, reply(ask, code, reason, contact=contact)))


def changed(raw: bytes, old: str, new: str) -> bytes:
    """The message with one thing changed on its way."""
    assert old.encode() in raw
    return raw.replace(old.encode(), new.encode(), 1)


def measured(length: int, transport: str = "udp") -> Call:
    """An INVITE whose body of 100 bytes comes with this Content-Length."""
    body = sdp() + "a=x:" + "y" * (94 - len(sdp())) + "\r\n"
    invite = changed(request(body=body, transport=transport.upper()), "Length: 100", f"Length: {length}")
    return (Packet(0, CALLER, CALLED, invite, transport),)


def contactless(**more: str) -> Call:
    """An INVITE with this Contact, or none, and its refusal."""
    invite = request(body=sdp(), **more)
    return (Packet(0, CALLER, CALLED, invite), Packet(1, CALLED, CALLER, reply(invite, 486, "Busy Here")))


def sized(bytes_: int, flags: int = 0, at: float = 0, transport: str = "udp") -> Call:
    """An INVITE of so many bytes, and an answer after a second."""
    bare = len(request(extra=["Subject: "]))
    invite = request(extra=["Subject: " + "x" * (bytes_ - bare)])
    return (
        Packet(at, CALLER, CALLED, invite, transport, flags),
        Packet(at + 1, CALLED, CALLER, reply(invite, 486, "Busy Here"), transport),
    )


def strict(raw: bytes) -> Call:
    """A request as it should be, but for what the caller changed."""
    return (Packet(0, CALLER, CALLED, raw),)


def identity(
    attest: str = "A", orig: str = "441632960001", dest: str = "441632960002", at: int = START // SECOND
) -> str:
    """An Identity header; its signature is empty, since nobody can check it."""
    claims = {"attest": attest, "dest": {"tn": [dest]}, "iat": at, "orig": {"tn": orig}, "origid": "x"}
    middle = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"Identity: e30.{middle}.c2ln;info=<https://cert.example/1.pem>;alg=ES256;ppt=shaken"


def signed(header: str, code: int = 486, reason: str = "Busy Here") -> Call:
    """A call with numbers, and with that statement."""
    raw = request(extra=[header] if header else []).replace(b"<sip:alice@", b"<sip:+441632960001@")
    invite = raw.replace(b"<sip:bob@", b"<sip:01632960002@")
    return (Packet(0, CALLER, CALLED, invite), Packet(1, CALLED, CALLER, reply(invite, code, reason)))


def rung(code: int = 180) -> Call:
    """480, after something came before."""
    start, *rest = refused(480, "Not Here", "Reason: Q.850;cause=20")
    return (start, Packet(0.5, CALLED, CALLER, reply(start.raw, code, "Ringing", contact="<sip:b@x>")), *rest)


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
    "loop-detected": Case(
        circling(4),
        circling(4, grows=False),
        "error",
        "certain",
        (f"between {PROXY} and {FAR}", "4 ×"),
        (1, 3, 5, 7),
    ),
    "too-many-hops": Case(
        hops(483, "Too Many Hops"),
        hops(483, "Too Many Hops", "OPTIONS"),
        "error",
        "certain",
        (PROXY, "4 hops", "Max-Forwards 0"),
        (2, 1),
    ),
    "isdn-cause": Case(
        refused(503, "Service Unavailable", "Reason: Q.850;cause=17"),
        refused(486, "Busy Here", "Reason: Q.850;cause=17"),
        "warning",
        "certain",
        (PROXY, "503 Service Unavailable", "cause 17 (User busy)", "486 Busy Here"),
        (3,),
    ),
    "hang-up-reason": Case(
        ended('Q.850;cause=41;text="Temporary failure"'),
        ended('Q.850;cause=16;text="Normal call clearing"'),
        "info",
        "certain",
        ("called side, downstream", PROXY, "20.0 s", "Temporary failure (Q.850 cause 41)"),
        (4,),
    ),
    "failover": Case(
        two_ways(0.3),
        two_ways(0.01),
        "info",
        "certain",
        (PROXY, "2 ways", "bob", f"{FAR} (503 No)", "192.0.2.99 (200 OK)"),
        (2, 4),
    ),
    "redirected": Case(
        moved(),
        moved(302, reason="Max concurrent calls"),
        "info",
        "certain",
        (PROXY, "302 Moved", f"sip:bob@{OTHER}", "nobody followed"),
        (2,),
    ),
    "content-length-wrong": Case(
        measured(60),
        measured(100),
        "error",
        "certain",
        (NAT, "INVITE", "40 bytes more", "60"),
        (1, 1),
    ),
    "missing-contact": Case(
        contactless(contact=""),
        contactless(),
        "error",
        "certain",
        (NAT, "INVITE", "no Contact", "BYE and re-INVITE"),
        (1,),
    ),
    "large-udp-message": Case(
        sized(1900, FRAGMENTED),
        sized(1900, transport="tcp"),
        "warning",
        "certain",
        (NAT, "INVITE", "1900 bytes", "in IP fragments"),
        (1,),
    ),
    "header-missing-or-repeated": Case(
        strict(changed(request(), "Contact:", "CSeq: 2 INVITE\r\nContact:")),
        strict(request()),
        "warning",
        "certain",
        (NAT, "2 × CSeq", "INVITE"),
        (1,),
    ),
    "transport-contradiction": Case(
        (Packet(0, CALLER, CALLED, request(transport="TCP")),),
        (Packet(0, CALLER, CALLED, request(transport="TCP"), "tls"),),
        "warning",
        "certain",
        (NAT, "INVITE over UDP", "Via says TCP"),
        (1,),
    ),
    "busy-or-declined": Case(
        refused(486, "Busy Here", "Reason: Q.850;cause=17"),
        refused(486, "Channel limit reached"),
        "info",
        "certain",
        ("bob is busy", "486 Busy Here", PROXY, "1.0 s"),
        (3, 3),
    ),
    "scanner": Case(
        refused(404, "Not Found", agent="User-Agent: friendly-scanner"),
        refused(404, "Not Found", agent="User-Agent: friendly phone"),
        "warning",
        "certain",
        (NAT, "friendly-scanner"),
        (1,),
    ),
    "unavailable": Case(
        refused(480, "Not Here", "Reason: Q.850;cause=20"),
        rung(),
        "info",
        "certain",
        ("bob was not available", PROXY, "480 Not Here", "Subscriber absent (Q.850 cause 20)"),
        (3, 3),
    ),
    "caller-identity": Case(
        signed(identity(orig="12125550100")),
        signed(identity()),
        "warning",
        "certain",
        (NAT, "signed for 12125550100", "the call shows +441632960001"),
        (1,),
    ),
    "unreadable-part": Case(
        strict(changed(request(), "To:", "this is no header\r\nTo:")),
        strict(changed(request(), "To:", "this-is: a header\r\nTo:")),
        "info",
        "certain",
        (NAT, "INVITE", "line 4 is no header"),
        (1,),
    ),
}
