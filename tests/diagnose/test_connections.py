"""What the end of a TCP connection explains, when it harmed nothing, and what it leaves to other rules."""

from __future__ import annotations

from calls import CALLED, CALLER, NAT, PROXY, Packet, ack, bye, findings, one, only, reply, request, sdp, told
from cases_connections import BOTH, INVITE, OK, OTHER, RINGS, end

NAME = "connection-cut"
FIRST = f"{NAT}:41000"
UPSTREAM = "192.0.2.77:5060"
TALK = (
    *RINGS,
    Packet(2, CALLED, CALLER, OK.raw, "tcp"),
    Packet(2.1, CALLER, CALLED, ack(INVITE, transport="TCP"), "tcp"),
)


def test_silence_that_is_explained_is_not_told_again() -> None:
    alone = RINGS[:1]
    assert [f.name for f in findings(*alone, **BOTH)] == ["invite-unanswered"]
    assert [f.name for f in findings(*alone, **BOTH, ends=(end(3, reset=False),))] == [NAME]


def test_an_end_at_another_pair_of_ports_or_before_the_call_is_another_matter() -> None:
    assert not only(NAME, *RINGS, **BOTH, ends=(end(3, by=f"{PROXY}:5062"),))


def test_an_end_behind_the_call_is_none_of_its_faults() -> None:
    over = (Packet(20, CALLER, CALLED, bye(), "tcp"), Packet(20.1, CALLED, CALLER, reply(bye(), 200), "tcp"))
    assert not only(NAME, *TALK, *over, **BOTH, ends=(end(20.2, reset=False),))


def test_a_connection_that_was_idle_and_replaced() -> None:
    over = (Packet(20, FIRST, CALLED, bye(), "tcp"), Packet(20.1, CALLED, FIRST, reply(bye(), 200), "tcp"))
    assert not only(NAME, *TALK, *over, **BOTH, ends=(end(10, reset=False),))


def test_an_idle_end_after_which_nothing_more_is_seen_is_information() -> None:
    assert one(NAME, *TALK, **BOTH, ends=(end(10),)).severity == "info"
    assert not only(NAME, *TALK, **{**BOTH, "until": 30.0}, ends=(end(10),)), "too early to say"


def test_a_bye_into_a_closed_connection() -> None:
    hang_up = Packet(20, CALLER, CALLED, bye(), "tcp")
    found = one(NAME, *TALK, hang_up, **BOTH, ends=(end(10, reset=False),))
    assert found.severity == "error" and "closed its TCP connection" in found.headline
    assert "10.0 s before the BYE" in found.headline
    assert not only("bye-unanswered", *TALK, hang_up, **BOTH, ends=(end(10, reset=False),))


def test_the_same_ports_again_are_another_connection() -> None:
    ping = request("OPTIONS", cseq=3, branch="z9hG4bKping", transport="TCP")
    alive = (Packet(15, CALLED, CALLER, ping, "tcp"), Packet(15.1, CALLER, CALLED, reply(ping, 200), "tcp"))
    hang_up = Packet(20, CALLER, CALLED, bye(), "tcp")
    assert not only(NAME, *TALK, *alive, hang_up, **BOTH, ends=(end(10),))


def test_the_caller_that_tries_again_on_another_connection() -> None:
    second = request(body=sdp(), transport="TCP", branch="z9hG4bK2", cseq=2)
    again = Packet(4, FIRST, CALLED, second, "tcp")
    ok = Packet(6, CALLED, FIRST, reply(second, 200, body=sdp(PROXY), contact=f"<sip:bob@{CALLED}>"), "tcp")
    found = one(NAME, *RINGS, again, ok, **BOTH, ends=(end(3),))
    assert (found.severity, found.precedence) == ("info", 90) and "came all the same" in told(found)


def test_the_proxy_that_tells_the_caller() -> None:
    asked = Packet(-0.1, UPSTREAM, CALLER, request(via=UPSTREAM, branch="z9hG4bK0", body=sdp()))
    failed = Packet(3.1, CALLER, UPSTREAM, reply(asked.raw, 503, "Service Unavailable"))
    tap = {"heard": frozenset({NAT, PROXY, "192.0.2.77"}), "until": 5.0}
    found = one(NAME, asked, *RINGS, failed, **tap, ends=(end(3),))
    assert found.severity == "critical" and "then answered 503 Service Unavailable to 192.0.2.77" in told(found)
    assert findings(asked, *RINGS, failed, **tap, ends=(end(3),))[0].name == NAME, "it is the headline"


def test_before_the_answer_was_due_nothing_is_told() -> None:
    assert not only(NAME, *RINGS, **{**BOTH, "until": 20.0}, ends=(end(3),))


def test_an_answer_on_a_connection_that_the_called_side_opened() -> None:
    assert not only(NAME, *RINGS, OK, **BOTH, ends=(end(3),))
    assert OK.src == OTHER
