"""A clock that steps to another year costs nothing that was recorded, before or meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from index.clock import TRUST_NS, Clock
from index.columns import HOUR_NS
from index.lake import Lake
from index.retention import Limits
from index.upkeep import Upkeep
from tests.index.stored import START, call, listed, put

MINUTE_NS = 60 * 10**9
DAY_NS = 24 * HOUR_NS
YEAR_NS = 365 * DAY_NS
LIMITS = Limits(7 * DAY_NS)


class Machine:
    """A wall clock that may be set, and one that only runs."""

    def __init__(self, folder: Path, wall: int) -> None:
        self.lake, self.wall, self.running = Lake(folder / "store"), wall, 10**15
        self._file, self._pcap = folder / "clock", folder / "a.pcap"
        self.boot()

    def boot(self) -> None:
        self.running -= 10**14
        self.upkeep = Upkeep(self.lake, LIMITS, "node", clock=Clock(self._file, lambda: self.running))

    def goes_on(self, minutes: int, name: str = "") -> None:
        """A round of upkeep a minute, and a call at the beginning."""
        if name:
            put(self.lake, self._pcap, call(name, self.wall))
        for _ in range(minutes):
            self.wall, self.running = self.wall + MINUTE_NS, self.running + MINUTE_NS
            self.upkeep.round(self.wall)

    def a_day_goes_by(self) -> None:
        """Without a look at each minute of it."""
        for _ in range(5):
            self.wall, self.running = self.wall + 5 * HOUR_NS, self.running + 5 * HOUR_NS
            self.upkeep.round(self.wall)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Callable[[int], Machine]]:
    made: list[Machine] = []

    def make(wall: int = START) -> Machine:
        made.append(Machine(tmp_path, wall))
        return made[-1]

    yield make
    for one in made:
        one.lake.close()


@pytest.mark.parametrize("restarted", [False, True])
def test_a_clock_that_steps_into_the_future_removes_nothing(
    machine: Callable[[int], Machine], restarted: bool, caplog: pytest.LogCaptureFixture
) -> None:
    m = machine(START)
    m.goes_on(2, "before")
    m.wall += 70 * YEAR_NS
    if restarted:
        m.boot()
    m.goes_on(5, "meanwhile")
    assert "ahead of when the store was last looked after" in caplog.text
    assert caplog.text.count("nothing is removed for its age") == 1
    m.wall -= 70 * YEAR_NS
    m.goes_on(2, "after")
    assert listed(m.lake) == ["after", "before", "meanwhile"]
    for _ in range(8):
        m.a_day_goes_by()
    assert listed(m.lake) == [], "what the wrong clock put into the future is not kept for ever"


@pytest.mark.parametrize("restarted", [False, True])
def test_what_was_recorded_by_a_clock_that_was_behind_is_kept_its_time(
    machine: Callable[[int], Machine], restarted: bool
) -> None:
    m = machine(0)
    m.goes_on(2, "long-ago")
    m.wall += START
    m.goes_on(2, "now")
    if restarted:
        m.boot()
    m.a_day_goes_by()
    m.a_day_goes_by()
    assert listed(m.lake) == ["long-ago", "now"]
    for _ in range(6):
        m.a_day_goes_by()
    assert listed(m.lake) == []


def test_after_a_month_without_power_the_clock_is_believed_a_day_later(machine: Callable[[int], Machine]) -> None:
    m = machine(START)
    m.goes_on(2, "before")
    m.wall += 30 * DAY_NS
    m.boot()
    m.goes_on(2, "after")
    assert listed(m.lake) == ["after", "before"]
    m.a_day_goes_by()
    assert TRUST_NS == DAY_NS and listed(m.lake) == ["after"]


def test_steps_of_an_hour_are_nothing(machine: Callable[[int], Machine], caplog: pytest.LogCaptureFixture) -> None:
    m = machine(START)
    for n, step in enumerate((0, HOUR_NS, -HOUR_NS, HOUR_NS, -2 * HOUR_NS, HOUR_NS)):
        m.wall += step
        m.goes_on(2, str(n))
    assert listed(m.lake) == ["0", "1", "2", "3", "4", "5"] and "age" not in caplog.text
