"""The NAT tests of both proxies: the whole mask of a phone behind NAT, each bit on its own, and the traps."""

from __future__ import annotations

import pytest
from calls import FAR, NAT, PHONE, PROXY, Packet, request, sdp, trace

from diagnose.nat import client_test, kamailio, masks, opensips
from index.trace import TraceMessage

HERE = f"<sip:alice@{NAT}:5060>"


def sent(
    *, via: str = f"{NAT}:5060", contact: str = HERE, body: str = "", src: str = f"{NAT}:5060", over: str = "udp"
) -> TraceMessage:
    """A request that no test of any proxy objects to, but for what is changed."""
    raw = request(via=via, contact=contact, body=body)
    return trace(Packet(0, src, f"{PROXY}:5060", raw, over)).messages[0]


def numbers(m: TraceMessage) -> tuple[int, ...]:
    """Kamailio nat_uac_test, OpenSIPS nat_uac_test, both client_nat_test."""
    return tuple(mask.number for mask in masks(m))


def lines(*written: str) -> str:
    return "\r\n".join(["v=0", f"o=- 1 1 IN IP4 {NAT}", "s=-", *written, ""])


def test_nothing_wrong_is_nought() -> None:
    assert numbers(sent(body=sdp(NAT))) == (0, 0, 0, 0)


def test_a_phone_behind_nat_with_everything_private() -> None:
    phone = sent(via=f"{PHONE}:5060", contact=f"<sip:alice@{PHONE}:5060>", body=sdp(PHONE), src=f"{NAT}:31044")
    assert numbers(phone) == (415, 127, 7, 15)
    assert [b.value for b in kamailio(phone).bits] == [1, 2, 4, 8, 16, 128, 256]
    assert str(kamailio(phone)) == "Kamailio nat_uac_test = 415 (1+2+4+8+16+128+256)"


SINGLE = {
    # what is changed: Kamailio and OpenSIPS nat_uac_test, Kamailio and OpenSIPS client_nat_test
    "private Contact": (sent(contact=f"<sip:alice@{PHONE}:5060>"), (1, 1 + 32, 1, 1 + 8)),
    "public Via of another host": (sent(via=f"{FAR}:5060"), (2, 2, 2, 0 + 2)),
    "name in Via": (sent(via="phone.example.org:5060"), (2, 2, 2, 2)),
    "private Via": (sent(via=f"{PHONE}:5060"), (2 + 4, 2 + 4, 2 + 4, 2 + 4)),
    "private stream address, public session address": (
        sent(body=lines(f"c=IN IP4 {NAT}", "t=0 0", "m=audio 4000 RTP/AVP 0", f"c=IN IP4 {PHONE}")),
        (8, 0, 0, 0),
    ),
    "private stream address alone": (sent(body=sdp(PHONE, session=False)), (8, 8, 0, 0)),
    "other source port": (
        sent(src=f"{NAT}:31044", contact=f"<sip:alice@{NAT}:31044>"),
        (16, 16, 2, 2),
    ),
    "private source": (
        sent(src="10.0.0.9:5060", via="10.0.0.9:5060", contact="<sip:alice@pbx.example.org>"),
        (4 + 32, 4 + 32, 4, 4 + 8),
    ),
    "WebSocket": (sent(over="ws"), (64, 0, 0, 0)),
    "WebSocket over TLS": (sent(over="wss"), (64, 0, 0, 0)),
    "other port in Contact": (sent(contact=f"<sip:alice@{NAT}:6060>"), (128, 64, 0, 0)),
    "public Contact of another host": (sent(contact=f"<sip:alice@{FAR}:5060>"), (0, 32, 0, 8)),
    "media server": (sent(body=sdp(FAR)), (256, 0, 0, 0)),
}


@pytest.mark.parametrize(("m", "expected"), SINGLE.values(), ids=list(SINGLE))
def test_each_bit_on_its_own(m: TraceMessage, expected: tuple[int, ...]) -> None:
    assert numbers(m) == expected


def test_one_number_means_two_things() -> None:
    """32 is the source to Kamailio and the Contact to OpenSIPS; 64 is WebSocket and the Contact's port."""
    m = sent(contact=f"<sip:alice@{FAR}:6060>")
    assert [b.value for b in kamailio(m).bits] == [128]
    assert [(b.value, b.name) for b in opensips(m).bits] == [(32, "diff-ip-src-contact"), (64, "diff-port-src-contact")]


PRIVATE = [
    # address, Kamailio, OpenSIPS
    ("10.1.2.3", True, True),
    ("172.16.0.1", True, True),
    ("172.31.255.255", True, True),
    ("172.32.0.1", False, False),
    ("192.168.255.1", True, True),
    ("100.64.0.1", True, False),
    ("100.128.0.1", False, False),
    ("192.0.0.7", True, False),
    ("192.0.0.200", True, False),
    ("192.0.1.1", False, False),
    ("169.254.1.1", False, False),
    ("127.0.0.1", False, False),
    ("[fd00::1]", False, False),
    ("[fe80::1]", False, False),
    ("private.example.org", False, False),
]


@pytest.mark.parametrize(("host", "to_kamailio", "to_opensips"), PRIVATE)
def test_what_each_calls_private(host: str, to_kamailio: bool, to_opensips: bool) -> None:
    m = sent(contact=f"<sip:alice@{host}:5060>")
    assert (1 in [b.value for b in kamailio(m).bits]) == to_kamailio
    assert (1 in [b.value for b in opensips(m).bits]) == to_opensips


C = f"c=IN IP4 {NAT}"
STREAMS = {
    # streams after a public session address: what Kamailio's bit 8 finds
    "a stream on hold ends the test": (("m=audio 4 RTP/AVP 0", "c=IN IP4 0.0.0.0"), False),
    "an IPv6 stream ends the test": (("m=audio 4 RTP/AVP 0", "c=IN IP6 2001:db8::1"), False),
    "a public stream does not": (("m=audio 4 RTP/AVP 0", C), True),
    "a name does not": (("m=audio 4 RTP/AVP 0", "c=IN IP4 media.example.org"), True),
}


@pytest.mark.parametrize(("first", "found"), STREAMS.values(), ids=list(STREAMS))
def test_private_second_stream(first: tuple[str, ...], found: bool) -> None:
    m = sent(body=lines(C, "t=0 0", *first, "m=video 6 RTP/AVP 31", f"c=IN IP4 {PHONE}"))
    assert (kamailio(m).number == 8) == found
    assert opensips(m).number == 0, "OpenSIPS looks at the first c= only"


@pytest.mark.parametrize("over", ["udp", "tcp", "tls"])
def test_a_missing_port_is_5060_on_every_transport(over: str) -> None:
    """So a correct TLS client that sends from 5061 sets bits 16 and 128."""
    m = sent(via=NAT, contact=f"<sips:alice@{NAT}>", src=f"{NAT}:5061", over=over)
    assert [b.value for b in kamailio(m).bits] == [16, 128]
    assert [b.value for b in opensips(m).bits] == [16], "OpenSIPS completes a sips URI with 5061"
    assert "5060 (by default)" in kamailio(m).bits[0].compared


def test_no_usable_contact_is_no_private_contact() -> None:
    for contact in ("", "*"):
        m = sent(contact=contact, src=f"{NAT}:31044", via=f"{NAT}:31044")
        assert numbers(m) == (0, 0, 0, 0)


def test_opensips_looks_at_every_contact_and_kamailio_at_the_first() -> None:
    m = sent(contact=f"{HERE}, <sip:alice@{PHONE}:5060>")
    assert (kamailio(m).number, opensips(m).number) == (0, 1 + 32)


def test_the_sessions_own_address_alone_is_compared_with_the_source() -> None:
    m = sent(body=sdp(FAR, session=False))
    assert kamailio(m).number == 0
    named = sent(body=sdp("media.example.org"))
    assert kamailio(named).number == 0


def test_a_received_parameter_counts_as_a_difference_for_opensips() -> None:
    m = sent(via=f"{NAT}:5060;received={NAT}")
    assert (kamailio(m).number, opensips(m).number) == (0, 2)


def test_client_nat_test_compares_address_and_port_at_once() -> None:
    m = sent(via=f"{NAT}:6060")
    assert [b.value for b in client_test(m, "Kamailio").bits] == [2]
    assert "203.0.113.9:6060" in client_test(m, "OpenSIPS").bits[0].compared


def test_ipv6_is_compared_as_an_address_not_as_text() -> None:
    v6 = "[2001:DB8:0:0::5]:5060"
    m = sent(via=v6, contact=f"<sip:alice@{v6}>", src="[2001:db8::5]:5060")
    assert numbers(m) == (0, 0, 0, 0)
