"""Branches of the rules on extensions, timer values, numbering, forks and malformed bodies."""

from __future__ import annotations

from dataclasses import replace

import pytest
from calls import CALLED, CALLER, NAT, PROXY, Packet, answered, findings, one, only, reply, request, sdp, told
from cases_signalling import (
    BOTH,
    DAY,
    INVITE,
    TALK,
    extended,
    forked,
    late,
    late_reply,
    neighbours,
    noted,
    numbered,
    terminated,
    timed,
)

from index.trace import Loss

TIMER, CSEQ, SDP = "session-timer-invalid", "cseq-not-rising", "sdp-malformed"
LOST = {"losses": (Loss("eth0", 1, 2, 3, "kernel"),)}


@pytest.mark.parametrize(
    ("answer", "severity", "why"),
    [
        ("60;refresher=uas", "warning", "60 s are less than the least"),
        ("1800", "warning", "does not say who refreshes"),
        ("1800;refresher=uac", "info", "does not require it"),
        ("soon", "warning", "its value is no number"),
    ],
)
def test_what_may_be_wrong_with_a_session_timer(answer: str, severity: str, why: str) -> None:
    found = one(TIMER, *timed(answer))
    assert (found.severity, why in found.headline) == (severity, True)


def test_a_timer_below_its_own_minimum() -> None:
    invite = request(extra=("Session-Expires: 300", "Min-SE: 600"))
    assert "less than its own Min-SE of 600 s" in one(TIMER, Packet(0, CALLER, CALLED, invite)).headline


def test_a_value_that_passed_a_proxy_is_not_held_against_the_sender() -> None:
    invite = request(extra=("Session-Expires: 60",)).replace(b"Via:", b"Via: SIP/2.0/UDP 192.0.2.1\r\nVia:", 1)
    assert only(TIMER, Packet(0, CALLER, CALLED, invite)) == []


def test_421_demands_what_the_request_does_not_offer() -> None:
    invite = request(body=sdp(), extra=("Supported: replaces",))
    final = reply(invite, 421, "Extension Required", extra=("Require: timer",))
    found = one("extension-refused", Packet(0, CALLER, CALLED, invite), Packet(0.1, CALLED, CALLER, final))
    assert "it demands timer" in found.headline and "Supported: replaces" in told(found)


def test_a_refused_extension_that_is_left_out_then_is_context() -> None:
    again = request(cseq=2, branch="z9hG4bK2", body=sdp())
    ok = reply(again, 200, contact=f"<sip:bob@{CALLED}>", body=sdp(PROXY))
    second = (Packet(1, CALLER, CALLED, again), Packet(2, CALLED, CALLER, ok))
    assert one("extension-refused", *extended(420), *second).severity == "info"


def test_487_says_nothing_where_the_cancel_may_have_passed_unseen() -> None:
    name = "terminated-without-cancel"
    assert only(name, *terminated(False), heard=frozenset({NAT})) == []
    assert one(name, *terminated(False), **BOTH, **LOST).confidence == "possible"


def test_408_after_32_s_is_a_timer_of_that_host() -> None:
    call = [replace(p, at=p.at + 26) if p.at > 1 else p for p in late(False)]
    assert only("timeout-reply", *call) == [] and one("stuck-after-trying", *call)
    alone = [p for p in call if b"100 Trying" not in p.raw]
    assert "32 s is how long it waits" in told(one("timeout-reply", *alone))


def test_408_names_the_hop_behind_that_kept_silent() -> None:
    onward = Packet(0.2, CALLED, "192.0.2.77:5060", request(via=CALLED, branch="z9hG4bKp", body=sdp()))
    assert "it had sent it on to 192.0.2.77:5060" in told(one("timeout-reply", *late(False), onward))


def test_408_to_another_request_than_invite_should_not_be() -> None:
    ask = request("OPTIONS")
    call = (Packet(0, CALLER, CALLED, ask), Packet(32, CALLED, CALLER, reply(ask, 408, "Request Timeout")))
    found = one("timeout-reply", *call)
    assert found.severity == "info" and "must not be answered with 408" in told(found)


def test_answers_that_are_ended_again_are_context() -> None:
    found = one("several-answers", *forked(True), **BOTH)
    assert (found.severity, "ended again" in found.headline) == ("info", True)
    assert one("several-answers", *forked(False), until=9, **BOTH).severity == "info"
    late_end = forked(True)[:-2] + tuple(replace(p, at=p.at + 30) for p in forked(True)[-2:])
    assert one("several-answers", *late_end, **BOTH).severity == "warning"


@pytest.mark.parametrize(("second", "severity"), [(3, "error"), (5, "error"), (6, None)])
def test_numbers_inside_a_call_rise(second: int, severity: str | None) -> None:
    assert [f.severity for f in only(CSEQ, *numbered(second))] == ([severity] if severity else [])


def test_a_low_number_that_is_taken_all_the_same_is_a_risk() -> None:
    call = [*numbered(3)[:-1], Packet(20.1, CALLED, CALLER, reply(numbered(3)[-2].raw, 200))]
    found = one(CSEQ, *call)
    assert (found.severity, found.confidence) == ("warning", "likely")


def test_the_same_request_on_another_way_keeps_its_number() -> None:
    again = request("UPDATE", to_tag="called", cseq=5, branch="z9hG4bKother")
    assert only(CSEQ, *numbered(6)[:5], Packet(10.5, CALLER, "192.0.2.77:5060", again)) == []


def test_a_call_without_an_end_although_it_had_a_timer() -> None:
    assert one("call-without-end", *timed("1800;refresher=uas"), until=DAY).severity == "warning"
    assert one("call-without-end", *timed("1800;refresher=uas"), until=DAY, **LOST).severity == "info"
    assert only("call-without-end", *timed("50000;refresher=uas"), until=DAY) == []


@pytest.mark.parametrize(("sends", "severity"), [(1, None), (2, None), (3, "warning"), (4, "warning")])
def test_how_often_an_invite_was_sent(sends: int, severity: str | None) -> None:
    assert [f.severity for f in only("slow-first-reply", *late_reply(sends))] == ([severity] if severity else [])


def test_one_telephone_behind_the_nat_is_no_hairpin() -> None:
    call = neighbours(NAT)
    same = replace(call[2], raw=call[2].raw.replace(b"192.168.1.77", b"192.168.1.20"))
    assert only("same-public-address", *call[:2], same) == []


BODY = sdp()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (BODY.replace("s=-\r\n", "").replace("t=0 0\r\n", ""), "no s= (session name) and t= (time) line"),
        (BODY.replace("t=0 0\r\n", "").replace("v=0\r\n", "v=0\r\nt=0 0\r\n"), "its o= line stands after t="),
        (BODY.replace("c=IN IP4", "c=IN IP6"), f"calls {NAT} an IP6 address"),
        (BODY.replace(f"c=IN IP4 {NAT}", "c=IN IP4 300.1.2.3"), "300.1.2.3 in a c= line is no address"),
        (BODY.replace(f"c=IN IP4 {NAT}", f"c=IN {NAT}"), "not IN IP4 or IN IP6"),
        (BODY.replace(f"c=IN IP4 {NAT}\r\n", ""), "a stream has no c= line"),
        (BODY.replace("m=audio 4000", "m=audio many"), "port of an m= line is no number"),
        (BODY + "rubbish\r\n", "a line of it is no letter with ="),
        ("hello there, no lines here", "no session description at all"),
    ],
)
def test_what_may_be_wrong_with_a_session_description(body: str, why: str) -> None:
    assert why in one(SDP, *answered(body, sdp(PROXY))).headline


def test_a_body_of_another_name() -> None:
    call = answered(BODY, sdp(PROXY))
    other = replace(call[0], raw=call[0].raw.replace(b"application/sdp", b"text/plain"))
    assert "Content-Type is text/plain" in one(SDP, other, *call[1:]).headline


def test_a_malformed_description_that_is_refused_is_critical() -> None:
    bad = BODY.replace("t=0 0\r\n", "")
    assert one(SDP, *answered(bad, "", 488, "Not Acceptable Here")).severity == "critical"
    assert only("no-common-codec", *answered(bad, "", 488, "Not Acceptable Here")) == []
    assert only("no-common-codec", *answered(BODY, "", 488, "Not Acceptable Here"))
    assert one(SDP, *answered(bad, "", 404, "Not Found")).severity == "warning"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (sdp(port=700), "below 1024"),
        (sdp("239.1.2.3"), "multicast"),
        (sdp(NAT, "0 8", "a=rtcp:4000"), "RTCP at the same port"),
        (sdp(NAT, "0 8", "a=rtcp:4000", "a=rtcp-mux"), ""),
        (sdp(NAT, "0 8", "a=rtcp-mux", port=4001), ""),
        (sdp(port=0), ""),
    ],
)
def test_unusual_ports(body: str, why: str) -> None:
    found = only("media-port-unusual", *answered(body, sdp(PROXY)))
    assert [why in f.headline for f in found] == ([True] if why else [])


def test_a_reply_to_a_host_that_is_where_its_via_says_needs_no_received() -> None:
    plain = (Packet(0, CALLER, CALLED, INVITE), Packet(0.1, CALLED, CALLER, reply(INVITE, 100, "Trying")))
    assert only("received-missing", *plain) == []
    assert "received-missing" in {f.name for f in findings(*noted(""))}


def test_an_acknowledged_call_that_never_ended_began() -> None:
    assert only("call-without-end", *TALK[:2], until=DAY) == []
