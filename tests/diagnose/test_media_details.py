"""Finer points of session descriptions and addresses: the several ways in which one rule can be broken."""

from __future__ import annotations

import pytest
from calls import CALLED, CALLER, NAT, PHONE, PROXY, Packet, answered, bye, one, only, reply, request, sdp
from cases_media import CRYPTO, IMAGE, OTHER_KEY, dtls, fax, held, previewed, refreshed, secure

PTIME, REFUSED, UNDEFINED, EARLY = "ptime-mismatch", "stream-refused", "payload-type-undefined", "early-media-trap"
FAMILY, SDES, DTLS, T38 = "address-family-mismatch", "sdes-keys-invalid", "dtls-setup-invalid", "t38-refused"
HOLD, CONTACT, CODEC = "call-left-on-hold", "contact-unreachable", "no-common-codec"


def test_a_wish_above_the_others_maximum_is_a_risk() -> None:
    call = answered(sdp(NAT, "0", "a=maxptime:40"), sdp(PROXY, "0", "a=ptime:60"))
    assert one(PTIME, *call).severity == "warning"
    assert only(PTIME, *answered(sdp(NAT, "0", "a=maxptime:60"), sdp(PROXY, "0", "a=ptime:60"))) == []


def test_a_choice_of_two_forms_refuses_one() -> None:
    offer = secure(NAT, CRYPTO) + "m=audio 4010 RTP/AVP 0\r\n"
    answer = sdp(PROXY, "0", port=0).replace("RTP/AVP", "RTP/SAVP") + "m=audio 4010 RTP/AVP 0\r\n"
    assert only(REFUSED, *answered(offer, answer)) == []


@pytest.mark.parametrize(
    ("lines", "formats", "severity", "said"),
    [
        ((), "97 0", "warning", "the others still work"),
        (("a=rtpmap:97 speex/8000", "a=rtpmap:97 iLBC/8000"), "97", "error", "two meanings"),
        (("a=rtpmap:97 speex/8000", "a=rtpmap:97 SPEEX/8000"), "97", "", ""),
        ((), "", "error", "no codec at all"),
        ((), "0 8 18", "", ""),
    ],
)
def test_payload_types(lines: tuple[str, ...], formats: str, severity: str, said: str) -> None:
    found = only(UNDEFINED, *answered(sdp(NAT, formats, *lines), sdp(PROXY, "0")))
    assert [f.severity for f in found] == [severity] * bool(severity)
    assert all(said in f.headline for f in found)


def test_the_ring_after_the_announcement() -> None:
    first, preview, ok, _ = previewed(4000)
    ring = Packet(2, CALLED, CALLER, reply(first.raw, 180, "Ringing"))
    found = one(EARLY, first, preview, ring, ok)
    assert found.confidence == "possible" and "180 without SDP after 183" in found.headline
    before = Packet(0.5, CALLED, CALLER, ring.raw)
    assert only(EARLY, first, before, preview, ok) == []


def test_reliable_previews_are_answers_of_their_own() -> None:
    first, preview, ok, last = previewed(4010)
    reliable = Packet(1, CALLED, CALLER, preview.raw.replace(b"CSeq:", b"RSeq: 1\r\nCSeq:"))
    assert only(EARLY, first, reliable, ok, last) == []


def test_an_address_family_that_was_refused() -> None:
    invite = request(body=sdp(NAT))
    no = reply(invite, 488, "Not Acceptable Here", extra=('Warning: 301 x "Incompatible network address formats"',))
    call = Packet(0, CALLER, CALLED, invite), Packet(1, CALLED, CALLER, no)
    assert one(FAMILY, *call).severity == "critical"
    assert only(CODEC, *call) == []


def test_ice_has_more_addresses_than_one() -> None:
    six = sdp(PROXY, "0", "a=candidate:1 1 UDP 1 192.0.2.9 4000 typ host").replace(f"IP4 {PROXY}", "IP6 2001:db8::7")
    assert only(FAMILY, *answered(sdp(NAT, "0"), six)) == []


@pytest.mark.parametrize(
    ("lines", "severity", "said"),
    [
        ((OTHER_KEY, OTHER_KEY.replace(":1 ", ":2 ")), "critical", "must pick one"),
        ((OTHER_KEY.replace(":1 ", ":3 "),), "critical", "was not offered"),
        ((OTHER_KEY[:-4],), "critical", "27 bytes"),
        ((OTHER_KEY.replace("inline:", "inline:!"),), "critical", "no Base64"),
        ((CRYPTO,), "warning", "the key of the offer"),
        ((OTHER_KEY + "|2^20|1:4",), "", ""),
    ],
)
def test_keys_of_the_answer(lines: tuple[str, ...], severity: str, said: str) -> None:
    found = only(SDES, *answered(secure(NAT, CRYPTO), secure(PROXY, *lines)))
    assert [f.severity for f in found] == [severity] * bool(severity)
    assert all(said in f.headline for f in found)


@pytest.mark.parametrize(
    ("offered", "taken", "said"),
    [
        ("actpass", "passive", ""),
        ("active", "active", "both begin"),
        ("passive", "passive", "both wait"),
        ("active", "passive", ""),
    ],
)
def test_setup(offered: str, taken: str, said: str) -> None:
    found = only(DTLS, *answered(dtls(NAT, offered), dtls(PROXY, taken)))
    assert [said in f.headline for f in found] == [True] * bool(said)


def test_dtls_needs_roles_and_fingerprints() -> None:
    offer, answer = dtls(NAT, "actpass"), dtls(PROXY, "active")
    bare = answer.replace("a=fingerprint:sha-256 AA:BB\r\n", "a=zrtp-hash:1.10 aa\r\n")
    assert "without a=fingerprint" in one(DTLS, *answered(offer, bare)).headline
    assert "without a=setup" in one(DTLS, *answered(offer.replace("a=setup:actpass\r\n", ""), answer)).headline
    silent = answer.replace("a=setup:active\r\n", "")
    assert only(DTLS, *answered(offer, silent)) == []
    for role, confidence, outcome in (("passive", "likely", "both wait"), ("active", "possible", "both begin")):
        found = one(DTLS, *answered(offer.replace("actpass", role), silent))
        assert found.confidence == confidence and outcome in found.headline


def test_fax_refused_with_port_0_or_taken_later() -> None:
    *first, again, final = fax(200)
    closed = Packet(final.at, final.src, final.dst, final.raw.replace(b"m=image 4006", b"m=image 0"))
    assert "port 0" in one(T38, *first, again, closed).headline
    third = request(body=IMAGE.format(NAT), cseq=3, branch="z9hG4bK3", to_tag="called")
    ok = reply(third, 200, body=IMAGE.format(PROXY), contact=f"<sip:bob@{CALLED}>")
    later = Packet(12, CALLER, CALLED, third), Packet(12.1, CALLED, CALLER, ok)
    assert only(T38, *first, again, closed, *later) == []


def test_a_refused_fax_is_no_matter_of_codecs() -> None:
    body = sdp(NAT, "8", "m=image 4006 udptl t38").replace("m=audio 4000", "m=audio 0")
    again = request(body=body, cseq=2, branch="z9hG4bK2", to_tag="called")
    no = Packet(9.1, CALLED, CALLER, reply(again, 488, "Not Acceptable Here"))
    call = (*answered(sdp(NAT, "8"), sdp(PROXY, "8")), Packet(9, CALLER, CALLED, again), no)
    assert one(T38, *call) and only(CODEC, *call) == []


def test_a_call_that_is_taken_back_is_not_left() -> None:
    *start, _ = held(100)
    again = request(body=sdp(NAT, "0"), cseq=3, branch="z9hG4bK3", to_tag="called")
    end = Packet(110, CALLER, CALLED, bye(cseq=4))

    def taken(direction: str) -> list[Packet]:
        ok = reply(again, 200, body=sdp(PROXY, "0", f"a={direction}"), contact=f"<sip:bob@{CALLED}>")
        return [*start, Packet(30, CALLER, CALLED, again), Packet(31, CALLED, CALLER, ok), end]

    assert only(HOLD, *taken("sendrecv")) == []
    found = one(HOLD, *taken("inactive"))
    assert found.confidence == "likely" and f"{PROXY} stayed at inactive for 79.0 s" in found.headline


@pytest.mark.parametrize(
    ("host", "severity"),
    [
        ("239.1.1.1", "error"),
        ("phone", "warning"),
        ("abc.invalid", "error"),
        (f"{NAT}:0", "error"),
        ("pbx.example.org", ""),
        (PHONE, ""),
        ("127.0.0.1", ""),
        (NAT, ""),
    ],
)
def test_contacts(host: str, severity: str) -> None:
    """A private or loopback address told to a public peer is told by the rule of private Contacts."""
    found = only(CONTACT, *answered(sdp(), sdp(PROXY), contact=f"<sip:alice@{host}>"))
    assert [f.severity for f in found] == [severity] * bool(severity)


def test_browsers_may_have_no_address() -> None:
    invite = request(contact="<sip:alice@abc.invalid;transport=ws>", transport="WSS")
    assert only(CONTACT, Packet(0, CALLER, CALLED, invite, "wss")) == []


def test_the_modes_of_ilbc_may_differ() -> None:
    a, b = (("a=rtpmap:97 iLBC/8000", f"a=fmtp:97 mode={x}") for x in (20, 30))
    assert one("codec-parameters-differ", *answered(sdp(NAT, "97", *a), sdp(PROXY, "97", *b))).severity == "info"


def test_one_form_that_fits_is_enough() -> None:
    maps = "a=rtpmap:97 AMR/8000", "a=rtpmap:98 AMR/8000"
    offer = sdp(NAT, "97 98", *maps, "a=fmtp:97 octet-align=1")
    assert only("codec-parameters-differ", *answered(offer, sdp(PROXY, "98", maps[1]))) == []


@pytest.mark.parametrize(
    ("version", "port", "said"), [("1 1", 4000, ""), ("1 0", 4000, "goes back"), ("7 1", 4010, ""), ("1 9", 4010, "")]
)
def test_versions(version: str, port: int, said: str) -> None:
    found = only("sdp-version-misused", *refreshed(version, port))
    assert [said in f.headline for f in found] == [True] * bool(said)


@pytest.mark.parametrize(("address", "spoken"), [("100.64.0.1", True), ("100.127.255.1", True), ("100.63.1.1", False)])
def test_shared_addresses(address: str, spoken: bool) -> None:
    via = request(via=f"{address}:5060")
    assert bool(only("carrier-grade-nat", Packet(0, CALLER, CALLED, via))) is spoken
