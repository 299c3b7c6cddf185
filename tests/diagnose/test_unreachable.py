"""What ICMP errors explain, and what they leave to other rules."""

from __future__ import annotations

import pytest
from calls import CALLED, CALLER, NAT, OK_TIMES, PROXY, Packet, bye, findings, icmp, one, only, reply, resent, sdp
from calls import answered as talk
from cases_unreachable import BOTH, INVITE, SILENT

NAME = "destination-unreachable"


def test_silence_that_is_explained_is_not_told_again() -> None:
    assert [f.name for f in findings(*SILENT, **BOTH, icmp=(icmp(INVITE, PROXY),))] == [NAME]
    assert [f.name for f in findings(*SILENT, **BOTH)] == ["invite-unanswered"]


@pytest.mark.parametrize(
    ("version", "kind", "code", "why"),
    [
        (4, 3, 0, "no route"),
        (4, 3, 1, "host cannot be reached"),
        (4, 3, 4, "too large for the path"),
        (4, 3, 13, "firewall forbids"),
        (4, 3, 5, "could not be delivered"),
        (6, 1, 4, "nothing listens"),
        (6, 1, 1, "firewall forbids"),
        (6, 2, 0, "too large for the path"),
    ],
)
def test_types_and_codes(version: int, kind: int, code: int, why: str) -> None:
    error = icmp(INVITE, "203.0.113.1", kind, code, version=version)
    assert (
        f"203.0.113.1 says that {'the packet is ' if 'large' in why else ''}"
        in one(NAME, *SILENT, icmp=(error,)).headline
    )
    assert why in one(NAME, *SILENT, icmp=(error,)).headline


def test_an_error_that_quotes_the_start_line_only() -> None:
    assert one(NAME, *SILENT, icmp=(icmp(INVITE, PROXY, quoted=60),))


def test_a_request_that_was_answered_all_the_same() -> None:
    busy = Packet(0.9, CALLED, CALLER, reply(INVITE.raw, 486, "Busy Here"))
    assert one(NAME, *SILENT[:2], busy, icmp=(icmp(INVITE, PROXY),)).severity == "info"


def test_another_target_that_answers() -> None:
    other = Packet(1, CALLER, "192.0.2.77:5060", INVITE.raw.replace(b"z9hG4bK1", b"z9hG4bK2"))
    ok = Packet(2, "192.0.2.77:5060", CALLER, reply(other.raw, 200, contact="<sip:bob@192.0.2.77>", body=sdp()))
    assert one(NAME, *SILENT[:2], other, ok, icmp=(icmp(INVITE, PROXY),)).severity == "warning"


def test_a_bye_that_is_turned_back() -> None:
    over = Packet(10, CALLER, CALLED, bye())
    call = (*talk(sdp(NAT), sdp(PROXY)), *resent(over, *OK_TIMES))
    assert only("bye-unanswered", *call, **BOTH)
    named = [(f.name, f.severity) for f in findings(*call, **BOTH, icmp=(icmp(over, PROXY),))]
    assert named == [(NAME, "error")]


def test_an_answer_that_is_turned_back_needs_no_missing_ack() -> None:
    ok = Packet(1, CALLED, CALLER, reply(INVITE.raw, 200, contact=f"<sip:bob@{CALLED}>", body=sdp(PROXY)))
    call = (SILENT[0], *resent(ok, *OK_TIMES))
    assert only("missing-ack", *call, **BOTH)
    found = findings(*call, **BOTH, icmp=(icmp(ok, NAT),))
    assert [f.name for f in found] == [NAME] and "The 200 to INVITE" in found[0].headline
