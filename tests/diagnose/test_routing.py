"""Refusals, limits, passwords, causes: the branches of their rules."""

from __future__ import annotations

from dataclasses import replace

import pytest
from calls import CALLED, CALLER, FAR, PROXY, Packet, findings, one, only, reply, request, told
from cases import no_ack
from cases_routing import (
    NONCE,
    OTHER,
    REALM,
    THIRD,
    asked_twice,
    attempt,
    called,
    challenge,
    circling,
    ended,
    hops,
    moved,
    proof,
    refused,
    two_ways,
)


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


# ---------------------------------------------------------------- ways


def test_a_spiral_of_two_rounds_is_no_loop() -> None:
    assert only("loop-detected", *circling(2)) == []


def test_where_the_circle_is_seen_the_hops_are_its_consequence() -> None:
    last = circling(4)[-1]
    stopped = Packet(1, last.dst, last.src, reply(last.raw, 483, "Too Many Hops"))
    assert only("too-many-hops", *circling(4), stopped) == []
    assert "stopped it: 483 Too Many Hops" in told(one("loop-detected", *circling(4), stopped))


def test_a_482_alone_is_believed_less() -> None:
    found = one("loop-detected", *refused(482, "Loop Detected"))
    assert (found.confidence, PROXY in found.headline) == ("likely", True)


def test_a_request_that_came_by_two_ways_is_merged_not_looped() -> None:
    one_way = request(via=THIRD, branch="z9hG4bKa")
    other = request(via=OTHER, branch="z9hG4bKb")
    call = (
        Packet(0, THIRD, CALLED, one_way),
        Packet(0.1, OTHER, CALLED, other),
        Packet(0.2, CALLED, OTHER, reply(other, 482, "Request Merged")),
    )
    found = one("loop-detected", *call)
    assert "by two ways" in found.headline and [e.message for e in found.evidence] == [3, 1, 2]


def test_a_request_that_began_with_few_hops_says_so() -> None:
    assert "began with about 8 hops" in one("too-many-hops", *hops(483, "Too Many Hops", left=5)).advice
    assert only("too-many-hops", *hops(404, "Not Found")) == []


def test_a_fork_and_a_redirection_are_no_failover() -> None:
    assert only("failover", *two_ways(0.3, 302)) == []
    assert only("failover", *two_ways(0.3, 407)) == []


def test_a_way_that_never_answers_is_left_after_a_while() -> None:
    invite, again = request(), request(branch="z9hG4bK2", via=CALLER)
    call = (Packet(0, CALLER, CALLED, invite), Packet(4, CALLER, OTHER, again))
    done = Packet(5, OTHER, CALLER, reply(again, 200))
    assert f"{PROXY} (no final answer), then {FAR} (200 OK)" in one("failover", *call, done).headline


def test_going_on_after_the_called_party_has_spoken_is_pointed_out() -> None:
    assert "could hardly help" in told(one("failover", *two_ways(0.3, 486)))
    assert "could hardly help" not in told(one("failover", *two_ways(0.3, 503)))


def test_a_failover_that_answers_leaves_no_server_error() -> None:
    assert only("server-error", *two_ways(0.3)) == []


def follow(uri: str, to: str) -> Packet:
    raw = request(cseq=2, branch="z9hG4bK2").replace(b"sip:bob@example.org SIP", f"{uri} SIP".encode())
    return Packet(1, CALLER, to, raw)


def test_who_follows_a_redirection_is_told() -> None:
    found = one("redirected", *moved(), follow(f"sip:bob@{OTHER}", OTHER))
    assert f"{CALLER.partition(':')[0]} followed" in found.headline
    assert "nobody followed" in one("redirected", *moved(), follow("sip:bob@elsewhere", THIRD)).headline


def test_a_redirection_back_or_to_nowhere_is_an_error() -> None:
    back = one("redirected", *moved(contact="<sip:bob@example.org>"))
    assert back.severity == "error" and "a circle" in back.headline
    assert one("redirected", *moved(contact="")).severity == "error"


# ---------------------------------------------------------------- causes


@pytest.mark.parametrize(
    ("code", "cause", "wrong"),
    [
        (503, 17, True),
        (404, 34, True),
        (486, 1, True),
        (480, 41, True),
        (503, 34, False),
        (404, 3, False),
        (480, 18, False),
        (500, 127, False),
        (503, 16, False),
        (486, 21, False),
        (502, 38, False),
    ],
)
def test_which_codes_and_causes_go_together(code: int, cause: int, wrong: bool) -> None:
    found = only("isdn-cause", *refused(code, "Reason", f"Reason: Q.850;cause={cause}"))
    assert ("warning" in {f.severity for f in found}) == wrong


def test_a_cause_is_told_in_words_at_the_host_that_said_it_first() -> None:
    found = one("isdn-cause", *refused(502, "Bad Gateway", 'Reason: SIP;cause=502, Q.850;cause=27;text="dead"'))
    assert (found.severity, "Destination out of order" in found.headline) == ("info", True)
    assert 'its own words: "dead"' in told(found)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("SIP;cause=503", "Service Unavailable (SIP 503)"),
        ("Q.850;cause=102", "Recovery on timer expiry (Q.850 cause 102)"),
        ("Q.850;cause=16, SIP;cause=408", "Request Timeout (SIP 408)"),
        ("preemption;cause=1;text=UA", "UA (PREEMPTION 1)"),
    ],
)
def test_the_words_of_a_hang_up(reason: str, words: str) -> None:
    assert words in one("hang-up-reason", *ended(reason)).headline


def test_a_call_taken_elsewhere() -> None:
    invite = request()
    cancel = request("CANCEL", contact="", extra=['Reason: SIP;cause=200;text="Call completed elsewhere"'])
    found = one("hang-up-reason", Packet(0, CALLER, CALLED, invite), Packet(7, CALLER, CALLED, cancel))
    assert "calling side, upstream" in found.headline and "another telephone took the call" in found.headline
    assert "gave up after 7.0 s" in found.headline


def test_a_device_in_the_middle_that_ends_both_sides() -> None:
    down = request("BYE", via=CALLED, cseq=2, to_tag="called", branch="z9hG4bKx", contact="")
    up = request("BYE", via=CALLED, cseq=9, from_tag="called", to_tag="caller", branch="z9hG4bKy", contact="")
    both = (Packet(47, CALLED, OTHER, down), Packet(47.1, CALLED, CALLER, up))
    found = one("hang-up-reason", *refused(200, "OK"), *both)
    assert f"{PROXY}, a device in the middle, hung up" in found.headline
    told_first = Packet(46.9, CALLER, CALLED, request("BYE", cseq=2, to_tag="called", branch="z9hG4bKz", contact=""))
    assert only("hang-up-reason", *refused(200, "OK"), told_first, *both) == []


# ---------------------------------------------------------------- where another rule speaks, or nobody should


@pytest.mark.parametrize(
    ("name", "code"), [("access-refused", 403), ("number-refused", 404), ("server-error", 503), ("unavailable", 480)]
)
def test_a_refusal_that_speaks_of_a_limit_is_left_to_the_rule_for_limits(name: str, code: int) -> None:
    assert only(name, *refused(code, "No")) != []
    assert only(name, *refused(code, "Max channels reached")) == []


@pytest.mark.parametrize(("name", "code"), [("access-refused", 403), ("unavailable", 480), ("number-refused", 484)])
def test_a_scanner_is_told_nothing(name: str, code: int) -> None:
    assert only(name, *refused(code, "No", agent="User-Agent: sipvicious")) == []


def test_a_cause_that_is_a_limit_is_not_told_twice() -> None:
    limit = 'Reason: Q.850;cause=34;text="No circuit available"'
    assert only("isdn-cause", *refused(503, "No", limit)) == []
    assert only("isdn-cause", *refused(503, "No", "Reason: Q.850;cause=34")) != []


def test_an_old_nonce_or_that_of_another_host_proves_nothing() -> None:
    old = (*attempt(0, 1, 407, "Auth", challenge()), *attempt(40, 2, 407, "Auth", challenge("new"), proof()))
    assert only("credentials-rejected", *old) == []
    first = attempt(0, 1, 407, "Auth", challenge())
    ask, no, acked = attempt(1, 2, 407, "Auth", challenge("new"), proof())
    elsewhere = (replace(ask, dst=OTHER), replace(no, src=OTHER), replace(acked, dst=OTHER))
    assert only("credentials-rejected", *first, *elsewhere) == []


def test_a_request_that_came_back_did_not_come_by_two_ways() -> None:
    *_, again = circling(2)
    stopped = Packet(1, again.dst, again.src, reply(again.raw, 482, "Loop Detected"))
    assert "says that the call runs in circles" in one("loop-detected", *circling(2), stopped).headline


def test_a_hang_up_for_a_missing_ack_is_told_by_that_rule() -> None:
    lost = list(no_ack())
    lost[-1] = replace(lost[-1], raw=lost[-1].raw.replace(b"Call-ID", b"Reason: SIP;cause=408\r\nCall-ID"))
    assert [f.name for f in findings(*lost) if f.name in ("missing-ack", "hang-up-reason")] == ["missing-ack"]


def test_what_follows_an_answer_is_no_refusal_of_the_call() -> None:
    """The request of the 500 is not in the trace: it was a re-INVITE."""
    invite, again = request(), request(cseq=2, branch="z9hG4bK2", to_tag="called")
    opened = (Packet(0, CALLER, CALLED, invite), Packet(1, CALLED, CALLER, reply(invite, 200, contact="<sip:b@x>")))
    assert only("server-error", *opened, Packet(9, CALLED, CALLER, reply(again, 500, "Glare"))) == []
    assert only("server-error", Packet(9, CALLED, CALLER, reply(again, 500, "Glare"))) != []


def test_ways_on_one_host_are_told_by_their_ports() -> None:
    """A laboratory: proxy and carriers share an address."""
    here, one_way, other = "192.0.2.1:5060", "192.0.2.1:5070", "192.0.2.1:5080"
    first, second = request(via=here, branch="z9hG4bKa"), request(via=here, branch="z9hG4bKb")
    call = (
        Packet(0, here, one_way, first),
        Packet(0.1, one_way, here, reply(first, 503, "No", to_tag="o")),
        Packet(0.2, here, other, second),
        Packet(0.3, other, here, reply(second, 200, to_tag="t", contact="<sip:b@x>")),
    )
    found = one("failover", *call)
    assert f"{one_way} (503 No), then {other} (200 OK)" in found.headline
