"""Requests inside a call that go elsewhere than their sender was told, and ACKs that their answer does not accept."""

from __future__ import annotations

import pytest
from calls import CALLED, CALLER, FAR, NAT, OK_TIMES, PROXY, Packet, ack, bye, findings, one, only, reply, request, told
from cases_timers import BYE, INVITE, ROUTE, recorded, repeated_after

IGNORED, ASTRAY = "ack-ignored", "route-set-ignored"
THERE = f"{FAR}:5060"


def to(uri: str, raw: bytes) -> bytes:
    return raw.replace(b"sip:bob@example.org SIP", f"{uri} SIP".encode())


@pytest.mark.parametrize(
    ("good", "why"),
    [
        (ack(INVITE, to_tag="called", from_tag="other"), "its From tag is other, the answer's caller"),
        (ack(INVITE).replace(b"CSeq: 1", b"CSeq: 7"), "its CSeq number is 7, the INVITE's 1"),
        (ack(INVITE).replace(b"z9hG4bKack", b"z9hG4bK1"), "it has the branch of the INVITE"),
        (ack(INVITE), f"its request URI is sip:bob@example.org instead of sip:bob@{CALLED}"),
    ],
)
def test_the_first_mismatch_is_named(good: bytes, why: str) -> None:
    call = repeated_after(Packet(1.1, CALLER, CALLED, good))
    assert why in one(IGNORED, *call).headline
    assert only("missing-ack", *call) == []


def test_an_ack_in_which_nothing_is_wrong() -> None:
    good = Packet(1.1, CALLER, CALLED, to(f"sip:bob@{CALLED}", ack(INVITE)))
    found = one(IGNORED, *repeated_after(good))
    assert (found.confidence, "nothing in it is wrong" in found.headline) == ("likely", True)


def test_an_answer_that_ends_before_64_times_t1_was_acknowledged_in_the_end() -> None:
    good = Packet(1.1, CALLER, CALLED, ack(INVITE))
    assert only(IGNORED, *repeated_after(good, times=OK_TIMES[:4])) == []
    assert one(IGNORED, *repeated_after(good, times=OK_TIMES[:4]), until=9)


def test_the_other_answer_of_a_fork_is_not_acknowledged_by_the_first_ones_ack() -> None:
    other = [Packet(1 + t, CALLED, CALLER, reply(INVITE, 200, to_tag="second")) for t in (0, *OK_TIMES)]
    call = [*repeated_after(Packet(1.1, CALLER, CALLED, ack(INVITE)), times=()), *other]
    assert only(IGNORED, *call) == []
    assert "never got the ACK" in one("missing-ack", *call, heard=frozenset({NAT, PROXY})).headline


def test_a_route_by_name_may_lead_to_another_host() -> None:
    named = "<sip:edge.example.org;lr>"
    routed = bye().replace(b"CSeq", f"Route: {named}\r\nCSeq".encode())
    elsewhere = Packet(20, CALLER, THERE, to(f"sip:bob@{FAR}", routed))
    assert only(ASTRAY, *recorded(elsewhere, route=named)) == []
    assert one(ASTRAY, *recorded(Packet(20, CALLER, THERE, BYE), route=named)).confidence == "certain"


def test_a_wrong_target_matters_only_where_it_fails() -> None:
    routed = bye().replace(b"CSeq", f"Route: {ROUTE}\r\nCSeq".encode())
    sent = Packet(20, CALLER, CALLED, routed)
    refused = Packet(20.1, CALLED, CALLER, reply(routed, 404, "Not Found"))
    assert only(ASTRAY, *recorded(sent, Packet(20.1, CALLED, CALLER, reply(routed, 200)))) == []
    found = one(ASTRAY, *recorded(sent, refused))
    assert f"request URI sip:bob@example.org instead of sip:bob@{FAR} and got 404" in found.headline


def test_a_dialog_is_known_by_its_tags_whatever_the_target() -> None:
    routed = bye().replace(b"CSeq", f"Route: {ROUTE}\r\nCSeq".encode())
    gone = Packet(20.1, CALLED, CALLER, reply(routed, 481, "No Such Call"))
    call = recorded(Packet(20, CALLER, CALLED, routed), gone)
    assert only(ASTRAY, *call) == []
    assert one("dialog-unknown-to-peer", *call)


def test_a_wrong_route_that_is_refused() -> None:
    routed = to(f"sip:bob@{FAR}", bye().replace(b"CSeq", b"Route: <sip:10.1.1.1;lr>\r\nCSeq"))
    refused = Packet(20.1, CALLED, CALLER, reply(routed, 481, "No Such Call"))
    found = one(ASTRAY, *recorded(Packet(20, CALLER, CALLED, routed), refused))
    assert "Route: <sip:10.1.1.1;lr>" in told(found)
    assert [f.name for f in findings(Packet(20, CALLER, CALLED, routed), refused, *recorded())] == [ASTRAY]


def test_a_strict_router_stands_in_the_request_uri() -> None:
    strict = f"<sip:{PROXY}>"
    routed = to(f"sip:{PROXY}", bye().replace(b"CSeq", f"Route: <sip:bob@{FAR}>\r\nCSeq".encode()))
    refused = Packet(20.1, CALLED, CALLER, reply(routed, 500, "Server Error"))
    assert only(ASTRAY, *recorded(Packet(20, CALLER, CALLED, routed), refused, route=strict)) == []


def test_the_called_side_is_held_to_the_record_route_of_the_invite() -> None:
    invite = request(extra=[f"Record-Route: {ROUTE}"])
    start = [
        Packet(0, CALLED, THERE, invite),
        Packet(1, THERE, CALLED, reply(invite, 200, contact=f"<sip:bob@{FAR}>")),
        Packet(1.1, CALLED, THERE, ack(invite)),
    ]
    back = bye(THERE, from_tag="called", to_tag="caller")
    assert FAR in one(ASTRAY, *start, Packet(9, THERE, CALLER, back)).headline
    assert only(ASTRAY, *start, Packet(9, THERE, CALLED, back)) == []


def test_a_target_that_was_refreshed_is_the_new_one() -> None:
    moved = request(from_tag="called", to_tag="caller", cseq=7, branch="z9hG4bKre", contact="<sip:bob@192.0.2.99>")
    refresh = [Packet(9, CALLED, CALLER, moved), Packet(9.1, CALLER, CALLED, reply(moved, 200))]
    routed = to("sip:bob@192.0.2.99", bye().replace(b"CSeq", f"Route: {ROUTE}\r\nCSeq".encode()))
    end = [Packet(20, CALLER, CALLED, routed), Packet(20.1, CALLED, CALLER, reply(routed, 404, "Not Found"))]
    assert only(ASTRAY, *recorded(*refresh, *end)) == []
    assert "192.0.2.99" in told(one(ASTRAY, *recorded(*end)))


def test_a_proxy_that_sends_on_a_request_is_not_its_sender() -> None:
    onward = BYE.replace(b"Via:", b"Via: SIP/2.0/UDP 198.51.100.10;branch=z9hG4bKp\r\nVia:", 1)
    call = recorded(Packet(20, CALLER, CALLED, BYE), Packet(20.1, CALLED, "192.0.2.5:5060", onward))
    assert [f.name for f in findings(*call) if f.name == ASTRAY] == []
