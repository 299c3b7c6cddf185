"""Ways through a NAT: replies that go astray, bindings that expire, routers that rewrite."""

from __future__ import annotations

import pytest
from calls import CALLED, FAR, NAT, PHONE, Packet, ack, bye, findings, one, only, reply, request, resent
from cases_media import registered

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
