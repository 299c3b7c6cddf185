"""Private addresses: where this capture stands, who compensates, and what is no fault at all."""

from __future__ import annotations

import pytest
from calls import CALLED, FAR, NAT, PHONE, PROXY, Packet, ack, bye, findings, one, only, reply, request, sdp, told
from cases import BEHIND_NAT, PRIVATE, from_nat, lan

CONTACT, SDP, BITS = "private-contact-to-public-peer", "private-sdp-to-public-peer", "nat-test-bits"
THIRD = f"{FAR}:5060"


def before_the_nat(contact: str = PRIVATE, media: str = PHONE) -> tuple[Packet, ...]:
    invite = request(via=f"{PHONE}:5060", contact=contact, body=sdp(media))
    return (
        Packet(0, f"{PHONE}:5060", CALLED, invite),
        Packet(1, CALLED, f"{PHONE}:5060", reply(invite, 200, contact=f"<sip:bob@{CALLED}>", body=sdp(PROXY))),
        Packet(1.1, f"{PHONE}:5060", CALLED, ack(invite)),
    )


@pytest.mark.parametrize("name", [CONTACT, SDP])
def test_a_capture_on_the_clients_side_proves_nothing(name: str) -> None:
    found = one(name, *before_the_nat())
    assert (found.severity, found.confidence) == ("warning", "possible")
    assert "unless something rewrites it on the way" in found.headline
    assert f"the packet itself comes from {PHONE}: this capture sits on that side of its NAT" in told(found)


@pytest.mark.parametrize("name", [CONTACT, SDP])
def test_another_private_address_stays_an_error_there(name: str) -> None:
    """A NAT would rewrite the packet's own address at best, never that of another network."""
    other = before_the_nat(contact="<sip:alice@10.9.9.9>", media="10.9.9.9")
    assert one(name, *other).severity == "error"


@pytest.mark.parametrize("source", [PHONE, "10.77.0.1"])
def test_one_private_network_is_no_fault(source: str) -> None:
    assert only(CONTACT, *lan(source)) == only(SDP, *lan(source)) == []


def test_nat_bits_are_quiet_where_everything_agrees() -> None:
    assert only(BITS, *lan(PHONE)) == []
    named = request(via="pc.example.org", contact="<sip:alice@pc.example.org>", body=sdp(NAT))
    assert only(BITS, Packet(0, BEHIND_NAT, CALLED, named)) == []
    media_server = request(body=sdp(FAR), contact=f"<sip:alice@{NAT}:6060>")
    assert only(BITS, Packet(0, f"{NAT}:5060", CALLED, media_server)) == []


@pytest.mark.parametrize(
    "packet",
    [
        Packet(0, "10.77.0.1:5060", "10.0.0.5:5060", request(via=f"{PHONE}:5060", contact=PRIVATE)),
        Packet(0, f"{NAT}:5060", CALLED, request(contact=PRIVATE)),
        Packet(0, f"{NAT}:5060", CALLED, request(body=sdp(PHONE))),
        Packet(0, f"{PHONE}:5060", CALLED, request(via=f"{PHONE}:5060", contact=PRIVATE)),
        Packet(0, f"{NAT}:5060", CALLED, request(via="pc.example.org", contact="<sip:alice@169.254.3.4>")),
    ],
    ids=["Via of another subnet", "Contact", "SDP", "before the NAT", "link-local"],
)
def test_nat_bits_speak_of_a_crossing(packet: Packet) -> None:
    assert one(BITS, packet).severity == "info"


def test_nat_bits_are_told_once_for_each_sender() -> None:
    again = Packet(5, BEHIND_NAT, CALLED, request("OPTIONS", via=f"{PHONE}:5060", branch="z9hG4bK5", cseq=5))
    assert len(only(BITS, *from_nat(), again)) == 1


def test_ports_of_connections_are_called_normal() -> None:
    invite = request(via=f"{PHONE}:5060", contact=PRIVATE, transport="TCP")
    found = one(BITS, Packet(0, BEHIND_NAT, CALLED, invite, "tcp"))
    assert "normal on a connection" in told(found)


@pytest.mark.parametrize(
    "contact",
    [
        f"<sip:alice@{PHONE}:5060;alias=203.0.113.9~31044~1>",
        f"<sip:alice@{PHONE}:5060;gr=urn:uuid:1>",
        f"<sip:alice@{PHONE}:5060;ob>",
        f"<sip:alice@{PHONE}:5060>;received=203.0.113.9",
    ],
)
def test_a_compensated_contact_is_context(contact: str) -> None:
    found = one(CONTACT, *from_nat(contact=contact))
    assert found.severity == "info" and "harmless here" in found.headline


def test_a_proxy_that_rewrites_the_contact_compensates() -> None:
    first = from_nat(media=NAT)
    passed = request(via=CALLED, branch="z9hG4bK2", contact=f"<sip:alice@{NAT}:31044>")
    found = one(CONTACT, *first, Packet(0.1, CALLED, THIRD, passed))
    assert found.severity == "info" and f"{PROXY} rewrites the Contact" in told(found)
    kept = request(via=CALLED, branch="z9hG4bK2", contact=PRIVATE)
    assert one(CONTACT, *first, Packet(0.1, CALLED, THIRD, kept)).severity == "error"


def test_a_registrar_that_keeps_the_source_compensates() -> None:
    register = request("REGISTER", via=f"{PHONE}:5060", contact=PRIVATE)
    plain = reply(register, 200, contact=f"{PRIVATE};expires=300")
    kept = reply(register, 200, contact=f'{PRIVATE};expires=300;received="sip:{BEHIND_NAT}"')
    sent = Packet(0, BEHIND_NAT, CALLED, register)
    lost = one(CONTACT, sent, Packet(1, CALLED, BEHIND_NAT, plain))
    assert lost.severity == "error" and "calls to this registration will be lost" in lost.headline
    assert one(CONTACT, sent, Packet(1, CALLED, BEHIND_NAT, kept)).severity == "info"


def test_reached_all_the_same() -> None:
    """A BYE towards the private side was answered from there; unanswered, it proves the fault."""
    end = bye(CALLED, from_tag="called", to_tag="caller")
    sent = Packet(20, CALLED, BEHIND_NAT, end)
    answered = Packet(20.1, BEHIND_NAT, CALLED, reply(end, 200))
    assert one(CONTACT, *from_nat(), sent, answered).severity == "info"
    assert one(CONTACT, *from_nat(), sent).severity == "error"


def test_the_called_sides_contact_loses_the_ack() -> None:
    invite = request()
    ok = reply(invite, 200, contact=f"<sip:bob@{PHONE}>")
    found = one(CONTACT, Packet(0, f"{NAT}:5060", CALLED, invite), Packet(1, CALLED, f"{NAT}:5060", ok))
    assert "the ACK and every later request towards the called side will be lost" in found.headline
    assert found.evidence[0].message == 2


def test_both_sides_may_have_the_same_private_address() -> None:
    first, _, third = from_nat()
    twin = reply(first.raw, 200, contact=f"<sip:bob@{PHONE}>", body=sdp(PHONE))
    call = (first, Packet(1, CALLED, BEHIND_NAT, twin), third)
    assert len(only(CONTACT, *call)) == len(only(SDP, *call)) == 2


def test_a_relay_takes_the_media() -> None:
    first = from_nat()
    passed = request(via=CALLED, branch="z9hG4bK2", body=sdp(PROXY))
    found = one(SDP, *first, Packet(0.1, CALLED, THIRD, passed))
    assert found.severity == "info" and "a relay takes the media" in told(found)
    kept = request(via=CALLED, branch="z9hG4bK2", body=sdp(PHONE))
    assert one(SDP, *first, Packet(0.1, CALLED, THIRD, kept)).severity == "error"


def test_ice_finds_its_way() -> None:
    line = "a=candidate:1 1 UDP 1 {} 40000 typ srflx"
    for address, severity in ((NAT, "info"), ("192.168.1.21", "error")):
        offer = sdp(PHONE, "0", line.format(address))
        assert one(SDP, Packet(0, BEHIND_NAT, CALLED, request(body=offer))).severity == severity


def test_a_refused_stream_wants_no_address() -> None:
    assert only(SDP, Packet(0, BEHIND_NAT, CALLED, request(body=sdp(PHONE, port=0)))) == []


@pytest.mark.parametrize("address", ["0.0.0.0", "media.example.org", NAT])
def test_addresses_that_are_not_private(address: str) -> None:
    assert only(SDP, Packet(0, BEHIND_NAT, CALLED, request(body=sdp(address)))) == []


def test_a_removed_registration_has_no_address() -> None:
    register = request("REGISTER", via=BEHIND_NAT, contact="*")
    assert findings(Packet(0, BEHIND_NAT, CALLED, register), until=1) == ()


def test_the_side_that_gave_the_address_is_named_as_deaf() -> None:
    invite = request()
    ok = reply(invite, 200, contact=f"<sip:bob@{CALLED}>", body=sdp(PHONE))
    sent, back = Packet(0, f"{NAT}:5060", CALLED, invite), Packet(1, CALLED, f"{NAT}:5060", ok)
    assert "the called side will not hear the caller" in one(SDP, sent, back).headline
    assert "that device will not hear the other side" in one(SDP, back).headline


@pytest.mark.parametrize(("direction", "severity"), [("recvonly", "error"), ("sendonly", ""), ("inactive", "")])
def test_only_who_wants_to_hear_misses_something(direction: str, severity: str) -> None:
    found = only(SDP, Packet(0, BEHIND_NAT, CALLED, request(body=sdp(PHONE, "0", f"a={direction}"))))
    assert [f.severity for f in found] == [severity] * bool(severity)


def test_a_session_passed_on_without_streams_is_no_relay() -> None:
    passed = request(via=CALLED, branch="z9hG4bK2", body=sdp(PROXY, port=0))
    assert one(SDP, *from_nat(), Packet(0.1, CALLED, THIRD, passed)).severity == "error"


def test_a_later_hop_proves_what_the_first_leaves_open() -> None:
    """Seen before the NAT and behind it: the private address went through unchanged."""
    inside = before_the_nat()
    passed = Packet(0.01, BEHIND_NAT, CALLED, inside[0].raw)
    assert one(SDP, *inside).severity == "warning"
    found = one(SDP, *inside, passed)
    assert (found.severity, found.evidence[0].message) == ("error", 2)
