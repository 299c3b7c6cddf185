"""Branches of the rules on requests inside a call that collide, are ignored or are ended by a timer."""

from __future__ import annotations

import pytest
from calls import CALLED, CALLER, FAR, NAT, PROXY, Packet, bye, findings, one, only, reply, request, sdp, told
from cases_requests import (
    BOTH,
    FAR_BYE,
    INVITE,
    TALK,
    cancelled,
    crossing,
    ended,
    far,
    near,
    pinged,
    too_small,
    transferred,
)

from index.trace import Loss

GLARE, SMALL, DEAF = "changes-collided", "session-interval-too-small", "cancel-without-effect"
PING, CUT, TRANSFER = "ping-in-call-unanswered", "cut-by-timer", "transfer-failed"


def again(at: float) -> Packet:
    return Packet(at, CALLER, CALLED, near("UPDATE", 3))


@pytest.mark.parametrize(("at", "kept"), [(10.7, False), (13.2, True), (16.0, False)])
def test_who_began_the_call_waits_longer(at: float, kept: bool) -> None:
    text = told(one(GLARE, *crossing(False), again(at)))
    assert f"it tried again {at - 10.2:.1f} s later" in text
    assert ("after 2.1 s to 4.0 s" in text) is not kept


def test_the_other_side_comes_back_first() -> None:
    mine, yours = near("UPDATE", 2), far("UPDATE", 7)
    call = (
        *TALK,
        Packet(10, CALLER, CALLED, mine),
        Packet(10.05, CALLED, CALLER, yours),
        Packet(10.1, CALLER, CALLED, reply(yours, 491, "Request Pending")),
        Packet(10.2, CALLED, CALLER, reply(mine, 200)),
    )
    late = told(one(GLARE, *call, Packet(13.5, CALLED, CALLER, far("UPDATE", 8))))
    assert "though it should be after 0.0 s to 2.0 s" in late
    assert "though" not in told(one(GLARE, *call, Packet(11.1, CALLED, CALLER, far("UPDATE", 8))))


def test_collisions_without_an_end_are_a_warning() -> None:
    call = list(TALK)
    for n in range(3):
        mine, yours = near("UPDATE", 2 + n), far("UPDATE", 7 + n)
        call += [
            Packet(10 + n, CALLER, CALLED, mine),
            Packet(10.05 + n, CALLED, CALLER, yours),
            Packet(10.2 + n, CALLED, CALLER, reply(mine, 491, "Request Pending")),
            Packet(10.3 + n, CALLER, CALLED, reply(yours, 491, "Request Pending")),
        ]
    found = one(GLARE, *call)
    assert (found.severity, "6 times" in found.headline) == ("warning", True)


@pytest.mark.parametrize(("extra", "told_here"), [(("Retry-After: 3",), True), ((), False)])
def test_a_500_for_a_second_change_while_the_first_is_under_way(extra: tuple[str, ...], told_here: bool) -> None:
    first, second = near("UPDATE", 2), near("UPDATE", 3)
    call = (
        *TALK,
        Packet(10, CALLER, CALLED, first),
        Packet(10.1, CALLER, CALLED, second),
        Packet(10.2, CALLED, CALLER, reply(second, 500, "Server Error", extra=extra)),
        Packet(10.9, CALLED, CALLER, reply(first, 200)),
    )
    names = {f.name for f in findings(*call)}
    assert (GLARE in names, "session-change-refused" in names) == (told_here, not told_here)


def test_a_422_that_does_not_say_how_long() -> None:
    first, refusal, own_ack, *rest = too_small(1800)
    vague = refusal.raw.replace(b"Min-SE: 1800\r\n", b"")
    found = one(SMALL, first, Packet(0.1, CALLED, CALLER, vague), own_ack, *rest)
    assert "no Min-SE" in found.headline


def test_a_422_after_which_the_caller_gives_up() -> None:
    assert f"{NAT} did not try again with at least 1800 s" in one(SMALL, *too_small(1800)[:3]).headline
    assert only(SMALL, *too_small(1800)[:3], until=3) == []


def test_three_422_are_a_loop_however_polite_and_an_answer_softens_it() -> None:
    call: list[Packet] = []
    for n, least in enumerate((90, 600, 1800)):
        ask = request(cseq=n + 1, branch=f"z9hG4bK{n}", extra=(f"Session-Expires: {least}",))
        more = (f"Min-SE: {(600, 1800, 3600)[n]}",)
        call += [
            Packet(n, CALLER, CALLED, ask),
            Packet(n + 0.1, CALLED, CALLER, reply(ask, 422, "Session Interval Too Small", extra=more)),
        ]
    last = request(cseq=4, branch="z9hG4bK9", body=sdp(), extra=("Session-Expires: 3600",))
    call.append(Packet(4, CALLER, CALLED, last))
    assert "3 tries were refused so" in one(SMALL, *call).headline
    taken = Packet(5, CALLED, CALLER, reply(last, 200, contact=f"<sip:bob@{CALLED}>", body=sdp(PROXY)))
    assert one(SMALL, *call, taken).severity == "warning"


def test_a_cancel_that_nobody_answers() -> None:
    call = cancelled(False, taken=False)
    assert f"nothing came back from {CALLED} for the CANCEL" in one(DEAF, *call, **BOTH).headline
    assert only(DEAF, *call, until=20, **BOTH) == []
    assert only(DEAF, *call, **BOTH, losses=(Loss("eth0", 1, 2, 3, "kernel"),))[0].confidence == "possible"


def test_a_cancel_into_silence_is_told_by_the_rule_for_the_silence() -> None:
    call = [p for p in cancelled(False, taken=False) if p.src == CALLER]
    assert only(DEAF, *call, **BOTH) == []
    assert one("invite-unanswered", *call, **BOTH)


def test_a_cancel_before_any_provisional_response_is_too_early() -> None:
    invite, ringing, cancel, taken = cancelled(False)
    late = Packet(5.05, ringing.src, ringing.dst, ringing.raw)
    assert "when nothing may be cancelled yet" in told(one(DEAF, invite, late, cancel, taken, **BOTH))


def test_the_last_hop_of_a_cancel_is_named() -> None:
    there = f"{FAR}:5060"
    cancel = request("CANCEL", contact="", via=CALLED, branch="z9hG4bKnext")
    onward = request(body=sdp(), via=CALLED, branch="z9hG4bKnext")
    call = (
        *cancelled(False),
        Packet(0.1, CALLED, there, onward),
        Packet(0.15, there, CALLED, reply(onward, 180, "Ringing")),
        Packet(5.05, CALLED, there, cancel),
    )
    assert f"nothing came back from {there}" in one(DEAF, *call, **BOTH).headline


def test_pings_in_a_call_are_not_told_as_an_unanswered_request_too() -> None:
    names = [f.name for f in findings(*pinged(False), **BOTH)]
    assert PING in names and "request-unanswered" not in names
    assert "request-unanswered" in [f.name for f in findings(*pinged(False)[:-2], until=90, **BOTH)]


@pytest.mark.parametrize(("pause", "fires"), [(2.0, False), (8.0, True), (70.0, False)])
def test_only_a_hang_up_soon_after_the_ping_has_it_as_its_reason(pause: float, fires: bool) -> None:
    assert bool(only(PING, *pinged(False, pause), **BOTH)) is fires


def test_a_side_that_spoke_after_the_ping_is_there() -> None:
    mine = near("UPDATE", 2)
    spoke = (Packet(40, CALLER, CALLED, mine), Packet(40.1, CALLED, CALLER, reply(mine, 200)))
    assert only(PING, *pinged(False), *spoke, **BOTH) == []


def test_a_side_that_is_gone_altogether_is_only_likely_to_ignore_pings() -> None:
    assert one(PING, *pinged(False)[:-1], until=80, **BOTH).confidence == "likely"


@pytest.mark.parametrize(
    ("reason", "after", "said"),
    [
        ('SIP;cause=408;text="ACK timeout"', 32.0, ("certain", "error", "ACK in vain")),
        ('Q.850;cause=16;text="Max call duration reached"', 700.0, ("certain", "warning", "longest time")),
        ("Q.850;cause=16", 3600.3, ("possible", "info", "longest time")),
        ("Q.850;cause=102", 3600.3, ("likely", "warning", "longest time")),
        ("Q.850;cause=102", 32.2, ("possible", "warning", "ACK in vain")),
        ("Q.850;cause=102", 60.4, ("possible", "warning", "no audio")),
        ("Q.850;cause=16", 60.0, None),
        ("Q.850;cause=16", 32.0, None),
        ("Q.850;cause=102", 47.0, None),
    ],
)
def test_which_timer_a_hang_up_speaks_for(reason: str, after: float, said: tuple[str, str, str] | None) -> None:
    found = only(CUT, *ended(reason, after))
    assert bool(found) == bool(said)
    if said:
        assert (found[0].confidence, found[0].severity) == said[:2] and said[2] in found[0].headline
        assert only("hang-up-reason", *ended(reason, after)) == []


def test_a_host_that_ends_both_sides_after_32_s() -> None:
    there = f"{FAR}:5060"
    onward = request(body=sdp(PROXY), via=CALLED, branch="z9hG4bK2")
    more = (
        Packet(0.1, CALLED, there, onward),
        Packet(0.9, there, CALLED, reply(onward, 200, contact=f"<sip:bob@{there}>", body=sdp(FAR))),
        Packet(33, CALLED, CALLER, FAR_BYE),
        Packet(33.1, CALLED, there, bye(CALLED)),
    )
    assert "an ACK in vain" in one(CUT, *TALK, *more).headline


@pytest.mark.parametrize(("waited", "fires"), [(100, False), (181, True), (300, False)])
def test_ringing_that_a_proxy_ends_after_three_minutes(waited: float, fires: bool) -> None:
    over = reply(INVITE, 408, "Request Timeout")
    call = (
        Packet(0, CALLER, CALLED, INVITE),
        Packet(1, CALLED, CALLER, reply(INVITE, 180, "Ringing")),
        Packet(1 + waited, CALLED, CALLER, over),
    )
    assert bool(only(CUT, *call)) is fires


def test_a_refused_transfer_says_why() -> None:
    refer = near("REFER", 2, "Refer-To: <sip:carol@192.0.2.77>")
    call = (*TALK, Packet(10, CALLER, CALLED, refer), Packet(10.1, CALLED, CALLER, reply(refer, 405, "Not Allowed")))
    assert "405 Not Allowed: it does not know REFER" in one(TRANSFER, *call).headline


def test_a_transfer_of_which_nobody_tells_the_outcome() -> None:
    call = transferred("100 Trying")
    assert "the last report says 100 Trying" in told(one(TRANSFER, *call, until=90))
    assert only(TRANSFER, *call, until=50) == []
    assert only(TRANSFER, *call, Packet(30, CALLER, CALLED, bye()), until=90) == []


def test_a_transfer_that_nobody_wants_to_hear_of() -> None:
    refer = near("REFER", 2, "Refer-To: <sip:carol@192.0.2.77>", "Refer-Sub: false")
    call = (*TALK, Packet(10, CALLER, CALLED, refer), Packet(10.1, CALLED, CALLER, reply(refer, 202, "Accepted")))
    assert only(TRANSFER, *call, until=90) == []
    plain = [Packet(p.at, p.src, p.dst, p.raw.replace(b"Refer-Sub: false\r\n", b"")) for p in call]
    assert one(TRANSFER, *plain, until=90)


def test_the_last_report_counts() -> None:
    good = transferred("200 OK")[-2:]
    later = [Packet(p.at + 2, p.src, p.dst, p.raw.replace(b"CSeq: 7", b"CSeq: 8")) for p in good]
    assert only(TRANSFER, *transferred("503 Service Unavailable"), *later) == []
