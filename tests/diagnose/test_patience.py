"""How long it rang, who ended it, and what was sent too often."""

from __future__ import annotations

import pytest
from calls import CALLED, CALLER, OK_TIMES, PROXY, Packet, ack, icmp, one, only, reply, resent, sdp, told
from cases_patience import INVITE, asked, rang

RANG, MANY = "rang-unanswered", "answered-after-many-sends"


@pytest.mark.parametrize(("lasted", "fires"), [(1.2, True), (8, False), (28, False), (31, True)])
def test_a_caller_that_gives_up(lasted: float, fires: bool) -> None:
    found = only(RANG, *rang(lasted, cancel=True))
    assert bool(found) is fires
    if fires:
        assert "gave up (CANCEL)" in found[0].headline


def test_the_called_side_may_refuse_at_once() -> None:
    assert only(RANG, *rang(1.2)) == []


@pytest.mark.parametrize(
    ("lasted", "timer"), [(39.82, "40 s after the INVITE"), (45.04, "45 s after the ringing"), (32.5, "")]
)
def test_a_timer_is_told_by_its_exactness(lasted: float, timer: str) -> None:
    text = told(one(RANG, *rang(lasted)))
    assert (timer in text) and ("a timer more than a person" in text) is bool(timer)


def test_a_reason_that_says_more_is_told_alone() -> None:
    given_up = rang(31, cancel=True)
    reason = b'Reason: SIP;cause=200;text="Call completed elsewhere"\r\nMax-Forwards'
    call = [
        Packet(p.at, p.src, p.dst, p.raw.replace(b"Max-Forwards", reason)) if b"CANCEL sip" in p.raw else p
        for p in given_up
    ]
    assert only(RANG, *call) == [] and one("hang-up-reason", *call)


def test_a_call_that_was_answered_after_all_did_not_ring_out() -> None:
    ok = Packet(32.5, CALLED, CALLER, reply(INVITE, 200, contact=f"<sip:bob@{CALLED}>", body=sdp(PROXY)))
    assert only(RANG, *rang(31)[:3], ok) == []


def test_an_answer_whose_ack_comes_late() -> None:
    ok = Packet(1, CALLED, CALLER, reply(INVITE, 200, contact=f"<sip:bob@{CALLED}>", body=sdp(PROXY)))
    late = Packet(9, CALLER, CALLED, ack(INVITE))
    found = one(MANY, Packet(0, CALLER, CALLED, INVITE), *resent(ok, *OK_TIMES[:4]), late)
    assert "The 200 to INVITE" in found.headline and "5 times in 8.0 s" in found.headline


def test_an_answer_that_got_lost_is_not_a_slow_one() -> None:
    call = list(asked(0.5, 1.5, 3.5, 7.5))
    early = Packet(10.2, CALLED, CALLER, call[-1].raw)
    assert only(MANY, *call[:-1], early) == []


def test_a_408_is_no_answer() -> None:
    call = list(asked(0.5, 1.5, 3.5, 7.5))
    timeout = Packet(call[-1].at, CALLED, CALLER, reply(call[3].raw, 408, "Request Timeout"))
    assert only(MANY, *call[:-1], timeout) == []


def test_what_an_icmp_error_explains_is_left_to_it() -> None:
    call = asked(0.5, 1.5, 3.5, 7.5)
    assert only(MANY, *call, icmp=(icmp(call[3], PROXY),)) == []
