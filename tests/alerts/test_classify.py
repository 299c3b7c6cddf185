"""Which calls raise an alert, and what is said about them."""

from __future__ import annotations

import pytest
from failures import START, call

from alerts.classify import failure_of
from diagnose.finding import Finding


@pytest.mark.parametrize(
    "state",
    [
        "calling",
        "ringing",
        "in-call",
        "completed",
        "cancelled",
        "busy",
        "no-answer",
        "declined",
        "redirected",
        "challenged",
        "ok",
        "pending",
    ],
)
def test_calls_that_worked_or_are_under_way_are_no_failures(state: str) -> None:
    assert failure_of(call(state, 486), ()) is None


def test_other_methods_are_not_alerted() -> None:
    assert failure_of(call("failed", 403, method="REGISTER"), ()) is None


@pytest.mark.parametrize(
    ("code", "reason", "headline"),
    [
        (503, "No circuits", "INVITE to 198.51.100.9 failed: 503 No circuits"),
        (503, None, "INVITE to 198.51.100.9 failed: 503 Service Unavailable"),
        (
            407,
            "Proxy Authentication Required",
            "INVITE to 198.51.100.9 was not authenticated: 407 Proxy Authentication Required was the last word",
        ),
    ],
)
def test_final_failure(code: int, reason: str | None, headline: str) -> None:
    event = failure_of(call("failed", code, final_reason=reason), ())
    assert event is not None
    assert (event.peer, event.code, event.headline, event.ts, event.call_id) == (
        "198.51.100.9",
        code,
        headline,
        START + 9,
        "c1",
    )


def test_silence_has_no_code() -> None:
    event = failure_of(call("unanswered", None, dst="[2001:db8::9]:5060"), ())
    assert event is not None
    assert (event.peer, event.code, event.headline) == (
        "2001:db8::9",
        None,
        "INVITE to 2001:db8::9 got no answer at all",
    )


def finding(name: str, severity: str, precedence: int = 50) -> Finding:
    return Finding(name, severity, "certain", f"it is {name}", (), "", "", precedence)


def test_an_error_of_routing_explains_a_refusal_and_one_of_nat_does_not() -> None:
    nat, routing = finding("private-contact-to-public-peer", "error", 60), finding("number-refused", "error", 40)
    event = failure_of(call("failed", 404), (nat, routing))
    assert event is not None and event.finding == "number-refused"
    event = failure_of(call("failed", 404), (nat,))
    assert event is not None and event.finding == ""


def test_a_scan_that_is_refused_is_no_failure() -> None:
    assert failure_of(call("failed", 404), (finding("scanner", "warning", 5),)) is None


def test_the_headline_is_the_diagnosis_but_not_a_mere_risk() -> None:
    risk, cause = finding("missing-rport", "warning"), finding("no-common-codec", "critical")
    event = failure_of(call("failed", 488), (risk, cause))
    assert event is not None
    assert (event.finding, event.headline) == ("no-common-codec", "it is no-common-codec")
    event = failure_of(call("failed", 488), (risk,))
    assert event is not None
    assert event.finding == "" and "488" in event.headline
