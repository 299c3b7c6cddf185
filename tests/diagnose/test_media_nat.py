"""Ways through a NAT: replies that go astray, bindings that expire, routers that rewrite."""

from __future__ import annotations

from typing import Any

import pytest
from calls import CALLED, FAR, NAT, PHONE, Packet, ack, bye, findings, one, only, reply, request, resent, sdp, told
from cases_media import registered

from capture.flags import TRUNCATED

ASTRAY, EXPIRED, ALG = "reply-to-wrong-place", "nat-binding-expired", "sip-alg-suspected"
TRIED = f"{NAT}:31044"


def asked(back_to: str, *, again: bool = True, rport: bool = True, via: str = f"{PHONE}:5060") -> list[Packet]:
    invite = request(via=via, rport=rport, contact=f"<sip:alice@{TRIED}>")
    first = Packet(0, TRIED, CALLED, invite)
    sent = resent(first, 0.5) if again else [first]
    return [*sent, Packet(0.1, CALLED, back_to, reply(invite, 180, "Ringing"))]


def test_a_wrong_port_is_a_wrong_place_with_rport_only() -> None:
    assert one(ASTRAY, *asked(f"{NAT}:5060")).confidence == "certain"
    assert only(ASTRAY, *asked(f"{NAT}:5060", rport=False)) == []
    assert one(ASTRAY, *asked(f"{PHONE}:5060", rport=False)).confidence == "certain"


def test_without_a_repetition_it_is_only_likely() -> None:
    assert one(ASTRAY, *asked(f"{NAT}:5060", again=False)).confidence == "likely"


def test_a_sender_that_goes_on_had_its_reply() -> None:
    prack = request("PRACK", cseq=2, branch="z9hG4bK2", to_tag="called")
    assert only(ASTRAY, *asked(f"{NAT}:5060", again=False), Packet(0.2, TRIED, CALLED, prack)) == []


def test_both_sides_of_a_nat_are_right_places() -> None:
    call = asked(f"{PHONE}:5060")
    inside = Packet(0.01, f"{PHONE}:5060", CALLED, call[0].raw)
    assert only(ASTRAY, *call, inside) == []


def test_a_reply_that_the_nat_already_translated() -> None:
    invite = request(via=f"{PHONE}:5060")
    noted = reply(invite, 180, "Ringing").replace(b";rport;", f";received={NAT};rport=31044;".encode())
    assert only(ASTRAY, Packet(0, TRIED, CALLED, invite), Packet(0.1, CALLED, f"{PHONE}:5060", noted)) == []
    before = Packet(0, f"{PHONE}:5060", CALLED, invite)
    assert only(ASTRAY, before, Packet(0.1, CALLED, TRIED, reply(invite, 180, "Ringing"))) == []


def test_maddr_and_connections_have_ways_of_their_own() -> None:
    assert only(ASTRAY, *asked(f"{FAR}:5060", via=f"{PHONE}:5060;maddr={FAR}")) == []
    tcp = [Packet(p.at, p.src, p.dst, p.raw, "tcp") for p in asked(f"{NAT}:5060")]
    assert only(ASTRAY, *tcp) == []


def test_the_missing_ack_is_its_consequence() -> None:
    invite = request(via=f"{PHONE}:5060", contact=f"<sip:alice@{TRIED}>")
    ok = Packet(1, CALLED, f"{PHONE}:5060", reply(invite, 200, contact=f"<sip:bob@{CALLED}>"))
    call = (Packet(0, TRIED, CALLED, invite), *resent(ok, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5))
    names = {f.name for f in findings(*call)}
    assert ASTRAY in names and "missing-ack" not in names


# ---------------------------------------------------------------- bindings that expire


def test_a_port_that_outlived_as_long_a_silence_was_changed_by_something_else() -> None:
    assert only(EXPIRED, *registered(31044, 31044, 52001)) == []
    again = one(EXPIRED, *registered(31044, 52001, 47002))
    assert again.confidence == "likely"


def test_a_port_that_comes_back_was_never_closed() -> None:
    assert only(EXPIRED, *registered(31044, 52001, 31044)) == []


def test_a_registration_that_had_run_out_had_no_calls_to_lose() -> None:
    assert only(EXPIRED, *registered(31044, 52001, every=4000)) == []
    assert one(EXPIRED, *registered(31044, 52001, every=3600)).severity == "warning"


def in_call(answered: bool, via_of_later: str = f"{PHONE}:5060") -> list[Packet]:
    """The server asks a phone at its first port; the phone then hangs up from a second one."""
    invite = request(via=f"{PHONE}:5060")
    ping = request("OPTIONS", via=CALLED, from_tag="called", to_tag="caller", branch="z9hG4bKping", contact="")
    end = bye(via_of_later)
    out = [
        Packet(0, TRIED, CALLED, invite),
        Packet(1, CALLED, TRIED, reply(invite, 200, contact=f"<sip:bob@{CALLED}>")),
        Packet(1.1, TRIED, CALLED, ack(invite)),
        *resent(Packet(61.1, CALLED, TRIED, ping), 0.5, 1.5),
        Packet(90, f"{NAT}:52001", CALLED, end),
    ]
    return [*out, Packet(61.2, TRIED, CALLED, reply(ping, 200))] if answered else out


def test_a_lost_request_is_worse() -> None:
    found = one(EXPIRED, *in_call(False))
    assert (found.severity, found.confidence) == ("error", "certain")
    assert "within 60.0 s of silence: the OPTIONS sent there was lost" in found.headline
    assert only(EXPIRED, *in_call(True)) == []


def test_another_via_is_another_device() -> None:
    assert only(EXPIRED, *in_call(False, f"{PHONE}:5090")) == []


@pytest.mark.parametrize("host", ["pc.example.org", NAT])
def test_a_device_that_is_behind_no_nat_may_use_a_new_port_each_time(host: str) -> None:
    call = [Packet(p.at, p.src, p.dst, p.raw.replace(PHONE.encode(), host.encode())) for p in registered(31044, 52001)]
    assert only(EXPIRED, *call) == []


def test_ports_of_connections_are_always_new() -> None:
    assert only(EXPIRED, *(Packet(p.at, p.src, p.dst, p.raw, "tcp") for p in registered(31044, 52001))) == []


# ---------------------------------------------------------------- routers that rewrite


def invite_from(port: int = 5060, body: str = "", **more: Any) -> Packet:
    return Packet(0, f"{NAT}:{port}", CALLED, request(body=body, **more))


MIXED = sdp(NAT).replace(f"o=- 1 1 IN IP4 {NAT}", f"o=- 1 1 IN IP4 {PHONE}")
PRIVATE = f"<sip:alice@{PHONE}:5060>"


@pytest.mark.parametrize(
    ("packet", "signs"),
    [
        (invite_from(body=MIXED, contact=PRIVATE), ("Via says", "o= says")),
        (invite_from(31044, MIXED, contact=f"<sip:alice@{NAT}:31044>"), ("still says 5060", "o= says")),
        (invite_from(contact=PRIVATE, extra=("Max-Forwards: 70", "Max-Forwards: 69")), ("Via says", "2 times")),
    ],
    ids=["half rewritten", "ports", "doubled header"],
)
def test_two_signs_within_one_message(packet: Packet, signs: tuple[str, ...]) -> None:
    found = one(ALG, packet)
    assert found.confidence == "likely" and not [x for x in signs if x not in told(found)]


def test_a_wrong_length_is_a_sign_on_datagrams() -> None:
    sent = invite_from(body=sdp(PHONE))
    wrong = sent.raw.replace(b"Content-Length: ", b"Content-Length: 1")
    assert "Content-Length says" in told(one(ALG, Packet(0, sent.src, sent.dst, wrong)))
    assert only(ALG, Packet(0, sent.src, sent.dst, wrong, flags=TRUNCATED)) == []
    assert only(ALG, sent) == []


def test_what_stun_leaves_behind_is_only_possible() -> None:
    sent = invite_from(body=MIXED)
    known = sent.raw.replace(b"Call-ID: call-1", f"Call-ID: call-1@{PHONE}".encode())
    assert one(ALG, Packet(0, sent.src, sent.dst, known)).confidence == "possible"


def test_a_proxy_may_mix_addresses() -> None:
    passed = invite_from(body=MIXED, contact=PRIVATE, extra=(f"Record-Route: <sip:{NAT};lr>",))
    assert only(ALG, passed) == []
    second = invite_from(body=MIXED, contact=PRIVATE, extra=(f"Via: SIP/2.0/UDP {PHONE}:5060;branch=z9hG4bK0",))
    assert only(ALG, second) == []


@pytest.mark.parametrize(("behind", "confidence"), [(NAT, "certain"), (PHONE, "")])
def test_both_sides_of_the_router(behind: str, confidence: str) -> None:
    """A NAT without ALG changes the packet's own address alone."""
    inside = Packet(0, f"{PHONE}:5060", CALLED, request(via=f"{PHONE}:5060", contact=PRIVATE, body=sdp(PHONE)))
    outside = Packet(
        0.001, f"{NAT}:31044", CALLED, request(via=f"{behind}:5060", contact=PRIVATE.replace(PHONE, behind))
    )
    found = only(ALG, inside, outside)
    assert [f.confidence for f in found] == [confidence] * bool(confidence)
    assert [[e.message for e in f.evidence][:2] for f in found] == [[1, 2]] * bool(confidence)


def test_bad_form_alone_is_no_router() -> None:
    sent = invite_from(body=sdp(NAT), extra=("Max-Forwards: 70", "Max-Forwards: 69"))
    wrong = sent.raw.replace(b"Content-Length: ", b"Content-Length: 1")
    assert only(ALG, Packet(0, sent.src, sent.dst, wrong)) == []
