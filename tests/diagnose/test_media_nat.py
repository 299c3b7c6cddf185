"""Ways through a NAT: replies that go astray, bindings that expire, routers that rewrite."""

from __future__ import annotations

from calls import CALLED, FAR, NAT, PHONE, Packet, findings, one, only, reply, request, resent

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
