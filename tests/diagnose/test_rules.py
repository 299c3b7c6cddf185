"""Every rule: a call that must fire, a near miss that must not, and each packet captured twice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from calls import RULES, findings, numbers, one, only, trace
from case import Case
from cases import CASES

from diagnose.engine import diagnose
from diagnose.finding import Finding

EACH = pytest.mark.parametrize(("name", "case"), CASES.items(), ids=list(CASES))


def test_every_rule_has_a_pair() -> None:
    assert {r.name for r in RULES} == set(CASES)


@EACH
def test_it_fires(name: str, case: Case) -> None:
    found = one(name, *case.fires, **case.tap)
    assert (found.severity, found.confidence) == (case.severity, case.confidence)
    assert not [value for value in case.headline if value not in found.headline], found.headline
    assert tuple(numbers(found)) == case.numbers


@EACH
def test_its_near_miss_is_left_alone(name: str, case: Case) -> None:
    tap = case.tap if case.near_tap is None else case.near_tap
    assert only(name, *case.near_miss, **tap) == []


@EACH
def test_packets_captured_twice_change_nothing(name: str, case: Case) -> None:
    doubled = trace(*case.fires, copies=2, **case.tap)
    assert {m.seen for m in doubled.messages} == {2}
    assert diagnose(doubled, RULES) == findings(*case.fires, **case.tap)


@EACH
def test_the_report_survives_json(name: str, case: Case) -> None:
    for f in findings(*case.fires, **case.tap):
        record: dict[str, Any] = json.loads(json.dumps(f.to_json()))
        assert Finding.from_json(record) == f
        assert Finding.from_json({**record, "of a newer service": 1}) == f


@EACH
def test_lines_of_evidence_are_lines_of_that_message(name: str, case: Case) -> None:
    messages = trace(*case.fires, **case.tap).messages
    for f in findings(*case.fires, **case.tap):
        for e in f.evidence:
            if e.line and e.message is not None:
                assert e.line in messages[e.message - 1].sip.lines(), f"{f.name}: {e.line!r}"


@EACH
def test_what_it_says_is_complete(name: str, case: Case) -> None:
    found = one(name, *case.fires, **case.tap)
    assert found.headline.endswith(".") and "\n" not in found.headline
    assert found.advice and found.reference
    assert all(e.text for e in found.evidence)
