"""Streams: the several ways in which one rule can be broken, and what is none."""

from __future__ import annotations

import pytest
from calls import (
    CALLED,
    CALLER,
    NAT,
    PROXY,
    Packet,
    ack,
    answered,
    bye,
    one,
    only,
    reply,
    request,
    sdp,
    told,
)
from cases_media import CRYPTO, EVENTS, VIDEO, late, secure

from capture.flags import TRUNCATED

ALIGNED, DIRECTION, LATE, SRTP, DTMF = (
    "answer-streams-misaligned",
    "illegal-direction-in-answer",
    "late-offer-broken",
    "srtp-profile-mismatch",
    "dtmf-not-agreed",
)


# ---------------------------------------------------------------- m= lines


@pytest.mark.parametrize(
    ("offer", "answer", "said"),
    [
        (sdp(NAT, "0"), sdp(PROXY, "0", VIDEO), "2 m= lines to an offer of 1"),
        (sdp(NAT, "0"), VIDEO.join(sdp(PROXY, "0").split("m=audio 4000 RTP/AVP 0")), "video where audio was offered"),
        (sdp(NAT, "0"), sdp(PROXY, "0").replace("RTP/AVP", "udptl"), "udptl where RTP/AVP was offered"),
    ],
    ids=["more", "another media", "another transport"],
)
def test_streams_that_do_not_stand_where_they_were_offered(offer: str, answer: str, said: str) -> None:
    assert said in one(ALIGNED, *answered(offer, answer)).headline


@pytest.mark.parametrize("proto", ["RTP/AVPF", "RTP/SAVP", "UDP/TLS/RTP/SAVPF"])
def test_profiles_are_no_other_transport(proto: str) -> None:
    assert only(ALIGNED, *answered(sdp(NAT, "0"), sdp(PROXY, "0").replace("RTP/AVP", proto))) == []


def test_a_call_that_lasts_makes_do_with_a_missing_line() -> None:
    short = answered(sdp(NAT, "0", VIDEO), sdp(PROXY, "0"))
    assert one(ALIGNED, *short, Packet(3, CALLER, CALLED, bye())).severity == "error"
    long = one(ALIGNED, *short, Packet(61, CALLER, CALLED, bye()))
    assert long.severity == "warning" and "went on for 60.0 s" in told(long)


def test_an_answer_that_was_cut_short_proves_nothing() -> None:
    first, final, third = answered(sdp(NAT, "0", VIDEO), sdp(PROXY, "0"))
    cut = Packet(final.at, final.src, final.dst, final.raw, flags=TRUNCATED)
    assert only(ALIGNED, first, cut, third) == []


# ---------------------------------------------------------------- directions


@pytest.mark.parametrize(
    ("offered", "answer", "severity"),
    [
        ("sendonly", "sendonly", "error"),
        ("recvonly", "recvonly", "error"),
        ("sendonly", "sendrecv", "warning"),
        ("inactive", "recvonly", "warning"),
        ("inactive", "inactive", ""),
        ("sendrecv", "inactive", ""),
        ("sendonly", "recvonly", ""),
        ("recvonly", "inactive", ""),
    ],
)
def test_directions(offered: str, answer: str, severity: str) -> None:
    found = only(DIRECTION, *answered(sdp(NAT, "0", f"a={offered}"), sdp(PROXY, "0", f"a={answer}")))
    assert [f.severity for f in found] == [severity] * bool(severity)


def test_no_direction_means_both_ways() -> None:
    found = one(DIRECTION, *answered(sdp(NAT, "0", "a=inactive"), sdp(PROXY, "0")))
    assert "no direction is written, so sendrecv holds" in told(found)
    session = sdp(PROXY, "0").replace("t=0 0\r\n", "t=0 0\r\na=inactive\r\n")
    assert only(DIRECTION, *answered(sdp(NAT, "0", "a=inactive"), session)) == []


def test_a_refused_stream_has_no_direction() -> None:
    assert only(DIRECTION, *answered(sdp(NAT, "0", "a=recvonly"), sdp(PROXY, "0", "a=recvonly", port=0))) == []


# ---------------------------------------------------------------- late offers


def test_nobody_made_an_offer() -> None:
    invite = request()
    preview = Packet(0.5, CALLED, CALLER, reply(invite, 183, "Session Progress", body=sdp(PROXY)))
    ok = Packet(1, CALLED, CALLER, reply(invite, 200, contact=f"<sip:bob@{CALLED}>"))
    end = Packet(1.1, CALLER, CALLED, ack(invite))
    found = one(LATE, Packet(0, CALLER, CALLED, invite), ok, end)
    assert "without an offer" in found.headline and found.severity == "critical"
    early = one(LATE, Packet(0, CALLER, CALLED, invite), preview, ok, end)
    assert "unreliable response" in told(early)


def test_an_exchange_in_reliable_provisional_responses_counts() -> None:
    invite = request()
    body = reply(invite, 183, "Session Progress", body=sdp(PROXY), extra=("RSeq: 1", "Require: 100rel"))
    reliable = Packet(0.5, CALLED, CALLER, body)
    ok = Packet(1, CALLED, CALLER, reply(invite, 200, contact=f"<sip:bob@{CALLED}>"))
    assert only(LATE, Packet(0, CALLER, CALLED, invite), reliable, ok, Packet(1.1, CALLER, CALLED, ack(invite))) == []


def test_an_ack_that_is_not_here_is_not_an_empty_one() -> None:
    assert only(LATE, *late("")[:2]) == []


def test_a_body_of_another_kind_is_not_judged() -> None:
    first, final, third = late("")
    other = Packet(third.at, third.src, third.dst, third.raw.replace(b"Content-Length: 0\r\n\r\n", b"\r\nsealed"))
    assert only(LATE, first, final, other) == []


def test_inside_a_call_the_old_session_may_hold() -> None:
    again = request(cseq=2, branch="z9hG4bK2", to_tag="called")
    call = (
        *answered(sdp(NAT, "0"), sdp(PROXY, "0")),
        Packet(9, CALLER, CALLED, again),
        Packet(9.1, CALLED, CALLER, reply(again, 200, contact=f"<sip:bob@{CALLED}>")),
    )
    assert one(LATE, *call).severity == "warning"


# ---------------------------------------------------------------- plain and secure RTP


def refusal(offer: str, *extra: str, body: str = "", code: int = 488) -> tuple[Packet, Packet]:
    invite = request(body=offer)
    return (
        Packet(0, CALLER, CALLED, invite),
        Packet(1, CALLED, CALLER, reply(invite, code, "Not Acceptable Here", body=body, extra=extra)),
    )


@pytest.mark.parametrize(
    ("extra", "body", "confidence"),
    [
        (('Warning: 302 x "Incompatible transport protocol"',), "", "certain"),
        ((), sdp(PROXY, "0"), "certain"),
        ((), "", "likely"),
    ],
    ids=["Warning", "SDP", "nothing said"],
)
def test_a_refused_profile(extra: tuple[str, ...], body: str, confidence: str) -> None:
    call = refusal(secure(NAT, CRYPTO), *extra, body=body)
    found = one(SRTP, *call)
    assert (found.severity, found.confidence) == ("critical", confidence)
    assert only("no-common-codec", *call) == []


def test_codecs_stay_the_matter_of_another_rule() -> None:
    for call in (
        refusal(secure(NAT, CRYPTO), 'Warning: 305 x "Incompatible media format"'),
        refusal(secure(NAT, CRYPTO), body=secure(PROXY, CRYPTO)),
        refusal(sdp(NAT, "0")),
    ):
        assert only(SRTP, *call) == [] and one("no-common-codec", *call)


def test_the_second_try_shows_what_the_refusal_meant() -> None:
    again = request(body=sdp(NAT, "0"), cseq=2, branch="z9hG4bK2")
    retry = (
        Packet(2, CALLER, CALLED, again),
        Packet(3, CALLED, CALLER, reply(again, 200, body=sdp(PROXY, "0"), contact=f"<sip:bob@{CALLED}>")),
        Packet(3.1, CALLER, CALLED, ack(again)),
    )
    found = one(SRTP, *refusal(secure(NAT, CRYPTO)), *retry)
    assert found.severity == "warning" and "tried again with plain RTP" in told(found)


def test_a_choice_of_both_profiles_is_not_refused_for_its_profile() -> None:
    both = secure(NAT, CRYPTO) + "m=audio 4010 RTP/AVP 0\r\n"
    assert only(SRTP, *refusal(both)) == []


def test_secure_rtp_without_keys() -> None:
    found = one(SRTP, *answered(secure(NAT), secure(PROXY, CRYPTO)))
    assert (found.severity, found.evidence[0].message) == ("critical", 1) and "gives no keys" in found.headline
    session = secure(NAT).replace("t=0 0\r\n", "t=0 0\r\na=fingerprint:sha-256 AA:BB\r\n")
    assert only(SRTP, *answered(session, secure(PROXY, CRYPTO))) == []


@pytest.mark.parametrize(("answer", "said"), [((), "not encrypted"), ((CRYPTO,), "takes them")])
def test_optional_keys_are_context(answer: tuple[str, ...], said: str) -> None:
    found = one(SRTP, *answered(sdp(NAT, "0", CRYPTO), sdp(PROXY, "0", *answer)))
    assert found.severity == "info" and said in found.headline


def test_optional_keys_answered_with_secure_rtp() -> None:
    found = one(SRTP, *answered(sdp(NAT, "0", CRYPTO), secure(PROXY, CRYPTO)))
    assert (found.severity, found.confidence) == ("error", "likely")


# ---------------------------------------------------------------- tones


def both(*lines: str, formats: str = "0 101") -> tuple[Packet, Packet, Packet]:
    return answered(sdp(NAT, "0 101", EVENTS), sdp(PROXY, formats, *lines))


def test_the_offer_may_be_the_one_without_tones() -> None:
    found = one(DTMF, *answered(sdp(NAT, "0"), sdp(PROXY, "0 101", EVENTS)))
    assert f"{NAT} offers no telephone-event while {PROXY} answers it" in found.headline


def test_info_beside_events() -> None:
    info = request("INFO", cseq=2, branch="z9hG4bK2", to_tag="called", body="Signal=5")
    key = Packet(5, CALLER, CALLED, info.replace(b"application/sdp", b"application/dtmf-relay"))
    assert "counted twice" in one(DTMF, *both(EVENTS), key).headline
    without = one(DTMF, *answered(sdp(NAT, "0 101", EVENTS), sdp(PROXY, "0")), key)
    assert (without.severity, without.evidence[-1].message) == ("info", 4)


@pytest.mark.parametrize(
    ("fmtp", "missing"),
    [
        ("0-9", "* and #"),
        ("0-11", ""),
        ("0-15,16", ""),
        ("events=0-15", ""),
        ("1-11", "0"),
        ("0-99999999999", ""),
        ("what", ""),
    ],
)
def test_keys_that_are_not_taken(fmtp: str, missing: str) -> None:
    found = only(DTMF, *both(EVENTS, f"a=fmtp:101 {fmtp}"))
    assert [missing in f.headline for f in found] == [True] * bool(missing)


def test_events_need_the_clock_of_the_codec() -> None:
    opus, fast = "a=rtpmap:111 opus/48000/2", "a=rtpmap:110 telephone-event/48000"
    offer = sdp(NAT, "111 110 101", opus, fast, EVENTS)
    found = one(DTMF, *answered(offer, sdp(PROXY, "111 101", opus, EVENTS)))
    assert (found.severity, found.confidence) == ("info", "possible")
    assert "opus/48000 with telephone-event/8000" in found.headline
    assert only(DTMF, *answered(offer, sdp(PROXY, "111 110", opus, fast))) == []


def test_what_holds_in_the_end_counts() -> None:
    again = request(body=sdp(NAT, "0 101", EVENTS), cseq=2, branch="z9hG4bK2", to_tag="called")
    ok = reply(again, 200, body=sdp(PROXY, "0 101", EVENTS), contact=f"<sip:bob@{CALLED}>")
    first = answered(sdp(NAT, "0 101", EVENTS), sdp(PROXY, "0"))
    assert only(DTMF, *first, Packet(9, CALLER, CALLED, again), Packet(9.1, CALLED, CALLER, ok)) == []
