"""Lengths, Contacts, sizes, mandatory headers, transports, scanners: the branches of their rules."""

from __future__ import annotations

from dataclasses import replace

import pytest
from calls import (
    CALLED,
    CALLER,
    NAT,
    RULES,
    SECOND,
    START,
    Packet,
    ack,
    answered,
    bye,
    findings,
    one,
    only,
    reply,
    request,
    sdp,
    trace,
)
from calls import told as words
from cases_routing import changed, contactless, identity, measured, refused, signed, sized, strict

from capture.flags import FRAGMENT_LOST, FRAGMENTED, HEADERS_CUT, STREAM_GAP, TRUNCATED
from diagnose.engine import diagnose

LENGTH, CONTACT, LARGE = "content-length-wrong", "missing-contact", "large-udp-message"
HEADER, TRANSPORT = "header-missing-or-repeated", "transport-contradiction"


# ---------------------------------------------------------------- lengths


def test_what_is_cut_off_is_shown() -> None:
    assert 'loses the body from "' in words(one(LENGTH, *measured(60)))


def test_a_body_that_is_too_short() -> None:
    assert "lacks 50 of the 150 bytes" in one(LENGTH, *measured(150)).headline


@pytest.mark.parametrize("flag", [TRUNCATED, FRAGMENT_LOST, STREAM_GAP, HEADERS_CUT])
@pytest.mark.parametrize("name", [LENGTH, HEADER, CONTACT])
def test_what_the_capture_cut_off_is_no_fault_of_the_sender(name: str, flag: int) -> None:
    [packet] = measured(150)
    bare = Packet(0, CALLER, CALLED, packet.raw.replace(b"Contact", b"X-None").replace(b"From", b"X-From"))
    assert only(name, bare) != []
    assert only(name, replace(bare, flags=flag)) == []


@pytest.mark.parametrize("padding", [b"\r\n", b"\0\0\0\0", b"\r\n\r\n"])
def test_padding_behind_a_body_is_missed_by_nobody(padding: bytes) -> None:
    [packet] = measured(100)
    assert only(LENGTH, replace(packet, raw=packet.raw + padding)) == []


def test_a_stream_needs_a_length_and_a_datagram_does_not() -> None:
    raw = request(body=sdp()).replace(b"Content-Length", b"X-Length")
    assert "without Content-Length" in one(LENGTH, Packet(0, CALLER, CALLED, raw, "tcp")).headline
    assert only(LENGTH, Packet(0, CALLER, CALLED, raw)) == []


def test_a_length_that_is_no_number_and_the_refusal_it_led_to() -> None:
    raw = changed(request(), "Content-Length: 0", "Content-Length: many")
    call = (Packet(0, CALLER, CALLED, raw), Packet(0.1, CALLED, CALLER, reply(raw, 400, "Bad Length")))
    found = one(LENGTH, *call)
    assert "no number" in found.headline and "400 Bad Length" in words(found)


# ---------------------------------------------------------------- Contacts


def test_an_answer_without_contact() -> None:
    invite = request(body=sdp())
    call = (Packet(0, CALLER, CALLED, invite), Packet(1, CALLED, CALLER, reply(invite, 200, body=sdp())))
    assert "ACK and BYE towards the answering side" in one(CONTACT, *call).headline
    arrived = one(CONTACT, *call, Packet(1.1, CALLER, CALLED, ack(invite)))
    assert (arrived.severity, "here it worked" in arrived.headline) == ("warning", True)


@pytest.mark.parametrize(("more", "count"), [(["Require: 100rel"], 1), ([], 0)])
def test_only_a_reliable_provisional_answer_needs_a_contact(more: list[str], count: int) -> None:
    invite = request()
    call = (Packet(0, CALLER, CALLED, invite), Packet(1, CALLED, CALLER, reply(invite, 183, "Progress", extra=more)))
    assert len(only(CONTACT, *call)) == count


def test_two_contacts_are_one_too_many() -> None:
    two = "<sip:a@192.0.2.1>, <sip:a@192.0.2.2>"
    assert "2 Contacts" in one(CONTACT, *contactless(contact=two)).headline


@pytest.mark.parametrize("method", ["OPTIONS", "REGISTER", "BYE", "MESSAGE"])
def test_what_sets_up_no_dialog_needs_no_contact(method: str) -> None:
    assert only(CONTACT, Packet(0, CALLER, CALLED, request(method, contact=""))) == []


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("size", "flags", "severity"),
    [(1300, 0, None), (1301, 0, "info"), (1472, 0, "info"), (1473, 0, "warning"), (900, FRAGMENTED, "warning")],
)
def test_how_large_is_too_large(size: int, flags: int, severity: str | None) -> None:
    assert [f.severity for f in only(LARGE, *sized(size, flags))] == ([severity] if severity else [])


def test_a_large_message_that_nobody_answers_is_an_error() -> None:
    invite, _ = sized(1900, FRAGMENTED)
    found = one(LARGE, invite, heard=frozenset({NAT}))
    assert (found.severity, found.confidence, found.precedence) == ("error", "likely", 12)
    assert one(LARGE, invite, heard=frozenset()).severity == "warning"
    assert one(LARGE, invite, heard=frozenset({NAT}), until=20).severity == "warning"


def test_a_large_answer_counts_only_in_fragments() -> None:
    invite = request()
    large = reply(invite, 200, extra=["Subject: " + "x" * 1600], contact="<sip:bob@x>")
    call = [Packet(0, CALLER, CALLED, invite), Packet(1, CALLED, CALLER, large)]
    assert only(LARGE, *call) == []
    call[1] = replace(call[1], flags=FRAGMENTED)
    assert "200 to INVITE" in one(LARGE, *call).headline


def test_what_makes_it_large_is_told() -> None:
    body = sdp(NAT, "0 8 9", *(f"a=candidate:{n} 1 UDP 1 192.0.2.1 9 typ host" for n in range(30)))
    [packet] = (Packet(0, CALLER, CALLED, request(body=body)),)
    assert "1 media streams with 3 formats and 30 ICE candidates" in words(one(LARGE, packet))


# ---------------------------------------------------------------- headers


@pytest.mark.parametrize(
    ("old", "new", "problem", "severity"),
    [
        ("From:", "X-From:", "no From", "warning"),
        ("CSeq: 1 INVITE", "CSeq: 1 OPTIONS", "the CSeq method OPTIONS in a INVITE", "warning"),
        ("CSeq: 1 INVITE", "CSeq: INVITE", "no number in its CSeq", "warning"),
        ("branch=z9hG4bK1", "branch=1", "a branch of the old kind", "info"),
        (";branch=z9hG4bK1", "", "no branch in its Via", "warning"),
        ("To:", "Max-Forwards: 9\r\nTo:", "2 × Max-Forwards", "warning"),
        ("Max-Forwards: 70\r\n", "", "no Max-Forwards", "info"),
    ],
)
def test_each_thing_that_may_be_wrong(old: str, new: str, problem: str, severity: str) -> None:
    found = one(HEADER, *strict(changed(request(), old, new)))
    assert (found.severity, problem in found.headline) == (severity, True), found.headline


def test_a_request_without_max_forwards_is_only_noted() -> None:
    raw = changed(request(), "Max-Forwards: 70\r\n", "")
    assert one(HEADER, Packet(0, CALLER, CALLED, raw)).severity == "info"


# ---------------------------------------------------------------- transports


@pytest.mark.parametrize(
    ("via", "real", "count"),
    [("UDP", "udp", 0), ("UDP", "tcp", 1), ("TLS", "udp", 1), ("TLS", "tcp", 0), ("WSS", "ws", 0), ("FOO", "udp", 0)],
)
def test_which_transports_go_together(via: str, real: str, count: int) -> None:
    assert len(only(TRANSPORT, Packet(0, CALLER, CALLED, request(transport=via), real))) == count


def to(uri: str, **more: str) -> Packet:
    return Packet(0, CALLER, CALLED, changed(request(**more), "sip:bob@example.org SIP", f"{uri} SIP"))


def test_a_target_that_asks_for_another_transport() -> None:
    assert "asks for TCP" in one(TRANSPORT, to(f"sip:bob@{CALLED};transport=tcp")).headline
    assert "TLS (sips)" in one(TRANSPORT, to(f"sips:bob@{CALLED}")).headline
    assert only(TRANSPORT, to(f"sip:bob@{CALLED};transport=udp")) == []
    assert only(TRANSPORT, to("sip:bob@example.org;transport=tcp")) == []
    routed = to(f"sip:bob@{CALLED};transport=tcp")
    assert only(TRANSPORT, replace(routed, raw=changed(routed.raw, "To:", "Route: <sip:x;lr>\r\nTo:"))) == []


def test_a_contact_that_asks_for_another_transport() -> None:
    contact = f"<sip:alice@{CALLER};transport=tcp>"
    found = one(TRANSPORT, *contactless(contact=contact))
    assert found.confidence == "possible" and "its Contact asks for TCP" in found.headline
    proxied = request(contact=contact, extra=["Via: SIP/2.0/TCP 192.0.2.5;branch=z9hG4bKx"])
    assert only(TRANSPORT, Packet(0, CALLER, CALLED, proxied)) == []
    over = bye(CALLED, from_tag="called", to_tag="caller")
    back = Packet(9, CALLED, CALLER, changed(over, "SIP/2.0/UDP", "SIP/2.0/TCP"), "tcp")
    assert only(TRANSPORT, *answered(sdp(), sdp(), contact=contact), back) == []


# ---------------------------------------------------------------- outcomes and scanners


def test_busy_is_said_once_and_not_of_a_call_that_was_answered() -> None:
    again = request(cseq=2, branch="z9hG4bK2")
    done = (Packet(3, CALLER, CALLED, again), Packet(4, CALLED, CALLER, reply(again, 200, contact="<sip:b@x>")))
    assert only("busy-or-declined", *refused(486, "Busy Here"), *done) == []
    assert "declined the call" in one("busy-or-declined", *refused(603, "Decline")).headline


@pytest.mark.parametrize("code", [403, 404, 503])
def test_nobody_explains_to_a_scanner_why_it_failed(code: int) -> None:
    agent = "User-Agent: sipvicious"
    names = [f.name for f in findings(*refused(code, "No", agent=agent)) if f.severity != "info"]
    assert names == ["scanner"]
    assert only("scanner", *refused(code, "No")) == []


def dialled(numbers: int, pause: float) -> list[Packet]:
    out = []
    for n in range(numbers):
        ask = request(cseq=n + 1, branch=f"z9hG4bK{n}").replace(b"<sip:bob@", f"<sip:{n}@".encode())
        out += [Packet(n * pause, CALLER, CALLED, ask), Packet(n * pause + 0.1, CALLED, CALLER, reply(ask, 404, "No"))]
    return out


def test_many_numbers_at_once_under_one_call_id() -> None:
    assert "tries 8 numbers" in one("scanner", *dialled(8, 1)).headline
    assert only("scanner", *dialled(7, 1)) == []
    assert only("scanner", *dialled(8, 20)) == []


# ---------------------------------------------------------------- identity and unreadable parts


@pytest.mark.parametrize(
    ("header", "severity", "says"),
    [
        (identity(at=START // SECOND - 61), "warning", "signed 61 s before the INVITE"),
        (identity(at=START // SECOND + 90), "warning", "signed 90 s after the INVITE"),
        (identity(dest="441632969999"), "warning", "this one goes to 01632960002"),
        (identity("C"), "info", "attestation C"),
        (identity("b"), "info", "attestation B"),
    ],
)
def test_what_is_odd_about_a_statement(header: str, severity: str, says: str) -> None:
    found = one("caller-identity", *signed(header))
    assert (found.severity, says in found.headline) == (severity, True), found.headline


@pytest.mark.parametrize(
    "header", ["", "Identity: ..sig;info=<https://x>", "Identity: a.!!.c", "Identity: e30.W10.c", "Identity: x"]
)
def test_a_statement_that_cannot_be_read_says_nothing(header: str) -> None:
    assert only("caller-identity", *signed(header)) == []


@pytest.mark.parametrize(("code", "says"), [(428, "there is none"), (437, "does not trust"), (438, "no valid")])
def test_a_refused_identity(code: int, says: str) -> None:
    found = one("caller-identity", *signed(identity("C"), code, "Identity"))
    assert found.severity == "error" and says in found.headline
    assert "has 1 Identity header" in words(found)


def test_a_statement_that_the_receiver_finds_too_old() -> None:
    found = findings(*signed(identity(), 403, "Stale Date"))
    assert [(f.name, f.severity) for f in found if f.severity != "info"] == [("caller-identity", "error")]
    assert "too old: 403 Stale Date" in found[0].headline
    assert only("caller-identity", *signed(identity(), 403, "Forbidden")) == []
    assert one("access-refused", *signed(identity(), 403, "Forbidden"))


def test_a_defect_is_shown_with_its_place() -> None:
    raw = changed(request(), "To:", "broken\r\nTo:")
    found = one("unreadable-part", *strict(raw))
    assert f"(byte {raw.index(b'broken')})" in words(found) and found.evidence[0].line == "broken"
    assert only("unreadable-part", *measured(60)) == []


def test_the_transport_that_an_agent_reports_is_not_held_against_the_sender() -> None:
    seen = trace(Packet(0, CALLER, CALLED, request(transport="TLS")))
    by_agent = replace(seen, messages=tuple(replace(m, interface="hep:edge1") for m in seen.messages))
    assert TRANSPORT in [f.name for f in diagnose(seen, RULES)]
    assert TRANSPORT not in [f.name for f in diagnose(by_agent, RULES)]


def test_a_contact_from_behind_a_proxy_belongs_to_another_hop() -> None:
    contact = f"<sip:alice@{CALLER};transport=tcp>"
    proxied = request(contact=contact, extra=["Record-Route: <sip:192.0.2.5;lr>"])
    assert only(TRANSPORT, Packet(0, CALLER, CALLED, proxied)) == []


def test_many_numbers_that_are_answered_are_no_scan() -> None:
    calls = [replace(p, raw=p.raw.replace(b"404 No", b"200 OK")) for p in dialled(8, 1)]
    assert only("scanner", *calls) == []
