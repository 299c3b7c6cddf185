"""The store is bounded for ever: after as many days as it keeps, nothing grows any more."""

from __future__ import annotations

from pathlib import Path

from benchmarks.days import simulate


def test_nothing_grows_once_old_calls_go(tmp_path: Path) -> None:
    """Calls are kept for a day and OPTIONS for two hours; two hours of each day have traffic."""
    days = list(simulate(tmp_path / "store", 5, 2, 0.5, 900, 24, 2))
    assert [day.day for day in days] == [1, 2, 3, 4, 5]
    full, last = days[1], days[-1]
    assert last.messages == 5 * days[0].messages
    assert {day.stored for day in days[1:]} == {full.stored} and full.stored < days[0].messages
    assert max(day.files for day in days[1:]) <= full.files + 32, "small tables are put together from time to time"
    assert max(day.on_disk for day in days[1:]) <= full.on_disk + 64
    assert max(day.snapshots for day in days) <= 60, "those of an hour"
    assert last.catalogue <= full.catalogue + (2 << 20), "some of its blocks are free, some not yet"
    assert last.store <= 1.3 * full.store
