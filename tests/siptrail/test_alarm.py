"""Which failures are told: one a call, however many legs it had, and none of a call that another carrier answered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from alerts.book import AlertBook
from alerts.event import Notice
from diagnose.local import LocalDesk
from index.archive import Archive
from siptrail import alarm as module
from siptrail.alarm import Alarm
from siptrail.watch import FailureWatch
from tests.siptrail.switch import CUSTOMER, FIRST, SECOND, START, SWITCH, Packets, capture, leg, rows_of

S = 1_000_000_000
Tell = Callable[..., list[Notice]]


class Evening:
    """A service that has recorded these legs up to some time, and its rounds of alerts."""

    def __init__(self, folder: Path, *legs: Packets) -> None:
        self.now = START
        self.archive = Archive(None, lambda: self.now)
        self.watch = FailureWatch()
        self.expected: list[str] = []
        self.book = AlertBook(cooldown_ns=0)
        self.alarm = Alarm(LocalDesk(self.archive), self.watch, self.book, lambda c, at: self.expected.append(c))
        self._packets = sorted(p for packets in legs for p in packets)
        self._folder = folder

    def run(self, *seconds: float) -> list[Notice]:
        """Record what was on the wire until each of these times, with a round of alerts at each."""
        out = []
        for at in seconds:
            before, self.now = self.now, START + int(at * S)
            fresh = [p for p in self._packets if before <= p[0] < self.now]
            for rows in rows_of(capture(self._folder / "part.pcap", fresh)) if fresh else ():
                self.archive.add(rows)
                self.watch.observe(rows)
            out += self.alarm.round(self.now)
        return out


def through(first: int, *further: tuple[str, float, int]) -> tuple[Packets, ...]:
    """A call through the switch: what its caller got, and (carrier, when, what it said) of each leg that was made."""
    legs = []
    for n, (carrier, at, code) in enumerate(further):
        hung_up = [(at + 5, "BYE")] if code == 200 else []
        legs.append(
            leg(f"out-{n}{carrier[-2:]}-7f3c", SWITCH, carrier, at - 0.3, (at - 0.2, 100), (at, code), *hung_up)
        )
    last = max(at for _, at, _ in further) + 0.01
    hung_up = [(last + 5, "BYE")] if first == 200 else []
    return leg("in-a4471", CUSTOMER, SWITCH, 0.1, (0.11, 100), (last, first), *hung_up), *legs


ROUNDS = [x / 2 for x in range(1, 120)]


def test_a_refusal_that_another_carrier_made_good_is_no_failure(tmp_path: Path) -> None:
    evening = Evening(tmp_path, *through(200, (FIRST, 0.5, 503), (SECOND, 1.0, 200)))
    assert evening.run(*ROUNDS) == [] and evening.book.failures() == {}


def test_nor_while_the_second_carrier_takes_its_time(tmp_path: Path) -> None:
    evening = Evening(tmp_path, *through(200, (FIRST, 0.5, 503), (SECOND, 25.0, 200)))
    assert evening.run(*ROUNDS) == []


def test_a_call_that_fails_through_a_switch_is_told_once(tmp_path: Path) -> None:
    evening = Evening(tmp_path, *through(503, (FIRST, 0.5, 503)))
    (notice,) = evening.run(*ROUNDS)
    assert (notice.peer, notice.code, notice.count) == (FIRST, 503, 1), "who refused it, not who passed it on"
    assert evening.book.failures() == {("invite-failed", FIRST, "503"): 1}
    assert evening.expected == ["out-050-7f3c"]


def test_every_way_that_was_tried_in_vain_is_named(tmp_path: Path) -> None:
    evening = Evening(tmp_path, *through(503, (FIRST, 0.5, 503), (SECOND, 1.0, 404)))
    (notice,) = evening.run(*ROUNDS)
    assert (notice.peer, notice.code) == (SECOND, 404)
    assert notice.headline.endswith(f"; 2 ways were tried: {FIRST} (503), {SECOND} (404)")


def test_a_call_that_the_switch_refuses_itself_is_told(tmp_path: Path) -> None:
    evening = Evening(tmp_path, leg("alone", CUSTOMER, SWITCH, 0.1, (0.2, 503)))
    (notice,) = evening.run(*ROUNDS)
    assert (notice.peer, notice.code) == (SWITCH, 503)


def test_what_the_called_party_wanted_is_no_failure_however_the_switch_words_it(tmp_path: Path) -> None:
    evening = Evening(tmp_path, *through(503, (FIRST, 0.5, 503), (SECOND, 1.0, 486)))
    assert evening.run(*ROUNDS) == []


def test_a_caller_who_gives_up_while_carriers_are_tried_is_no_failure(tmp_path: Path) -> None:
    incoming = leg("in-a4471", CUSTOMER, SWITCH, 0.1, (0.11, 100), (4, "CANCEL"), (4.1, 487))
    outgoing = leg("out-7f3c", SWITCH, FIRST, 0.2, (0.3, 100), (0.5, 503))
    assert Evening(tmp_path, incoming, outgoing).run(*ROUNDS) == []


def test_a_voice_menu_that_answered_before_hides_no_failure(tmp_path: Path) -> None:
    incoming = leg("in-a4471", CUSTOMER, SWITCH, 0.1, (0.12, 200), (40, "BYE"))
    outgoing = leg("out-7f3c", SWITCH, FIRST, 3.0, (3.1, 100), (3.2, 503), extra="X-Call-ID: in-a4471")
    (notice,) = Evening(tmp_path, incoming, outgoing).run(*ROUNDS)
    assert (notice.peer, notice.code) == (FIRST, 503)


def test_a_stranger_s_answered_call_hides_no_failure(tmp_path: Path) -> None:
    """Two calls from and to the same numbers at once: which of them the failed leg was made for is not certain."""
    legs = [leg(f"in-{n}", f"198.51.100.{n}", SWITCH, 0.1, (0.11, 100), (2, 200), (9, "BYE")) for n in (20, 21)]
    failed = leg("out-7f3c", SWITCH, FIRST, 0.3, (0.35, 100), (0.5, 503))
    (notice,) = Evening(tmp_path, *legs, failed).run(*ROUNDS)
    assert (notice.peer, notice.code) == (FIRST, 503)


def test_a_leg_that_never_ends_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    legs = leg("in-a4471", CUSTOMER, SWITCH, 0.1, (0.11, 100)), leg("out-7f3c", SWITCH, FIRST, 0.2, (0.5, 503))
    evening = Evening(tmp_path, *legs)
    assert evening.run(*ROUNDS) == []
    (notice,) = evening.run(*range(60, 400, 5))
    assert (notice.peer, notice.code) == (FIRST, 503)


def test_what_is_too_much_for_a_round_comes_in_the_next_or_is_judged_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINKED", 1)
    calls = [
        leg(f"alone-{n}", CUSTOMER, SWITCH, n / 10, (n / 10 + 0.05, 503), number=f"44163296{n:04d}") for n in range(6)
    ]
    evening = Evening(tmp_path, *calls)
    evening.run(0.7, 3.0, 3.5)
    assert evening.book.failures() == {("invite-failed", SWITCH, "503"): 2} and evening.alarm.alone == 0
    evening.run(40)
    assert evening.book.failures() == {("invite-failed", SWITCH, "503"): 6} and evening.alarm.alone == 3
