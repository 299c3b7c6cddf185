"""docs/rules.md: its example loads and runs as it stands there, and what it names is there."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from calls import CALLED, CALLER, RULES, Packet, findings, reply, request, trace

from diagnose import finding, guards, report
from diagnose.call import Call
from diagnose.engine import LIMIT, STRIKES, Rule, load_rules
from diagnose.finding import Finding
from index.trace import TraceMessage
from sip.message import SipMessage

PAGE = (Path(__file__).parents[2] / "docs" / "rules.md").read_text("utf-8")
NAME = "emergency-call-slow"


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> tuple[Rule, ...]:
    """The shipped rules and the page's own."""
    found = re.search(r"`(\w+\.py)`:\n\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert found
    folder = tmp_path_factory.mktemp("rules")
    (folder / found[1]).write_text(found[2])
    return load_rules(folder)


def emergency(*answers: tuple[float, int], number: str = "112") -> list[Packet]:
    invite = request().replace(b"INVITE sip:bob@", f"INVITE sip:{number}@".encode())
    return [Packet(0, CALLER, CALLED, invite), *(Packet(t, CALLED, CALLER, reply(invite, c)) for t, c in answers)]


def told(rules: tuple[Rule, ...], *packets: Packet, **tap: object) -> list[Finding]:
    return [f for f in findings(*packets, rules=rules, **tap) if f.name == NAME]


def test_the_example_speaks_where_it_should(rules: tuple[Rule, ...]) -> None:
    (late,) = told(rules, *emergency((0.1, 100), (4.5, 180), (6, 200)))
    assert late.headline == "The emergency call to 112 rang only after 4.5 s." and late.severity == "error"
    (never,) = told(rules, *emergency((0.1, 100)))
    assert never.headline == "The emergency call to 112 did not ring within 3.0 s."
    assert (never.severity, never.confidence) == ("critical", "certain")
    assert findings(*emergency((0.1, 100)), rules=rules)[0].name == NAME, (
        "it is the headline, before whatever else is wrong"
    )


def test_the_example_is_silent_where_it_should_be(rules: tuple[Rule, ...]) -> None:
    assert told(rules, *emergency((0.5, 180))) == []
    assert told(rules, *emergency(number="4711")) == []
    assert told(rules, *emergency(), until=2) == []
    assert told(rules, *emergency(), heard=frozenset()) == []
    assert told(rules, *emergency((4.5, 180)), copies=2) == told(rules, *emergency((4.5, 180)))


def test_the_example_is_one_of_the_users_own(rules: tuple[Rule, ...]) -> None:
    (own,) = (r for r in rules if r.own)
    assert (own.name, own.severity, own.reference) == (NAME, "critical", "our service agreement, section 4")
    assert own.explanation.startswith("An emergency call did not ring")
    assert len(rules) == len(RULES) + 1


CALL = Call(trace(*emergency((1, 200))), ())


def test_what_it_names_of_calls_and_messages_is_there() -> None:
    of_calls, of_messages = set(re.findall(r"`call\.(\w+)", PAGE)), set(re.findall(r"`m\.(\w+)", PAGE))
    assert len(of_calls) > 10 and [name for name in of_calls if not hasattr(CALL, name)] == []
    assert len(of_messages) > 4 and of_messages <= {f.name for f in fields(TraceMessage)}


def test_what_it_says_of_messages_guards_and_words_is_there() -> None:
    line = next(x for x in PAGE.splitlines() if x.startswith("| `m.sip`"))
    message = CALL.trace.messages[0].sip
    assert isinstance(message, SipMessage)
    named = re.findall(r"`(\w+)(?:\(name\))?`", line)
    assert len(named) > 10 and [name for name in named if not hasattr(message, name)] == []
    for name in ("silence", "crosses", "own", "whole"):
        assert f"| `{name}(" in PAGE and callable(getattr(guards, name))
    for name in ("fact", "listed", "seconds"):
        assert f"`{name}`" in PAGE and callable(getattr(report, name))
    for word in (*finding.SEVERITIES, *finding.CONFIDENCES):
        assert f"`{word}`" in PAGE


def test_its_limits_are_those_of_the_engine() -> None:
    assert f"longer than {LIMIT:g} s for one call" in PAGE
    assert STRIKES == 3 and "three times" in PAGE
