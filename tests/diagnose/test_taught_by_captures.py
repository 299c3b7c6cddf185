"""What captures of real networks taught the rules: false alarms that are gone, and failures that are told now."""

from __future__ import annotations

from dataclasses import replace

import pytest
from calls import CALLED, CALLER, NAT, PHONE, PROXY, Packet, one, only, reply, request, sdp, told
from cases_routing import asked_twice, attempt, challenge, proof

CONTACT, SDP = "private-contact-to-public-peer", "private-sdp-to-public-peer"
INSIDE, OUTSIDE = f"{PHONE}:5060", f"{NAT}:5060"


# ---------------------------------------------------------------- registrations


def registered(*tags: str, expires: str = "1200", keeps: str = "") -> list[Packet]:
    """A phone behind NAT that takes a new From tag for each REGISTER: all are challenged but the last."""
    packets = []
    for n, tag in enumerate(tags):
        contact = f"<sip:alice@{PHONE}>;expires={expires}"
        ask = request("REGISTER", from_tag=tag, cseq=n + 1, branch=f"z9hG4bK{n}", contact=contact)
        code, reason = (401, "Unauthorized") if n < len(tags) - 1 else (200, "OK")
        kept = f"<sip:alice@{PHONE}>;expires={expires}{keeps}" if code == 200 else ""
        packets += [
            Packet(n, OUTSIDE, CALLED, ask),
            Packet(n + 0.1, CALLED, OUTSIDE, reply(ask, code, reason, contact=kept)),
        ]
    return packets


def test_a_phone_with_a_new_tag_in_each_register_is_told_once() -> None:
    assert "calls to this registration will be lost" in one(CONTACT, *registered("a", "b", "c")).headline


def test_the_registrar_that_keeps_the_nat_address_is_seen_after_the_challenge() -> None:
    found = one(CONTACT, *registered("a", "b", keeps=f';received="sip:{OUTSIDE}"'))
    assert found.severity == "info" and "the registrar keeps the Contact with ;received" in told(found)


@pytest.mark.parametrize("expires", ["parameter", "header"])
def test_a_phone_that_takes_its_leave_wants_no_calls(expires: str) -> None:
    assert one(CONTACT, *registered("a"))
    leaving = registered("a", expires="0")
    if expires == "header":
        leaving = [replace(p, raw=p.raw.replace(b">;expires=0", b">\r\nExpires: 0")) for p in leaving]
    assert only(CONTACT, *leaving) == []


# ---------------------------------------------------------------- credentials


def late(*, users: int = 2) -> list[Packet]:
    """Credentials again and again, each 18 s after their challenge; the server blames the nonce in words alone."""
    packets = list(attempt(0, 1, 401, "Unauthorized", www("n0"), "", "REGISTER"))
    for n in range(1, users + 1):
        given = proof(f"n{n - 1}").replace("Proxy-A", "A")
        packets += attempt(18.0 * n, n + 1, 401, "nonce has changed", www(f"n{n}"), given, "REGISTER")
    return packets


def www(nonce: str) -> str:
    return challenge(nonce).replace("Proxy-Authenticate", "WWW-Authenticate")


def test_a_nonce_that_the_server_calls_old_in_words_is_no_wrong_password() -> None:
    found = one("credentials-rejected", *late())
    assert "its nonce had changed when they came, 17.9 s after the challenge" in found.headline
    assert "it blames the nonce: 401 nonce has changed" in told(found) and "stale=true" in found.advice
    wrong = [replace(p, raw=p.raw.replace(b"nonce has changed", b"Unauthorized")) for p in late()]
    assert "wrong password or user name" in one("credentials-rejected", *wrong).headline


def test_a_closed_door_is_told_beside_a_nonce_that_grew_old() -> None:
    shut = attempt(100, 9, 403, "Wrong password", "", proof("n2").replace("Proxy-A", "A"), "REGISTER")
    assert "403 Wrong password" in one("access-refused", *late(), *shut).headline
    assert only("access-refused", *asked_twice(), *attempt(2, 3, 403, "Forbidden", "", proof("fresh"))) == []


# ---------------------------------------------------------------- ends of calls


def refused_cancel(ended: float) -> tuple[Packet, ...]:
    """The INVITE ends at that time; the CANCEL of 5.0 s is refused 33 s later, for the proxy heard nothing of it."""
    invite, cancel = request(), request("CANCEL", contact="")
    return (
        Packet(0, CALLER, CALLED, invite),
        Packet(0.2, CALLED, CALLER, reply(invite, 100, "Trying")),
        Packet(5, CALLER, CALLED, cancel),
        Packet(ended, CALLED, CALLER, reply(invite, 408, "Request Timeout")),
        Packet(38, CALLED, CALLER, reply(cancel, 408, "Request Timeout", to_tag="other")),
    )


def test_a_cancel_that_is_refused_after_its_invite_ended_leaves_nothing_behind() -> None:
    assert only("cancel-refused", *refused_cancel(7)) == []
    assert "whatever it had begun goes on" in one("cancel-refused", *refused_cancel(39)).headline


def announced(after: float, code: int = 183) -> tuple[Packet, ...]:
    """480 so many seconds after a 183 with an announcement, or after a ring."""
    invite = request(body=sdp())
    early = reply(invite, code, "In band info available", body=sdp(PROXY) if code == 183 else "")
    last = reply(invite, 480, "Error", extra=("Reason: q.850;cause=21",))
    return (
        Packet(0, CALLER, CALLED, invite),
        Packet(0.3, CALLED, CALLER, early),
        Packet(0.3 + after, CALLED, CALLER, last),
    )


def test_an_announcement_just_before_480_is_no_ring() -> None:
    found = one("unavailable", *announced(0.04))
    assert "Call rejected (Q.850 cause 21)" in found.headline
    assert "183 In band info available came 40 ms before, too short for a ring" in told(found)


@pytest.mark.parametrize(("after", "code"), [(20, 183), (0.04, 180)])
def test_a_ring_before_480_is_the_called_party(after: float, code: int) -> None:
    assert only("unavailable", *announced(after, code)) == []


# ---------------------------------------------------------------- trunks over a private network


def called_at(host: str) -> tuple[Packet, ...]:
    """A public gateway calls a private one through a network that both share; `host` stands in the To of its INVITE."""
    invite = request(body=sdp(PROXY)).replace(b"To: <sip:bob@example.org>", f"To: <sip:bob@{host}>".encode())
    answer = reply(invite, 200, contact=f"<sip:bob@{PHONE}>", body=sdp(PHONE))
    return Packet(0, CALLED, INSIDE, invite), Packet(1, INSIDE, CALLED, answer)


def test_a_peer_that_calls_the_private_address_itself_can_send_there() -> None:
    found = one(SDP, *called_at(PHONE))
    assert (found.severity, found.confidence) == ("info", "likely")
    assert f"{PROXY} itself knows it by that address" in found.headline
    assert found.evidence[-1].line == f"To: <sip:bob@{PHONE}>"


def test_a_phone_that_is_called_by_its_domain_stays_a_risk() -> None:
    assert one(SDP, *called_at("example.org")).severity == "warning"


# ---------------------------------------------------------------- headers


def test_a_headline_that_names_four_faults_says_that_there_are_more() -> None:
    bare = Packet(0, CALLER, CALLED, b"REGISTER sip:example.org SIP/2.0\r\nExpires: 3600\r\n\r\n")
    headline = one("header-missing-or-repeated", bare).headline
    assert "no Via, no From, no To, no Call-ID and 2 more faults" in headline


def test_a_200_to_an_invite_without_a_tag_begins_no_dialog() -> None:
    invite = request()
    answer = Packet(1, CALLED, CALLER, reply(invite, 200, contact="<sip:bob@x>", to_tag="").replace(b";tag=\r", b"\r"))
    assert "no tag in its To (first in its 200 to INVITE)" in one("header-missing-or-repeated", answer).headline
    options = request("OPTIONS")
    bare = Packet(1, CALLED, CALLER, reply(options, 200, to_tag="").replace(b";tag=\r", b"\r"))
    assert only("header-missing-or-repeated", bare) == []


def test_a_quote_that_swallows_the_caller_is_told() -> None:
    broken = request().replace(b"From: <", b'From: \\"Al\\" <')
    found = one("header-missing-or-repeated", Packet(0, CALLER, CALLED, broken))
    assert "no readable address in its From" in found.headline
    assert found.evidence[0].line.startswith('From: \\"Al\\" <sip:')
    named = request().replace(b"From: <", b'From: "Al" <')
    assert only("header-missing-or-repeated", Packet(0, CALLER, CALLED, named)) == []
