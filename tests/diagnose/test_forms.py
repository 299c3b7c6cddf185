"""Start lines, branches, Contacts and lengths that strict readers refuse, and how serious each of them is."""

from __future__ import annotations

import pytest
from calls import CALLED, CALLER, NAT, Packet, one, only, reply, request, sdp

PLAIN = request(body=sdp())
LINE = b"INVITE sip:bob@example.org SIP/2.0"


def sent(raw: bytes, at: float = 0) -> Packet:
    return Packet(at, CALLER, CALLED, raw)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"INVITE sip:bob@example.org SIP/7.0", "its version is SIP/7.0"),
        (b"INVITE sip:bob@example.org SIP/2.0 ", "white space stands behind its start line"),
        (b"INVITE  sip:bob@example.org SIP/2.0", "more than one space"),
        (b"INVITE sip:bob@example.org; lr SIP/2.0", "white space stands inside its request URI"),
        (b"INVITE <sip:bob@example.org> SIP/2.0", "its request URI stands in angle brackets"),
        (b"INVITE sip:bob@2001:db8::10 SIP/2.0", "the IPv6 address in its request URI stands in no brackets"),
    ],
)
def test_a_malformed_start_line_is_told_and_shown(line: bytes, words: str) -> None:
    found = one("unreadable-part", sent(PLAIN.replace(LINE, line)))
    assert f"'s INVITE is malformed: {words}" in found.headline
    assert found.evidence[0].line == line.decode()


@pytest.mark.parametrize(
    "line",
    [
        LINE,
        b"INVITE sip:bob@[2001:db8::10]:5060;lr SIP/2.0",
        b"INVITE sip:bob:secret@192.0.2.1:5060 SIP/2.0",
        b"INVITE tel:+15551234;phone-context=a:b:c SIP/2.0",
        b"INVITE sip:bob@example.org sip/2.0",
    ],
)
def test_other_start_lines_are_left_alone(line: bytes) -> None:
    assert only("unreadable-part", sent(PLAIN.replace(LINE, line))) == []


def test_a_version_in_a_status_line() -> None:
    raw = PLAIN.replace(LINE, b"SIP/3.0 180 Ringing")
    assert "its version is SIP/3.0" in one("unreadable-part", sent(raw)).headline


def test_bytes_behind_a_message_without_a_body_are_no_lost_body() -> None:
    bare = request("OPTIONS")
    behind = one("content-length-wrong", sent(bare + PLAIN))
    assert behind.severity == "warning" and "no body was announced" in behind.evidence[1].text
    length = f"Content-Length: {len(sdp())}".encode()
    assert one("content-length-wrong", sent(PLAIN.replace(length, b"Content-Length: 9"))).severity == "error"


def test_a_contact_is_not_missed_where_rfc_2543_is_spoken() -> None:
    new, old = request(contact=""), request(contact="", branch="1")
    assert one("missing-contact", sent(new)).severity == "error"
    found = one("missing-contact", sent(old))
    assert found.severity == "warning" and "RFC 2543" in found.evidence[1].text


def test_a_branch_that_is_only_its_cookie() -> None:
    found = one("header-missing-or-repeated", sent(request(branch="z9hG4bK")))
    assert found.severity == "warning" and "nothing but z9hG4bK" in found.headline and NAT in found.headline


def test_a_host_that_speaks_to_itself_needs_no_received() -> None:
    def call(src: str) -> tuple[Packet, Packet]:
        asked = request(via="10.0.0.9:5060")
        return Packet(0, f"{src}:5062", CALLED, asked), Packet(1, CALLED, f"{src}:5062", reply(asked, 100, "Trying"))

    assert one("received-missing", *call(NAT))
    assert only("received-missing", *call(CALLED.partition(":")[0])) == []
