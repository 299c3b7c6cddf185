"""Refusals, limits, passwords, causes: the branches of their rules."""

from __future__ import annotations

import pytest
from calls import CALLED, CALLER, FAR, PROXY, Packet, one, only, reply, request, told
from cases_routing import NONCE, REALM, asked_twice, attempt, called, challenge, proof, refused

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


# ---------------------------------------------------------------- credentials


def test_the_algorithm_that_the_server_wants_is_named() -> None:
    wants = challenge("new", ", algorithm=SHA-256")
    assert "the server wants SHA-256, the client used MD5" in one("credentials-rejected", *asked_twice(wants)).headline


def test_a_client_that_repeats_its_cseq_number() -> None:
    first = attempt(0, 5, 407, "Auth", challenge())
    again = attempt(1, 5, 407, "Auth", challenge("new"), proof())
    assert "did not raise its CSeq number (5, then 5)" in one("credentials-rejected", *first, *again).headline


def test_a_digest_over_another_address_is_shown() -> None:
    given = proof(more=', uri="sip:bob@10.0.0.1"')
    found = one("credentials-rejected", *asked_twice(given=given))
    assert "the digest covers sip:bob@10.0.0.1, the request is for sip:bob@example.org" in told(found)


@pytest.mark.parametrize(
    ("second", "given"),
    [
        (challenge("new", realm="other"), proof()),
        (challenge("new"), proof("never-issued")),
        (challenge("new", ', stale="true"'), proof()),
    ],
)
def test_another_realm_or_an_old_nonce_is_no_rejection(second: str, given: str) -> None:
    assert only("credentials-rejected", *asked_twice(second, given)) == []


def test_one_more_round_that_succeeds_is_no_rejection_but_two_are_worth_a_warning() -> None:
    third = attempt(2, 3, 200, "OK", "", proof("fresh"))
    assert only("credentials-rejected", *asked_twice(), *third) == []
    more = attempt(2, 3, 407, "Auth", challenge("third"), proof("fresh"))
    last = attempt(3, 4, 200, "OK", "", proof("third"))
    found = one("credentials-rejected", *asked_twice(), *more, *last)
    assert (found.severity, "2 ×" in found.headline) == ("warning", True)


def test_a_nonce_that_was_good_before_has_only_grown_old() -> None:
    good = attempt(1, 2, 200, "OK", "", proof(), "REGISTER")
    refresh = attempt(20, 3, 407, "Auth", challenge("new"), proof(), "REGISTER")
    call = (*attempt(0, 1, 407, "Auth", challenge(), "", "REGISTER"), *good, *refresh)
    assert only("credentials-rejected", *call) == []


def test_credentials_that_come_late_are_told_with_their_delay() -> None:
    call = (*attempt(0, 1, 407, "Auth", challenge()), *attempt(17, 2, 486, "Busy", "", proof()))
    found = one("challenge-unanswered", *call)
    assert found.severity == "warning" and "16.9 s" in found.headline
    assert f'nonce="{NONCE}"' in told(found) and "response=" not in told(found)


def test_a_challenge_is_not_unanswered_before_its_time_or_where_nothing_can_be_seen() -> None:
    call = attempt(0, 1, 407, "Auth", challenge())
    assert only("challenge-unanswered", *call, until=30) == []
    assert only("challenge-unanswered", *call, heard=frozenset()) == []
    assert only("challenge-unanswered", *attempt(0, 1, 407, "Auth", challenge(), "", "OPTIONS")) == []


def test_an_answer_without_credentials_ends_the_matter() -> None:
    assert only("challenge-unanswered", *attempt(0, 1, 407, "A", challenge()), *attempt(1, 2, 200, "OK", "")) == []


def test_403_after_credentials_is_about_the_account() -> None:
    call = (*attempt(0, 1, 407, "Auth", challenge()), *attempt(1, 2, 403, "Forbidden", "", proof()))
    found = one("access-refused", *call)
    assert "although it gave credentials (as alice)" in found.headline and "account" in found.advice
    assert only("access-refused", *asked_twice(), *attempt(2, 3, 403, "Forbidden", "", proof("fresh"))) == []


@pytest.mark.parametrize("method", ["INVITE", "REGISTER"])
def test_401_that_asks_for_nothing_is_a_closed_door(method: str) -> None:
    assert (
        "401 IP Not Authorised"
        in one("access-refused", *attempt(0, 1, 401, "IP Not Authorised", "", "", method)).headline
    )
    header = f'WWW-Authenticate: Digest realm="{REALM}", nonce="1"'
    assert only("access-refused", *attempt(0, 1, 401, "Unauthorized", header, "", method)) == []


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("number", "form"),
    [
        ("00441632960001", "14 digits with 00 in front"),
        ("2017", "4 digits without + or 00"),
        ("reception", "a name, no number"),
        ("+44-1632-960001", "separators between them"),
        ("99#44163", "digits and letters"),
    ],
)
def test_the_form_of_a_number_is_told(number: str, form: str) -> None:
    assert form in one("number-refused", *called(number)).headline
