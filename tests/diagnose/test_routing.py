"""Refusals, limits, passwords, causes: the branches of their rules."""

from __future__ import annotations

import pytest
from calls import CALLED, CALLER, FAR, PROXY, Packet, one, only, reply, request, told
from cases_routing import refused

OTHER = f"{FAR}:5060"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (503, "All trunks busy"),
        (503, "All circuits are busy"),
        (503, "No circuit available"),
        (480, "No circuit/channel available"),
        (486, "channel limit"),
        (503, "Maximum Calls In Progress"),
        (302, "Server at max cps / channels"),
        (403, "Too many concurrent calls"),
    ],
)
def test_a_limit_in_the_words_of_many_vendors(code: int, reason: str) -> None:
    assert reason in one("capacity-rejection", *refused(code, reason)).headline


@pytest.mark.parametrize(
    "reason", ["Busy everywhere", "User busy", "Line busy", "All good", "No route available", "Call terminated"]
)
def test_words_that_only_sound_like_a_limit(reason: str) -> None:
    assert only("capacity-rejection", *refused(480, reason)) == []


def through_a_proxy(origin: int, passed: int) -> tuple[Packet, ...]:
    """CALLER → PROXY → OTHER, which fails; the proxy answers with a tag of its own."""
    first, second = request(), request(branch="z9hG4bK2", via=CALLED)
    return (
        Packet(0, CALLER, CALLED, first),
        Packet(0.1, CALLED, OTHER, second),
        Packet(0.2, OTHER, CALLED, reply(second, origin, "Because", to_tag="far")),
        Packet(0.3, CALLED, CALLER, reply(first, passed, "Also", to_tag="own")),
    )


def test_a_failure_is_told_of_the_server_where_it_began() -> None:
    assert FAR in one("server-error", *through_a_proxy(502, 500)).headline
    assert only("server-error", *through_a_proxy(486, 500)) == []


def test_a_proxy_that_fails_after_it_was_challenged_fails_by_itself() -> None:
    assert PROXY in one("server-error", *through_a_proxy(407, 500)).headline


def test_an_answer_from_elsewhere_makes_a_server_error_context() -> None:
    again = request(branch="z9hG4bK3", cseq=2)
    call = (
        *refused(500, "Oops"),
        Packet(2, CALLER, CALLED, again),
        Packet(3, CALLED, CALLER, reply(again, 200, contact="<sip:bob@x>")),
    )
    found = one("server-error", *call)
    assert found.severity == "info" and "then answered" in told(found)
    inside = request(branch="z9hG4bK3", cseq=2, to_tag="called")
    assert only("server-error", Packet(2, CALLER, CALLED, inside), Packet(3, CALLED, CALLER, reply(inside, 500))) == []
