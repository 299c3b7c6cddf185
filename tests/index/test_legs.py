"""Legs of one call through a switch: what links them, what keeps strangers apart, and what stays doubtful."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from diagnose.file_desk import FileDesk
from diagnose.local import open_store
from index.archive import Archive
from index.compaction import compact_all
from index.importing import import_file
from index.lake import Lake
from index.leg import Leg, LegRules
from index.leg_search import FEW, families_of
from index.legs import CallLegs, link
from index.trace import Endpoint
from sip.errors import NotFound
from tests.index.stored import START

PCAPS = Path(__file__).resolve().parents[2] / "fixtures" / "pcaps"
MS, S = 1_000_000, 1_000_000_000
CUSTOMER, OTHER, SWITCH, CARRIER = ("198.51.100.20", "198.51.100.33", "192.0.2.10", "203.0.113.50")


@pytest.fixture
def desk(request: pytest.FixtureRequest) -> Iterator[FileDesk]:
    found = FileDesk(str(PCAPS / request.param), "n", frozenset({5060}), wait=True)
    yield found
    found.close()


def leg(call_id: str, src: str, dst: str, at: int = 0, **more: object) -> Leg:
    """A leg from 7001 to 441632960077 that began `at` ns after the start."""
    first = Leg(
        call_id,
        START + at,
        Endpoint(src, 5060),
        Endpoint(dst, 5060),
        frozenset({"493012345678"}),
        frozenset({"441632960077"}),
        last=START + at + S,
    )
    times = {k: START + v for k, v in more.items() if isinstance(v, int) and k != "code"}
    return replace(first, **{**more, **times})  # type: ignore[arg-type]


def pairs(*legs: Leg, rules: LegRules | None = None) -> dict[tuple[str, str], bool]:
    """(parent, child): whether it is doubtful."""
    return {(x.parent, x.child): x.doubtful for x in link(legs, rules)}


A = leg("a", CUSTOMER, SWITCH)
B = leg("b", SWITCH, CARRIER, 8 * MS)


@pytest.mark.parametrize("desk", ["legs-through-switch.pcap"], indirect=True)
def test_a_call_that_two_carriers_were_tried_for(desk: FileDesk) -> None:
    ids = ("legs-a-5d20e1@198.51.100.20", "0c1f66aa-first", "0c1f66aa-second")
    for asked in ids:
        legs = desk.legs(asked)
        assert legs.sure == ids and len(legs.calls) == 3, "the neighbour's call is none of them"
        assert [(x.parent, x.child, x.doubtful) for x in legs.links] == [
            (ids[0], ids[1], False),
            (ids[0], ids[2], False),
        ]
        assert CallLegs.from_json(legs.to_json()) == legs
    assert desk.legs("legs-n-881b@198.51.100.33").sure == ("legs-n-881b@198.51.100.33",)
    assert "answered within 3 ms" in legs.links[1].why and "192.0.2.10 got the first" in legs.links[1].why


@pytest.mark.parametrize("name", ["legs-through-switch.pcap", "legs-named-by-header.pcap", "b2bua-two-legs.pcap"])
def test_a_call_has_the_same_legs_whether_few_or_many_are_asked_for(name: str) -> None:
    archive = Archive(None, time.time_ns)
    others = ("basic-call.pcap", "auth-407.pcap", "busy.pcap", "bye-unanswered.pcap")
    for file in others:
        import_file(archive, str(PCAPS / file), "n")
    strangers = [call.call_id for call in archive.calls(None, 100)]
    import_file(archive, str(PCAPS / name), "n")
    calls = [call.call_id for call in archive.calls(None, 100) if call.call_id not in strangers]
    assert len(strangers) >= FEW
    alone = {call_id: families_of(archive, [call_id]).get(call_id) for call_id in calls}
    assert any(family is not None and len(family.legs) > 1 for family in alone.values())
    for call_id in calls:
        assert families_of(archive, [call_id, *strangers]).get(call_id) == alone[call_id]


@pytest.mark.parametrize("desk", ["legs-named-by-header.pcap"], indirect=True)
def test_a_header_links_legs_that_have_nothing_else_in_common(desk: FileDesk) -> None:
    ids = ("legs-h-30aa91@198.51.100.20", "7be0-onward")
    assert all(desk.legs(asked).sure == ids for asked in ids)
    assert desk.legs(ids[0]).links[0].evidence[0].text == "the X-Call-ID of one names the Call-ID of the other"


@pytest.mark.parametrize("desk", ["legs-that-could-be-two.pcap"], indirect=True)
def test_no_link_where_two_parents_are_equally_likely(desk: FileDesk) -> None:
    assert desk.legs("9d31-onward").sure == ("9d31-onward",)


@pytest.mark.parametrize("desk", ["legs-through-switch.pcap"], indirect=True)
def test_an_unknown_call_is_not_found(desk: FileDesk) -> None:
    with pytest.raises(NotFound, match="no call with Call-ID 'nobody'"):
        desk.legs("nobody")


@pytest.mark.parametrize("desk", ["register.pcap"], indirect=True)
def test_what_is_no_call_has_no_legs(desk: FileDesk) -> None:
    call_id = desk.calls().calls[0].call_id
    assert desk.archive.openings([call_id]) == {}
    legs = desk.legs(call_id)
    assert legs.sure == (call_id,) and not legs.links


def test_numbers_hosts_and_time_make_a_link() -> None:
    assert pairs(A, B) == {("a", "b"): False}


def test_the_same_caller_again_is_another_call() -> None:
    again = leg("again", CUSTOMER, SWITCH, 8 * MS)
    assert pairs(A, again) == {}


def test_another_caller_of_the_same_number_is_another_call() -> None:
    assert pairs(A, leg("other", OTHER, SWITCH, 8 * MS)) == {}


def test_numbers_that_differ_leave_nothing_to_go_by() -> None:
    assert pairs(A, replace(B, callees=frozenset({"390611"}), callers=frozenset({"390622"}))) == {}


def test_a_prefix_is_no_other_number() -> None:
    sent = replace(B, callees=frozenset({"1234441632960077"}))
    assert pairs(A, sent) == {("a", "b"): False}
    assert sent.callees != A.callees


@pytest.mark.parametrize(
    ("rules", "linked"),
    [(LegRules(), False), (LegRules(strip=("9\\*",)), True), (LegRules(digits=3), True)],
    ids=["as shipped", "strip", "digits"],
)
def test_rules_for_short_numbers(rules: LegRules, linked: bool) -> None:
    def named(user: str) -> frozenset[str]:
        return frozenset({rules.number(user)})

    first = replace(A, callees=named("4711"), callers=named("alice"))
    second = replace(B, callees=named("9*4711"), callers=named("trunk"), rang=START + S)
    assert bool(pairs(replace(first, rang=START + S), second, rules=rules)) == linked


def test_answers_tell_which_of_two_calls_was_sent_on() -> None:
    rival = leg("rival", OTHER, SWITCH, 1 * MS, answered=9 * S)
    first, second = replace(A, answered=START + 4 * S + 2 * MS), replace(B, answered=START + 4 * S)
    assert pairs(rival, first, second) == {("a", "b"): False}
    alike = replace(rival, answered=first.answered)
    assert pairs(alike, first, second) == {}, "now nothing tells them apart"


def test_two_calls_with_the_same_numbers_each_have_their_own_second_leg() -> None:
    rival, onward = leg("rival", OTHER, SWITCH, 400 * MS), leg("onward", SWITCH, CARRIER, 409 * MS)
    assert pairs(A, B, rival, onward) == {("a", "b"): False, ("rival", "onward"): False}


def test_a_call_that_was_over_has_no_further_leg() -> None:
    refused = replace(A, failed=START + 5 * MS, code=404)
    assert pairs(refused, leg("b", SWITCH, CARRIER, 3 * S)) == {}


def test_a_leg_answered_while_the_other_failed_is_not_the_same_call() -> None:
    assert pairs(replace(A, failed=START + 2 * S, code=503), replace(B, answered=START + S)) == {}


def test_a_second_address_of_the_switch_is_learnt_from_sure_links() -> None:
    outside = "192.0.2.77"
    many = []
    for n in range(6):
        at, number = n * 20 * S, frozenset({f"44163296010{n}"})
        told = {"answered": at + 5 * S, "ended": at + 9 * S}
        many.append(replace(leg(f"in-{n}", CUSTOMER, SWITCH, at, **told), callees=number))
        many.append(replace(leg(f"out-{n}", outside, CARRIER, at + 9 * MS, **told), callees=number))
    ringing = [A, leg("b", outside, CARRIER, 900 * MS)]
    assert pairs(*ringing).get(("a", "b"), True), "by itself it is doubtful at best"
    late = [replace(x, start=x.start + 200 * S, last=x.last + 200 * S) for x in ringing]
    assert pairs(*many, *late)[("a", "b")] is False
    assert pairs(*ringing, rules=LegRules(hosts=(frozenset({SWITCH, outside}),))) == {("a", "b"): False}


def test_what_all_calls_have_in_common_names_none_of_them() -> None:
    constant = frozenset({("X-Correlation-ID", "platform-1")})
    few = [replace(leg(f"{n}", CUSTOMER, f"192.0.2.{n}", n * MS), marks=constant, callees=frozenset({str(n)}),
                   callers=frozenset({str(n)})) for n in range(2)]  # fmt: skip
    assert len(pairs(*few)) == 1, "two calls may share it"
    many = [replace(few[0], call_id=f"x{n}", dst=Endpoint(f"192.0.2.{n}", 5060), callees=frozenset({str(n)}),
                    callers=frozenset({str(n)}), start=START + n * MS) for n in range(40)]  # fmt: skip
    assert pairs(*many) == {}


@pytest.mark.parametrize(
    ("first", "second", "linked"),
    [
        ("a81b0cc2fe11d3aa07", "a81b0cc2fe11d3aa07-b2b-1@192.0.2.10", True),
        ("a81b0cc2fe11d3aa07@198.51.100.20", "7_a81b0cc2fe11d3aa07@192.0.2.10", True),
        ("a81b0cc2fe11d3aa07", "a81b0cc2fe11d3aa07b2b1@192.0.2.10", False),
        ("1-1234@127.0.0.1", "11-1234@127.0.0.1", False),
    ],
)
def test_call_ids_made_from_one_another(first: str, second: str, linked: bool) -> None:
    a = replace(A, call_id=first, callees=frozenset({"1"}))
    b = replace(B, call_id=second, callees=frozenset({"2"}), callers=frozenset({"3"}), media=frozenset({"x"}))
    assert bool(pairs(a, replace(b, origin="o"))) == linked


def test_a_tap_that_shows_the_second_leg_first() -> None:
    assert pairs(A, replace(B, start=START - 3 * MS)) == {("a", "b"): False}


def test_legs_are_found_in_an_hour_that_is_closed(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "store")
    stored = open_store(lake)
    for name in ("legs-named-by-header", "legs-through-switch", "legs-refused-further-on"):
        import_file(stored.archive, str(PCAPS / f"{name}.pcap"), "n", imported_at=time.time_ns())
    ids = [c.call_id for c in stored.calls("", 100).calls]
    open_ = {c: stored.legs(c) for c in ids}
    assert compact_all(lake, time.time_ns() + 3600 * S) > 0
    assert lake.cursor().execute("SELECT count(*) FROM lake.packed").fetchall() != [(0,)]
    assert {c: stored.legs(c) for c in ids} == open_
    assert any(len(legs.sure) > 1 for legs in open_.values())
    stored.close()
