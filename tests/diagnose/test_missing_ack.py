"""Missing ACK: what the answering side itself shows, on datagrams and on connections."""

from __future__ import annotations

from dataclasses import replace

import pytest
from calls import CALLED, CALLER, FAR, OK_TIMES, PHONE, Packet, ack, bye, one, only, reply, request, resent, told
from cases import INVITE, no_ack

NAME = "missing-ack"
THIRD = f"{FAR}:5060"


def over_tcp(hangs_up_at: float, *more: Packet, who: str = CALLED) -> list[Packet]:
    invite = Packet(0, CALLER, CALLED, INVITE)
    ok = Packet(2, CALLED, CALLER, reply(INVITE, 200, contact=f"<sip:bob@{CALLED};transport=tcp>"))
    end = Packet(hangs_up_at, who, CALLER if who == CALLED else CALLED, bye(who))
    return [replace(p, transport="tcp") for p in (invite, ok, end, *more)]


def test_one_200_on_a_connection_and_a_hang_up_after_32_seconds() -> None:
    found = one(NAME, *over_tcp(34))
    assert (found.severity, found.confidence) == ("critical", "likely")
    assert "hung up after 32.0 s" in found.headline and "transport=tcp" in found.headline
    assert [e.message for e in found.evidence] == [2, 2, 3]


@pytest.mark.parametrize("at", [33.5, 36])
def test_the_hang_up_may_be_a_little_off(at: float) -> None:
    assert one(NAME, *over_tcp(at))


@pytest.mark.parametrize("at", [20, 31, 40])
def test_a_hang_up_at_another_time_says_nothing(at: float) -> None:
    assert only(NAME, *over_tcp(at)) == []


def test_on_a_connection_the_ack_counts() -> None:
    assert only(NAME, *over_tcp(34, Packet(2.1, CALLER, CALLED, ack(INVITE), "tcp"))) == []


def test_the_caller_hanging_up_after_32_seconds_says_nothing() -> None:
    assert only(NAME, *over_tcp(34, who=CALLER)) == []


def test_one_200_on_udp_says_nothing() -> None:
    """Who waits for an ACK there sends again: this one had it, out of our sight."""
    assert only(NAME, *no_ack(())) == []


def test_repeats_that_stop_say_nothing() -> None:
    """Sent twice and then no more, in a talk of a minute: the ACK took a path that is not captured here."""
    ok = Packet(2, CALLED, CALLER, reply(INVITE, 200))
    calls = (Packet(0, CALLER, CALLED, INVITE), *resent(ok, 0.5))
    assert only(NAME, *calls, Packet(60, CALLER, CALLED, bye())) == []
    assert only(NAME, *calls, until=120) == []


def test_the_caller_gives_up_while_the_200_is_repeated() -> None:
    ok = Packet(2, CALLED, CALLER, reply(INVITE, 200))
    calls = (Packet(0, CALLER, CALLED, INVITE), *resent(ok, 0.5, 1.5, 3.5), Packet(6, CALLER, CALLED, bye()))
    found = one(NAME, *calls)
    assert found.confidence == "certain" and "hung up" not in found.headline
    assert one(NAME, *calls, until=7).confidence == "likely", "the file ends, four sends speak for themselves"
    assert only(NAME, *calls[:3], until=3) == [], "two do not"


def test_an_ack_for_another_party_is_none() -> None:
    """Two phones answer a forked INVITE; only one gets an ACK."""
    second = reply(INVITE, 200, to_tag="other")
    forked = (*no_ack(), *resent(Packet(2.2, CALLED, CALLER, second), *OK_TIMES))
    acked = Packet(2.3, CALLER, CALLED, ack(INVITE, to_tag="called"))
    assert len(only(NAME, *forked)) == 2
    assert one(NAME, *forked, acked).evidence[0].message == 3


def test_an_ack_that_went_elsewhere_is_shown() -> None:
    astray = Packet(2.2, CALLER, THIRD, ack(INVITE))
    found = one(NAME, *no_ack(), astray)
    assert f"an ACK went to {THIRD} instead" in told(found)


def test_the_ack_goes_to_the_contact() -> None:
    assert f"the ACK goes to sip:bob@{PHONE}, a private address" in told(one(NAME, *no_ack()))
    assert "and that is missing" in one(NAME, *no_ack(target="")).headline
    assert "private" not in told(one(NAME, *no_ack(target=f"<sip:bob@{CALLED}>")))


def proxied(*acks: Packet) -> list[Packet]:
    """Caller, proxy and phone: the proxy passes the 200 and its repeats on."""
    onward = request(via=CALLED, branch="z9hG4bK2")
    answer = reply(onward, 200, contact=f"<sip:bob@{THIRD}>")
    passed = reply(INVITE, 200, contact=f"<sip:bob@{THIRD}>")
    return [
        Packet(0, CALLER, CALLED, INVITE),
        Packet(0.1, CALLED, THIRD, onward),
        *resent(Packet(2, THIRD, CALLED, answer), *OK_TIMES),
        *resent(Packet(2.01, CALLED, CALLER, passed), *OK_TIMES),
        *acks,
        Packet(34, THIRD, CALLED, bye(THIRD, from_tag="called", to_tag="caller")),
    ]


def test_a_proxied_call_is_told_once_at_its_origin() -> None:
    assert FAR in one(NAME, *proxied()).headline


def test_the_ack_is_lost_behind_the_proxy() -> None:
    found = one(NAME, *proxied(Packet(2.1, CALLER, CALLED, ack(INVITE))))
    assert FAR in found.headline and f"an ACK went to {CALLED} instead" in told(found)


def test_the_ack_goes_past_the_proxy() -> None:
    """Without Record-Route the ACK travels straight to the phone: the proxy waits for none."""
    assert only(NAME, *proxied(Packet(2.1, CALLER, THIRD, ack(INVITE)))) == []


def test_a_re_invite_counts_too() -> None:
    again = request(cseq=3, branch="z9hG4bK9", to_tag="called")
    talk = (
        Packet(0, CALLER, CALLED, INVITE),
        Packet(1, CALLED, CALLER, reply(INVITE, 200)),
        Packet(1.1, CALLER, CALLED, ack(INVITE)),
        Packet(50, CALLER, CALLED, again),
        *resent(Packet(50.1, CALLED, CALLER, reply(again, 200)), *OK_TIMES),
    )
    assert one(NAME, *talk, until=83).evidence[0].message == 5
