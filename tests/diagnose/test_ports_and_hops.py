"""rport in its shades, and findings that are told once however many hops repeat them."""

from __future__ import annotations

import pytest
from calls import (
    CALLED,
    CALLER,
    FAR,
    NAT,
    PHONE,
    PROXY,
    Packet,
    ack,
    answered,
    findings,
    one,
    only,
    reply,
    request,
    resent,
    sdp,
    told,
)
from cases import BEHIND_NAT, G729, refused, without_rport

RPORT = "missing-rport"
THIRD = f"{FAR}:5060"


def test_a_proxy_that_forces_rport_compensates() -> None:
    invite = request(via=f"{PHONE}:5060", rport=False)
    first = Packet(0, BEHIND_NAT, CALLED, invite)
    found = one(RPORT, first, Packet(0.1, CALLED, BEHIND_NAT, reply(invite, 100, "Trying")))
    assert found.severity == "info" and "the proxy forces it" in found.headline


def test_nothing_came_back_yet() -> None:
    translated = Packet(0, BEHIND_NAT, CALLED, request(via=f"{PHONE}:5060", rport=False))
    two_ports = Packet(0, BEHIND_NAT, CALLED, request(via=f"{NAT}:5060", rport=False))
    assert (one(RPORT, translated).severity, one(RPORT, translated).confidence) == ("warning", "likely")
    assert one(RPORT, two_ports).confidence == "possible"


@pytest.mark.parametrize(("via", "says"), [(PHONE, ["info"]), (NAT, [])])
def test_the_sender_had_its_reply_on_the_other_port(via: str, says: list[str]) -> None:
    """Some gateways listen on 5060 and send from elsewhere; that is no fault, and behind a forwarding it works too."""
    invite = request(via=f"{via}:5060", rport=False)
    calls = (
        Packet(0, BEHIND_NAT, CALLED, invite),
        Packet(1, CALLED, f"{NAT}:5060", reply(invite, 200)),
        Packet(1.1, BEHIND_NAT, CALLED, ack(invite, rport=False)),
    )
    assert [f.severity for f in only(RPORT, *calls)] == says


def test_a_final_response_without_an_ack_was_not_heard() -> None:
    invite = request(via=f"{NAT}:5060", rport=False)
    calls = (Packet(0, BEHIND_NAT, CALLED, invite), Packet(1, CALLED, f"{NAT}:5060", reply(invite, 486, "Busy")))
    assert one(RPORT, *calls).severity == "error"
    assert one(RPORT, *calls, until=1.5).severity == "warning", "the ACK may still come"


@pytest.mark.parametrize(
    "packet",
    [
        Packet(0, BEHIND_NAT, CALLED, request(via=f"{PHONE}:5060", rport=False, transport="TCP"), "tcp"),
        Packet(0, f"{NAT}:5060", CALLED, request(via=f"{PHONE}:5060", rport=False)),
        Packet(0, f"{NAT}:5060", CALLED, request(via=PHONE, rport=False)),
        Packet(0, BEHIND_NAT, CALLED, request(via=BEHIND_NAT, rport=False)),
    ],
    ids=["a connection", "the same port", "the default port", "all the same"],
)
def test_rport_is_not_needed(packet: Packet) -> None:
    assert only(RPORT, packet) == []


def test_rport_is_told_once_for_a_sender() -> None:
    again = request("OPTIONS", via=f"{PHONE}:5060", rport=False, branch="z9hG4bK3", cseq=3)
    assert len(only(RPORT, *without_rport(False), Packet(9, BEHIND_NAT, CALLED, again))) == 1


def proxied(offer: str, answer: str, code: int = 200, reason: str = "OK") -> tuple[Packet, ...]:
    """The same call on two hops."""
    invite, onward = request(body=offer), request(via=CALLED, branch="z9hG4bK2", body=offer)
    contact = f"<sip:bob@{THIRD}>" if code < 300 else ""
    return (
        Packet(0, CALLER, CALLED, invite),
        Packet(0.1, CALLED, THIRD, onward),
        Packet(1, THIRD, CALLED, reply(onward, code, reason, body=answer, contact=contact)),
        Packet(1.1, CALLED, CALLER, reply(invite, code, reason, body=answer, contact=contact)),
        Packet(1.2, CALLER, CALLED, ack(invite)),
        Packet(1.3, CALLED, THIRD, ack(invite)),
    )


HOPS = {
    "answer-without-offered-codec": proxied(sdp(NAT, "0"), sdp(PROXY, "18")),
    "capacity-rejection": proxied(sdp(), "", 503, "Max channels reached"),
    "g729-annexb-ambiguous": proxied(sdp(NAT, "18", G729), sdp(PROXY, "18", G729)),
    "g729-annexb-mismatch": proxied(sdp(NAT, "18", "a=fmtp:18 annexb=no"), sdp(PROXY, "18", "a=fmtp:18 annexb=yes")),
    "g729-vendor-name": proxied(sdp(NAT, "96 0", "a=rtpmap:96 G729B/8000"), sdp(PROXY, "0")),
    "no-common-codec": proxied(sdp(), "", 488, "Not Acceptable Here"),
}


@pytest.mark.parametrize(("name", "calls"), HOPS.items(), ids=list(HOPS))
def test_two_hops_are_told_once(name: str, calls: tuple[Packet, ...]) -> None:
    assert [f.name for f in findings(*calls)] == [name]
    if name not in ("g729-vendor-name",):
        assert FAR in one(name, *calls).headline, "the side that answers is named, not the proxy"


@pytest.mark.parametrize(("name", "severity"), [("capacity-rejection", "info"), ("no-common-codec", "warning")])
def test_a_refusal_with_another_way_out_is_no_failure(name: str, severity: str) -> None:
    code, reason = (503, "Max channels reached") if name == "capacity-rejection" else (488, "Not Acceptable Here")
    second = request(branch="z9hG4bK2", cseq=2, body=sdp())
    way_out = (Packet(2, CALLER, THIRD, second), Packet(3, THIRD, CALLER, reply(second, 200, body=sdp(FAR))))
    found = one(name, *refused(code, reason), *way_out)
    assert found.severity == severity and found.evidence[-1].message == 5


LIMITS = [
    (503, "Server at max cps"),
    (503, "Max channels reached"),
    (480, "Too many concurrent calls"),
    (403, "Concurrent call limit exceeded"),
    (486, "Over capacity"),
    (500, "CALL_LIMIT"),
    (302, "Exceeded CPS"),
]
NO_LIMITS = [
    (480, "Temporarily Unavailable"),
    (487, "Request Terminated"),
    (483, "Too Many Hops"),
    (481, "Call/Transaction Does Not Exist"),
    (422, "Session Interval Too Small"),
    (404, "No route to Maxwell calls"),
    (500, "Recovery of call failed"),
    (503, "Service Unavailable"),
]


@pytest.mark.parametrize(("code", "reason"), LIMITS)
def test_words_that_speak_of_a_limit(code: int, reason: str) -> None:
    assert reason in one("capacity-rejection", *refused(code, reason)).headline


@pytest.mark.parametrize(("code", "reason"), NO_LIMITS)
def test_words_that_do_not(code: int, reason: str) -> None:
    assert only("capacity-rejection", *refused(code, reason)) == []


def test_a_limit_said_in_a_header() -> None:
    header = 'Reason: Q.850;cause=42;text="max calls on this trunk"'
    assert "max calls" in one("capacity-rejection", *refused(503, "Service Unavailable", header)).headline


def test_retry_after_alone_is_likely_a_limit() -> None:
    assert one("capacity-rejection", *refused(503, "Service Unavailable", "Retry-After: 9")).confidence == "likely"
    assert only("capacity-rejection", *refused(486, "Busy Here", "Retry-After: 9")) == []


def test_a_redirection_says_where_to_and_who_went() -> None:
    away = refused(302, "Exceeded CPS", f"Contact: <sip:bob@{THIRD}>")
    assert f"it offers sip:bob@{THIRD} instead; nobody followed in this trace" in told(one("capacity-rejection", *away))
    went = Packet(2, CALLER, THIRD, request(branch="z9hG4bK2", cseq=2))
    assert "message 4 followed" in told(one("capacity-rejection", *away, went))


def test_a_late_offer_is_answered_in_the_ack() -> None:
    """RFC 3264 section 4: no SDP in the INVITE, so the 200 offers."""
    invite = request()
    calls = (
        Packet(0, CALLER, CALLED, invite),
        Packet(1, CALLED, CALLER, reply(invite, 200, body=sdp(PROXY, "18", "a=fmtp:18 annexb=no"))),
        Packet(1.1, CALLER, CALLED, ack(invite, body=sdp(NAT, "18", "a=fmtp:18 annexb=yes"))),
    )
    found = one("g729-annexb-mismatch", *calls)
    assert f"{PROXY} offered no, {NAT} answered yes" in found.headline


def test_the_2xx_counts_more_than_its_preview() -> None:
    invite = request(body=sdp(NAT, "18", "a=fmtp:18 annexb=no"))
    early = reply(invite, 183, "Session Progress", body=sdp(PROXY, "18", "a=fmtp:18 annexb=yes"))
    final = reply(invite, 200, body=sdp(PROXY, "18", "a=fmtp:18 annexb=no"))
    calls = (Packet(0, CALLER, CALLED, invite), Packet(1, CALLED, CALLER, early))
    assert one("g729-annexb-mismatch", *calls)
    assert only("g729-annexb-mismatch", *calls, Packet(2, CALLED, CALLER, final)) == []


def test_an_answer_that_refuses_all_audio() -> None:
    found = one("no-common-codec", *answered(sdp(NAT, "0 8"), sdp(PROXY, "0", port=0)))
    assert found.confidence == "certain" and "every audio stream is refused" in found.headline


def test_a_refusal_that_could_take_an_offered_codec_is_less_certain() -> None:
    assert one("no-common-codec", *refused(488, "No", body=sdp(PROXY, "0"))).confidence == "likely"
    assert one("no-common-codec", *refused(488, "No", body=sdp(PROXY, "18"))).confidence == "certain"


def test_a_payload_type_that_nobody_named_is_not_judged() -> None:
    assert only("answer-without-offered-codec", *answered(sdp(NAT, "97"), sdp(PROXY, "0"))) == []


def test_clock_and_case_of_codecs() -> None:
    wide = answered(sdp(NAT, "96", "a=rtpmap:96 speex/16000"), sdp(PROXY, "97", "a=rtpmap:97 SPEEX/8000"))
    same = answered(sdp(NAT, "96", "a=rtpmap:96 speex/8000"), sdp(PROXY, "97", "a=rtpmap:97 SPEEX/8000"))
    assert one("answer-without-offered-codec", *wide)
    assert only("answer-without-offered-codec", *same) == []


def test_a_healthy_call_has_nothing_to_say() -> None:
    events = "a=rtpmap:101 telephone-event/8000"
    packets = answered(sdp(NAT, "8 0 101", events), sdp(PROXY, "8 101", events))
    assert findings(*packets) == ()
    assert findings(*packets, *resent(packets[0], 0.5)[1:], copies=3) == ()


def test_an_ack_answers_nothing_where_the_invite_offered() -> None:
    invite = request(body=sdp(NAT, "18", "a=fmtp:18 annexb=no"))
    calls = (
        Packet(0, CALLER, CALLED, invite),
        Packet(1, CALLED, CALLER, reply(invite, 200, body=sdp(PROXY, "18", "a=fmtp:18 annexb=no"))),
        Packet(1.1, CALLER, CALLED, ack(invite, body=sdp(NAT, "18", "a=fmtp:18 annexb=yes"))),
    )
    assert only("g729-annexb-mismatch", *calls) == []
