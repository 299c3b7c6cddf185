"""Branches of the rules on timers, transactions and requests inside a call, beyond the pair of each."""

from __future__ import annotations

from dataclasses import replace

import pytest
from calls import (
    CALLED,
    CALLER,
    FAR,
    NAT,
    OK_TIMES,
    PROXY,
    Packet,
    ack,
    bye,
    findings,
    one,
    only,
    reply,
    request,
    resent,
    sdp,
    told,
)
from cases_timers import BOTH, BYE, INVITE, TALK, hung_up, refused_again, ringing

REFUSED = "refusal-unacknowledged"


def test_a_refusal_whose_invite_goes_on_does_not_reach_the_caller() -> None:
    found = one(REFUSED, *refused_again(), Packet(2.5, CALLER, CALLED, INVITE), **BOTH)
    assert found.headline.endswith("the reply does not reach the caller.")


def test_an_ack_with_another_branch_is_named() -> None:
    stray = Packet(1.1, CALLER, CALLED, ack(INVITE))
    found = one(REFUSED, *refused_again(), stray, **BOTH)
    assert "wrong branch" in found.headline
    assert found.evidence[1].line.endswith("branch=z9hG4bKack")


def test_a_caller_that_goes_on_had_the_refusal() -> None:
    again = Packet(1.2, CALLER, CALLED, request(cseq=2, branch="z9hG4bK2"))
    assert "does not acknowledge it" in one(REFUSED, *refused_again(), again, **BOTH).headline


def test_a_refusal_that_is_no_longer_repeated_was_acknowledged_unseen() -> None:
    assert only(REFUSED, *refused_again()[:4], **BOTH) == []
    assert one(REFUSED, *refused_again()[:5], until=5, **BOTH).confidence == "likely"


def test_a_refusal_over_tcp_is_sent_once() -> None:
    assert only(REFUSED, *(replace(p, transport="tcp") for p in refused_again()[:2]), **BOTH) == []


def test_one_bye_over_udp_is_not_enough_to_believe_in_silence() -> None:
    assert only("bye-unanswered", *hung_up(sends=()), **BOTH) == []
    over_tcp = [replace(p, transport="tcp") for p in hung_up(sends=())]
    assert one("bye-unanswered", *over_tcp, **BOTH).confidence == "likely"


def test_a_bye_that_is_unanswered_on_two_hops_is_told_once_at_the_last() -> None:
    onward = bye(CALLED)
    found = one("bye-unanswered", *hung_up(), *resent(Packet(20.01, CALLED, f"{FAR}:5060", onward), *OK_TIMES), **BOTH)
    assert f"{FAR}:5060 never answered" in found.headline


def test_a_bye_that_crosses_the_other_sides_leaves_nothing_up() -> None:
    other = Packet(20.1, CALLED, CALLER, bye(CALLED, from_tag="called", to_tag="caller"))
    assert only("bye-unanswered", *hung_up(), other, **BOTH) == []


def test_a_short_capture_of_a_bye() -> None:
    assert only("bye-unanswered", *hung_up(sends=OK_TIMES[:2]), until=24, **BOTH) == []
    assert one("bye-unanswered", *hung_up(sends=OK_TIMES[:3]), until=24, **BOTH).confidence == "likely"


GONE = Packet(20.2, CALLED, CALLER, reply(BYE, 481, "Call Does Not Exist"))


@pytest.mark.parametrize("at", [20.1, 20.3])
def test_481_to_a_bye_that_crosses_another_is_harmless(at: float) -> None:
    other = Packet(at, CALLED, CALLER, bye(CALLED, from_tag="called", to_tag="caller"))
    found = one("dialog-unknown-to-peer", *hung_up(GONE, sends=()), other)
    assert (found.severity, found.headline.endswith("the call was being hung up.")) == ("info", True)


def test_481_names_foreign_tags() -> None:
    foreign = bye(to_tag="other")
    found = one(
        "dialog-unknown-to-peer",
        *TALK,
        Packet(20, CALLER, CALLED, foreign),
        Packet(20.1, CALLED, CALLER, reply(foreign, 481, "Call Does Not Exist")),
    )
    assert "tags are not those of the call" in found.headline
    assert "this request has caller and other" in found.evidence[1].text


def test_481_to_a_notify_is_context() -> None:
    notify = request("NOTIFY", to_tag="called", cseq=5, branch="z9hG4bKn", contact="")
    gone = Packet(9, CALLED, CALLER, reply(notify, 481, "Subscription Does Not Exist"))
    found = one("dialog-unknown-to-peer", *TALK, Packet(8, CALLER, CALLED, notify), gone)
    assert found.severity == "info"
    assert NAT in found.headline and PROXY in found.headline


STUCK, SLOW = "stuck-after-trying", "slow-post-dial-delay"


def given_up(at: float) -> list[Packet]:
    cancel = request("CANCEL", contact="")
    return [Packet(at, CALLER, CALLED, cancel), Packet(at + 0.1, CALLED, CALLER, reply(cancel, 200))]


@pytest.mark.parametrize(("at", "severity"), [(4.9, None), (5.1, "warning"), (12.1, "error")])
def test_a_caller_that_gives_up_without_a_sign_of_progress(at: float, severity: str | None) -> None:
    found = only(STUCK, *ringing(5)[:2], *given_up(at), **BOTH)
    assert [f.severity for f in found] == ([severity] if severity else [])


@pytest.mark.parametrize(("at", "fires"), [(11, False), (32, True)])
def test_a_refusal_after_long_silence(at: float, fires: bool) -> None:
    timeout = Packet(at, CALLED, CALLER, reply(INVITE, 408, "Request Timeout"))
    assert bool(only(STUCK, *ringing(5)[:2], timeout, **BOTH)) == fires


def onward(*replies: tuple[float, int]) -> list[Packet]:
    """The proxy's own INVITE to the next hop."""
    raw = INVITE.replace(b"Via:", b"Via: SIP/2.0/UDP 198.51.100.10;branch=z9hG4bKp\r\nVia:", 1)
    there = f"{FAR}:5060"
    return [
        Packet(0.05, CALLED, there, raw),
        *(Packet(at, there, CALLED, reply(raw, code, "Ringing" if code == 180 else "X")) for at, code in replies),
    ]


def test_the_last_stuck_hop_is_named() -> None:
    found = one(STUCK, *ringing(5)[:2], *onward((0.2, 100)), **BOTH)
    assert found.headline.startswith(f"{FAR}:5060 took the call")


def test_a_silent_next_hop_is_told_by_the_rule_for_unanswered_invites() -> None:
    assert [f.name for f in findings(*ringing(5)[:2], *onward(), **BOTH)] == ["invite-unanswered"]


def test_ringing_that_a_proxy_does_not_pass_on() -> None:
    found = one(STUCK, *ringing(5)[:2], *onward((0.2, 100), (2, 180)), **BOTH)
    assert found.evidence[-1].text == f"180 came from behind and was not passed on by {PROXY}"


def test_another_route_that_answers_makes_it_a_warning() -> None:
    second = request(cseq=2, branch="z9hG4bK2")
    late = [Packet(20, CALLER, f"{FAR}:5060", second), Packet(21, f"{FAR}:5060", CALLER, reply(second, 200))]
    assert one(STUCK, *ringing(5)[:2], *given_up(19), *late, **BOTH).severity == "warning"


def test_the_delay_is_told_hop_by_hop() -> None:
    found = one(SLOW, *ringing(8), *onward((0.2, 100), (7.9, 180)))
    assert found.headline.startswith("It took 8.0 s") and "7.8 s of it behind 192.0.2.77" in found.headline


def test_a_late_first_reply_is_part_of_the_delay() -> None:
    again = [Packet(0.04, CALLER, CALLED, INVITE), Packet(0.54, CALLER, CALLED, INVITE)]
    late = [replace(p, at=p.at + 1) if p.src == CALLED else p for p in ringing(6)]
    assert "1.1 s and 2 sends" in told(one(SLOW, *late, again[1]))


def test_early_audio_ends_the_delay() -> None:
    early = Packet(2, CALLED, CALLER, reply(INVITE, 183, "Session Progress", body=sdp(PROXY)))
    assert only(SLOW, *ringing(8), early) == []
    assert one(SLOW, *ringing(8), replace(early, raw=reply(INVITE, 183, "Session Progress")))
