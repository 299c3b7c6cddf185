"""The engine: isolation of rules, the user's own folder, names, the order of findings."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from calls import CALLED, CALLER, RULES, Packet, findings, reply, request, sdp, trace
from cases import CASES

import diagnose.rules
from diagnose.call import Call
from diagnose.engine import STRIKES, Rule, diagnose_all, load_rules
from diagnose.engine import diagnose as judge
from diagnose.finding import Evidence, Finding

SIMPLE = (Packet(0, CALLER, CALLED, request()), Packet(1, CALLED, CALLER, reply(request(), 486, "Busy Here")))
GOOD = Finding("good", "warning", "certain", "All is told.", (Evidence(1, "x"),), "Nothing.", "RFC 3261")


def rule(name: str, check: Callable[[Call], Iterator[Finding]]) -> Rule:
    return Rule(name, "", check, own=True)


def good(call: Call) -> Iterator[Finding]:
    yield GOOD


def raises(call: Call) -> Iterator[Finding]:
    yield GOOD
    raise ValueError("what a day")


def leaves(call: Call) -> Iterator[Finding]:
    raise SystemExit(3)
    yield


def nonsense(call: Call) -> Iterator[Finding]:
    yield Finding("x", "terrible", "certain", "", (), "", "")


def spins(call: Call) -> Iterator[Finding]:
    while True:
        try:
            len(call.steps)
        except Exception:
            yield GOOD


def waits(call: Call) -> Iterator[Finding]:
    threading.Event().wait(30)
    yield GOOD


@pytest.mark.parametrize("broken", [raises, leaves, nonsense], ids=["raises", "exits", "nonsense"])
def test_a_rule_that_fails_is_reported_and_skipped(
    broken: Callable[[Call], Iterator[Finding]], caplog: pytest.LogCaptureFixture
) -> None:
    rules = (rule("broken", broken), rule("good", good))
    for _ in range(3):
        assert judge(trace(*SIMPLE), rules) == (GOOD,)
    said = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert len(said) == 1, "once is enough: a rule that fails for every call must not fill the log"
    assert "the rule broken failed on 'call-1'" in said[0].getMessage() and said[0].exc_info


@pytest.mark.parametrize("stuck", [spins, waits], ids=["spins", "waits"])
def test_a_rule_that_hangs_is_reported_and_skipped(
    stuck: Callable[[Call], Iterator[Finding]], caplog: pytest.LogCaptureFixture
) -> None:
    rules = (rule("first", good), rule("stuck", stuck), rule("last", good))
    for _ in range(STRIKES + 1):
        assert [f.name for f in judge(trace(*SIMPLE), rules, limit=0.5)] == ["first", "last"]
    said = [r.getMessage() for r in caplog.records]
    assert len(said) == STRIKES, "after so many it is not run any more"
    assert "the rule stuck took longer than 0.5 s on 'call-1'; it is skipped for this call" in said[0]
    assert "it is left out from now on" in said[-1]


def test_many_calls_at_once_are_judged_like_one(caplog: pytest.LogCaptureFixture) -> None:
    traces = [trace(*case.fires, **case.tap) for case in CASES.values()]
    assert diagnose_all(traces, RULES) == [judge(t, RULES) for t in traces]
    rules = (rule("stuck", spins), rule("broken", raises), rule("good", good))
    assert diagnose_all(traces, rules, limit=0.5) == [(GOOD,)] * len(traces)
    assert len(caplog.records) == STRIKES + 1, "a stuck rule is left out in the middle of a list too"
    assert rules[0].trouble == "ran out of time 3 ×, last on 'call-1'; left out until the next start"
    assert rules[1].trouble == "failed on 'call-1': ValueError('what a day'); skipped wherever it fails"
    assert rules[2].trouble == ""
    assert diagnose_all([], RULES) == []


def test_a_rule_that_spins_is_stopped() -> None:
    before = set(threading.enumerate())
    judge(trace(*SIMPLE), (rule("stuck", spins),), limit=0.5)
    for thread in set(threading.enumerate()) - before:
        thread.join(20)
        assert not thread.is_alive(), "it would burn a processor for ever"


def test_a_finding_bears_the_name_of_its_file() -> None:
    for name, case in CASES.items():
        assert name.replace("-", "_") + ".py" in {p.name for p in Path(diagnose.rules.__path__[0]).iterdir()}
        assert {f.name for f in findings(*case.fires, **case.tap)} <= {r.name for r in RULES}
    assert [f.name for f in judge(trace(*SIMPLE), (rule("its-file", good),))] == ["its-file"]


def test_every_rule_explains_itself() -> None:
    assert [r.name for r in RULES if len(r.explanation) < 40] == []


OWN = '''"""Calls from a number that we look after."""

from diagnose.finding import Evidence, Finding


def check(call):
    for s in call.invites:
        yield Finding("", "info", "certain", "One of ours.", (Evidence(s.number, "x"),), "Be nice.", "house rule")
'''


def test_the_users_own_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "our_customer.py").write_text(OWN)
    (tmp_path / "_helper.py").write_text("raise RuntimeError('not a rule')")
    (tmp_path / "broken.py").write_text("import nothing_of_the_kind")
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "leaves.py").write_text("raise SystemExit(3)")
    (tmp_path / "notes.txt").write_text("not Python")
    broken: dict[str, str] = {}
    rules = load_rules(tmp_path, broken)
    assert {r.name for r in rules} == {r.name for r in RULES} | {"our-customer"}
    assert [f.name for f in findings(*SIMPLE, rules=rules)] == ["our-customer", "busy-or-declined"]
    left_out = ["broken.py", "empty.py", "leaves.py"]
    assert sorted(Path(r.getMessage().split()[2]).name for r in caplog.records) == left_out
    assert {Path(name).name: why for name, why in broken.items()} == {
        "broken.py": "ModuleNotFoundError: No module named 'nothing_of_the_kind'",
        "empty.py": "AttributeError: module 'own_rules.empty' has no attribute 'check'",
        "leaves.py": "SystemExit: 3",
    }
    assert [r.name for r in rules if r.own] == ["our-customer"]


def test_an_own_rule_may_hold_dataclasses(tmp_path: Path) -> None:
    """They look their module up by its name, which a file outside any package does not have by itself."""
    head = "from __future__ import annotations\nfrom dataclasses import dataclass\n"
    (tmp_path / "ours.py").write_text(f"{head}@dataclass\nclass Line:\n    number: str\n{OWN}")
    assert "ours" in {r.name for r in load_rules(tmp_path)}


def test_an_own_rule_takes_the_place_of_a_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "no_common_codec.py").write_text(OWN)
    rules = load_rules(tmp_path)
    assert len(rules) == len(RULES)
    assert [r.explanation for r in rules if r.name == "no-common-codec"] == ["Calls from a number that we look after."]


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert {r.name for r in load_rules(tmp_path / "none")} == {r.name for r in RULES}


def test_the_headline_is_chosen_by_precedence() -> None:
    def says(name: str, severity: str, precedence: int) -> Rule:
        found = Finding(name, severity, "certain", name, (), "", "", precedence)
        return rule(name, lambda call: iter([found]))

    rules = (
        says("context", "info", 0),
        says("nat", "critical", 60),
        says("codec-risk", "warning", 50),
        says("codec-fault", "error", 50),
        says("unreachable", "critical", 10),
        says("capture", "warning", 0),
    )
    order = [f.name for f in judge(trace(*SIMPLE), rules)]
    assert order == ["capture", "unreachable", "codec-fault", "codec-risk", "nat", "context"]


def test_shipped_rules_keep_that_order() -> None:
    """A refusal for capacity is told before the codec that it mentions, both before NAT, and the masks last."""
    phone = "<sip:alice@192.168.1.20:5060>"
    invite = request(via="192.168.1.20:5060", contact=phone, body=sdp("192.168.1.20", "96", "a=rtpmap:96 G729A/8000"))
    no = reply(invite, 488, "Too many calls").replace(b";rport;", b";received=203.0.113.9;rport=31044;")
    found = findings(Packet(0, "203.0.113.9:31044", CALLED, invite), Packet(1, CALLED, "203.0.113.9:31044", no))
    assert [f.name for f in found] == [
        "capacity-rejection",
        "no-common-codec",
        "g729-vendor-name",
        "private-contact-to-public-peer",
        "private-sdp-to-public-peer",
        "nat-test-bits",
    ]
