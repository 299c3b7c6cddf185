"""Whole hours go, the oldest first, for one of three reasons that are told; imports stay their time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from index.columns import HOUR_NS
from index.hours import data_files
from index.lake import Lake
from index.retention import Disk, Limits, Removal, plan
from index.upkeep import Upkeep
from tests.index.stored import START, call, listed, put

NOW = START + 10 * HOUR_NS
AGES = Limits(100 * HOUR_NS)
ROOMY = Disk(used=0, free=1 << 50)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    lake = Lake(tmp_path / "store")
    yield lake
    lake.close()


@pytest.fixture
def hours(lake: Lake, tmp_path: Path) -> Lake:
    """A call in each of eleven hours, the last of which is the present one."""
    names = [f"{n:02d}{os.urandom(8).hex()}" for n in range(11)]
    put(lake, tmp_path / "a.pcap", *(call(name, START + n * HOUR_NS, 700) for n, name in enumerate(names)))
    return lake


def told(removals: list[Removal]) -> list[tuple[int, str, int]]:
    return [(r.slot.hour, r.reason, r.messages) for r in removals]


def size_of(lake: Lake) -> int:
    return sum(f.size for f in data_files(lake.cursor()))


def test_hours_past_their_time_go(hours: Lake) -> None:
    limits = Limits(7 * HOUR_NS)
    upkeep = Upkeep(hours, limits, "node")
    expected = [(10, "age", 3), (11, "age", 3)]
    assert told(plan(hours, limits, NOW, ROOMY)) == expected
    assert len(listed(hours)) == 11, "a plan removes nothing"
    assert told(upkeep.retain(NOW)) == expected
    assert [name[:2] for name in listed(hours)] == [f"{n:02d}" for n in range(2, 11)]
    assert told(upkeep.retain(NOW)) == []
    counts = hours.counts()
    assert (counts["removed_hours_age"], counts["removed_messages_age"]) == (2, 6)
    assert counts["removed_bytes_age"] > 1000


def test_an_import_keeps_its_hour_for_its_time(lake: Lake, tmp_path: Path) -> None:
    limits = Limits(2 * HOUR_NS)
    put(lake, tmp_path / "a.pcap", call("one", START), at=NOW)
    assert plan(lake, limits, NOW + HOUR_NS, ROOMY) == []
    put(lake, tmp_path / "b.pcap", call("two", START), at=NOW + HOUR_NS)
    assert plan(lake, limits, NOW + 3 * HOUR_NS, ROOMY) == [], "the later of two imports counts"
    assert told(plan(lake, limits, NOW + 4 * HOUR_NS, ROOMY)) == [(10, "age", 6)]


def test_a_budget_takes_the_oldest_hours_until_the_store_fits(hours: Lake) -> None:
    each = size_of(hours) // 11
    whole = size_of(hours) + hours.size_beside_data()
    limits = Limits(100 * HOUR_NS, budget=whole - 5 * each // 2)
    expected = [(10, "budget", 3), (11, "budget", 3), (12, "budget", 3)]
    assert told(plan(hours, limits, NOW, ROOMY)) == expected
    removal = plan(hours, limits, NOW, ROOMY)[0]
    assert "may take" in removal.why and removal.size == pytest.approx(each, rel=0.2)


def test_the_present_hour_stays_however_small_the_budget(hours: Lake) -> None:
    limits = Limits(100 * HOUR_NS, budget=1)
    assert [hour for hour, _, _ in told(plan(hours, limits, NOW + 1, ROOMY))] == list(range(10, 20))


def test_a_full_disk_takes_the_oldest_hours_until_there_is_room(hours: Lake) -> None:
    each = size_of(hours) // 11
    limits = Limits(100 * HOUR_NS, high_water=0.9)
    wanted = (1000 * each) // 10
    room = Disk(used=1000 * each - wanted, free=wanted)
    assert plan(hours, limits, NOW, room) == []
    short = Disk(used=room.used + 3 * each // 2, free=room.free - 3 * each // 2)
    assert told(plan(hours, limits, NOW, short)) == [(10, "disk", 3), (11, "disk", 3)]


def test_what_is_about_to_come_free_counts_as_free(hours: Lake) -> None:
    each = size_of(hours) // 11
    limits = Limits(100 * HOUR_NS, high_water=0.9)
    short = Disk(used=900 * each + each // 2, free=100 * each - each // 2)
    upkeep = Upkeep(hours, Limits(2 * HOUR_NS), "node")
    assert len(upkeep.retain(START + 4 * HOUR_NS)) == 1
    assert plan(hours, limits, NOW, short) == [], "one hour's files are gone soon, and that is enough"


def test_the_bytes_come_free_late_and_empty_folders_go(hours: Lake) -> None:
    upkeep = Upkeep(hours, Limits(7 * HOUR_NS), "node")
    before = size_of(hours)
    upkeep.retain(NOW)
    data = hours.folder / "data"
    folder = data / "main" / "messages" / "day=2026-01-05" / "hour=10"
    upkeep.cleaner.clean(time.time_ns())
    assert len(list(folder.iterdir())) == 1, "a reader may still want it"
    with upkeep.cleaner.held():
        assert upkeep.cleaner.clean(time.time_ns() + 3 * HOUR_NS) == 0, "a backup is being made"
    freed = upkeep.cleaner.clean(time.time_ns() + 3 * HOUR_NS)
    assert freed > before // 11 and not folder.exists()
    assert len(listed(hours)) == 9
