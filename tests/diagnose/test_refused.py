"""REGISTER, SUBSCRIBE, PUBLISH and MESSAGE that are refused: what is told, how often, and what other rules tell."""

from __future__ import annotations

import pytest
from calls import CALLED, CALLER, FAR, Packet, one, only, reply, request, told
from cases_refused import refused

NAME = "request-refused"
FAR_END = f"{FAR}:5060"


def test_a_refusal_that_comes_again_and_again_is_told_once() -> None:
    calls = [p for n in range(3) for p in refused(503, "Service Unavailable", "Retry-After: 60", at=n * 60, cseq=n + 1)]
    found = one(NAME, *calls)
    assert "3 × with 503 Service Unavailable" in found.headline and found.severity == "error"
    assert "its Retry-After says 60" in told(found) and "second server" in found.advice
    found = one(NAME, *calls, *refused(200, "OK", at=300, cseq=9))
    assert found.severity == "warning" and found.headline.endswith("until a later one.")


def test_a_method_that_is_allowed_and_refused_lacks_an_event_package() -> None:
    found = one(NAME, *refused(405, "Method Not Allowed", "Allow: INVITE, SUBSCRIBE", method="SUBSCRIBE"))
    assert found.severity == "warning" and "may only lack the event package reg" in told(found)
    other = one(NAME, *refused(405, "Method Not Allowed", "Allow: INVITE", method="SUBSCRIBE"))
    assert "may only lack" not in told(other)


@pytest.mark.parametrize(
    ("code", "method"), [(404, "MESSAGE"), (412, "PUBLISH"), (489, "SUBSCRIBE"), (604, "REGISTER")]
)
def test_each_method(code: int, method: str) -> None:
    assert f"refused the {method} of alice with {code}" in one(NAME, *refused(code, "No", method=method)).headline


@pytest.mark.parametrize("code", [401, 403, 407, 408, 420, 421, 481, 483])
def test_what_other_rules_tell(code: int) -> None:
    assert only(NAME, *refused(code, "No")) == []


def test_options_and_requests_inside_a_dialog_are_no_matter() -> None:
    assert only(NAME, *refused(404, "Not Found", method="OPTIONS")) == []
    inside = request("SUBSCRIBE", to_tag="called")
    assert only(NAME, Packet(0, CALLER, CALLED, inside), Packet(1, CALLED, CALLER, reply(inside, 489, "Bad"))) == []


def test_only_a_register_may_be_unseen() -> None:
    register, message = refused(503, "No")[1], refused(503, "No", method="MESSAGE")[1]
    assert one(NAME, register) and only(NAME, message) == []


def test_what_a_proxy_makes_of_a_refusal_is_the_same_refusal() -> None:
    first, second = request("REGISTER"), request("REGISTER", branch="z9hG4bK2", via=CALLED)
    through = (
        Packet(0, CALLER, CALLED, first),
        Packet(0.1, CALLED, FAR_END, second),
        Packet(0.2, FAR_END, CALLED, reply(second, 504, "Server Timeout", to_tag="far")),
    )
    found = one(NAME, *through, Packet(0.3, CALLED, CALLER, reply(first, 500, "Failed", to_tag="own")))
    assert FAR in found.headline and "504" in found.headline
    assert only(NAME, *through, Packet(0.3, CALLED, CALLER, reply(first, 200, "OK", to_tag="own"))) == []
