"""What OpenSIPS, FreeSWITCH, Asterisk and heplify send is read as they mean it, whole, over UDP and streams."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from capture.flags import TRUNCATED
from capture.frames import Frame
from capture.hep import HepStream, looks_like_hep, parse_hep
from capture.hepframes import to_payload, transport_of
from tests.capture.heppackets import MICROS, SECONDS
from tests.capture.hepproducts import (
    DST,
    DST6,
    ESP,
    IDP,
    SCTP,
    SRC,
    SRC6,
    TCP,
    UDP,
    asterisk,
    freeswitch3,
    freeswitch12,
    heplify1,
    heplify2,
    opensips3,
    opensips12,
)
from tests.capture.wire import sip

INVITE = sip("product", b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n")
TS = SECONDS * 1_000_000_000 + MICROS * 1000
FRAME = Frame(1, 1, "eth0", 0, b"")
PRODUCTS = {
    "Asterisk": asterisk(INVITE, uuid="product"),
    "Asterisk, no UUID": asterisk(INVITE),
    "Asterisk, password": asterisk(INVITE, uuid="PJSIP/alice-00000001", password="foo"),
    "FreeSWITCH, version 3": freeswitch3(INVITE),
    "FreeSWITCH, version 2": freeswitch12(INVITE, 2),
    "FreeSWITCH, version 1": freeswitch12(INVITE, 1),
    "OpenSIPS": opensips3(INVITE),
    "OpenSIPS, correlation": opensips3(INVITE, correlation="b2b.1"),
    "OpenSIPS, homer5_on = 0": opensips3(INVITE, homer5=False, correlation="b2b.1", net="77"),
    "OpenSIPS, version 2": opensips12(INVITE, 2),
    "OpenSIPS, version 1": opensips12(INVITE, 1),
    "heplify 1": heplify1(INVITE, name="edge-1", password="foo"),
    "heplify 2": heplify2(INVITE, name="edge-1"),
    "heplify 2, payload_zip": heplify2(INVITE, name="edge-1", squeezed=True),
}


@pytest.mark.parametrize(("name", "packet"), PRODUCTS.items(), ids=PRODUCTS)
def test_the_message_its_addresses_and_its_time(name: str, packet: bytes) -> None:
    assert looks_like_hep(packet)
    found = parse_hep(packet)
    payload = to_payload(found, (FRAME,))
    assert payload is not None
    assert payload.data == INVITE
    assert (payload.src, payload.sport, payload.dst, payload.dport) == (SRC, 5060, DST, 5080)
    assert payload.ts == (FRAME.ts if "version 1" in name else TS)
    assert (payload.transport, payload.flags) == ("udp", 0)
    assert (found.node or found.agent) == {"h": "edge-1", "A": 1234, "F": 100, "O": 1}[name[0]] or "version 1" in name


@pytest.mark.parametrize(("password", "key"), [("foo", b"foo"), ("", b"")])
def test_the_key_is_the_password_of_asterisk_and_heplify(password: str, key: bytes) -> None:
    assert parse_hep(asterisk(INVITE, password=password)).key == key
    assert parse_hep(heplify1(INVITE, password=password)).key == key


@pytest.mark.parametrize(
    ("packet", "correlation"),
    [
        (asterisk(INVITE, uuid="PJSIP/alice-00000001"), "PJSIP/alice-00000001"),
        (opensips3(INVITE, correlation="b2b.1"), "b2b.1"),
        (heplify1(b"{}", kind=5, cid=b"product"), "product"),
    ],
)
def test_correlation(packet: bytes, correlation: str) -> None:
    assert parse_hep(packet).correlation == correlation


def test_ipv6_of_asterisk_and_opensips() -> None:
    for packet in (asterisk(INVITE, src=SRC6, dst=DST6), opensips12(INVITE, 2, src=SRC6, dst=DST6)):
        found = parse_hep(packet)
        assert (found.src, found.dst, found.data) == (SRC6, DST6, INVITE)


def test_ipv6_of_freeswitch_is_not_told_by_it_and_the_call_is_there_all_the_same() -> None:
    found = parse_hep(freeswitch3(INVITE, src=bytes(16), dst=bytes(16)))
    assert (found.src, found.sport, found.dst, found.dport, found.data) == ("::", 5060, "::", 5080, INVITE)


def test_freeswitch_cuts_large_messages_and_that_is_flagged() -> None:
    large = sip("large", b"x" * 17_000)
    payload = to_payload(parse_hep(freeswitch3(large)), (FRAME,))
    assert payload is not None and payload.flags == TRUNCATED
    assert len(payload.data) > 15_000 and large.startswith(payload.data)


def test_zeros_behind_a_message_that_belong_to_it_are_kept() -> None:
    """A body of ISUP may end in them; OpenSIPS' own come on top."""
    isup = sip("isup", b"\x01\x00" + bytes(12))
    assert parse_hep(opensips12(isup, 2)).data == isup
    assert parse_hep(freeswitch12(isup, 2)).data == isup


def test_bytes_that_are_no_text_survive_the_json_of_opensips() -> None:
    odd = sip("odd", "ä".encode() + b"\xff\x80")
    assert parse_hep(opensips3(odd, homer5=False)).data == odd
    other = json.dumps({"event": "x"}).encode()
    for text in (other, b"{", b"{}", b'{"payload": 7}', b"[" * 5000):
        assert parse_hep(opensips3(text)).data == text


@pytest.mark.parametrize(
    ("number", "via", "expected"),
    [
        (TCP, "TCP", "tcp"),
        (TCP, "TLS", "tls"),  # Asterisk
        (TCP, "WS", "ws"),  # Asterisk, FreeSWITCH
        (TCP, "WSS", "wss"),
        (IDP, "TLS", "tls"),  # OpenSIPS, FreeSWITCH, Kamailio
        (IDP, "WSS", "wss"),
        (ESP, "WS", "ws"),  # OpenSIPS
        (ESP, "WSS", "wss"),
        (SCTP, "SCTP", "sctp"),
        (UDP, "TCP", "udp"),  # what a phone writes into its Via may be wrong; the proxy knows
    ],
)
def test_transports(number: int, via: str, expected: str) -> None:
    message = INVITE.replace(b"SIP/2.0/TCP", b"SIP/2.0/" + via.encode())
    makers: list[Callable[[bytes], bytes]] = [
        lambda data: asterisk(data, protocol=number),
        lambda data: freeswitch3(data, protocol=number),
        lambda data: freeswitch12(data, 2, protocol=number),
        lambda data: opensips3(data, protocol=number),
        lambda data: opensips12(data, 2, protocol=number),
        lambda data: heplify1(data, protocol=number),
        lambda data: heplify2(data, protocol=number),
    ]
    assert {transport_of(parse_hep(make(message))) for make in makers} == {expected}


RTCP = json.dumps({"ssrc": 4235, "type": 200, "report_count": 1}).encode()


@pytest.mark.parametrize(
    "packet",
    [
        asterisk(RTCP, uuid="product", kind=5),
        heplify1(RTCP, kind=5, cid=b"product"),
        heplify1(b"2026-11-28 kamailio[1]: INVITE sip:a SIP/2.0", kind=100, cid=b"product"),
        opensips3(b"xlog line", kind=0x56),
        opensips3(b"{}", kind=0x59, protocol=IDP),
        opensips3(b"No request buffer"),
    ],
)
def test_what_is_no_sip_message_is_none(packet: bytes) -> None:
    assert to_payload(parse_hep(packet), (FRAME,)) is None


@pytest.mark.parametrize("size", [1, 2, 7, 500, 10_000])
def test_streams_of_version_3_and_squeezed_packets(size: int) -> None:
    packets = [p for name, p in PRODUCTS.items() if "version" not in name]
    data, stream = b"".join(packets), HepStream()
    found = [p for at in range(0, len(data), size) for p in stream.feed(data[at : at + size])]
    assert [to_payload(parse_hep(p), (FRAME,)).data for p in found] == [INVITE] * len(packets)  # type: ignore[union-attr]
    assert stream.lost == 0


def test_a_squeezed_packet_without_end_costs_itself_alone() -> None:
    import gzip

    bomb = gzip.compress(bytes(300_000))
    good = PRODUCTS["heplify 2"]
    for hostile in (bomb, heplify2(INVITE, squeezed=True)[:40], b"\x1f\x8b\x08" + bytes(20)):
        stream = HepStream()
        assert stream.feed(hostile + good)[-1:] == [good]
        assert stream.lost
