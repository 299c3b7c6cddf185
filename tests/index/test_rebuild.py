"""Damaged files are found, named by hour and set aside; a catalogue can be made of files alone."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from index.archive import Archive
from index.check import check
from index.columns import HOUR_NS
from index.compaction import compact_all
from index.hours import Slot, data_files
from index.lake import Lake
from index.openlake import REBUILDING
from index.rebuild import rebuild, repair
from index.retention import Disk, Limits, plan
from index.trace import Loss
from sip.errors import Unreachable
from tests.index.stored import START, call, listed, put

NAMES = [f"c{n}" for n in range(6)]
HOURS = [Slot("2026-01-05", 10), Slot("2026-01-05", 11)]


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two calls in each of three imports, one in each of two hours; counters and a loss."""
    folder = tmp_path_factory.mktemp("master")
    lake = Lake(folder / "store")
    for n in range(3):
        some = (call(NAMES[2 * n], START), call(NAMES[2 * n + 1], START + HOUR_NS))
        put(lake, folder / "a.pcap", *some, at=time.time_ns())
    lake.count(1, "node", {"packets": 7})
    lake.lose("node", [Loss("eth0", 1, 2, 3, "kernel")])
    lake.close()
    return folder / "store"


@pytest.fixture
def store(master: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(master, tmp_path / "store"))


def one(store: Path, table: str, hour: int) -> Path:
    """A file of the table and hour."""
    return sorted((store / "data/main" / table / "day=2026-01-05" / f"hour={hour}").iterdir())[0]


def missing(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def scribbled(path: Path) -> None:
    """The footer is whole, what it describes is not; only reading it shows that."""
    data = bytearray(path.read_bytes())
    data[4:400] = bytes(396)
    path.write_bytes(data)


def contents(store: Path) -> tuple[list[str], dict[str, int], tuple[Loss, ...]]:
    lake = Lake(store)
    try:
        return listed(lake), lake.counts(), lake.losses(0, 10)
    finally:
        lake.close()


def test_nothing_is_wrong_with_a_whole_store(store: Path) -> None:
    lake = Lake(store)
    health = check(lake, deep=True)
    assert health.faults == () and health.files == len(data_files(lake.cursor()))
    lake.close()
    assert repair(store, deep=True) is None


@pytest.mark.parametrize("table", ["messages", "frames", "calls", "findings"])
@pytest.mark.parametrize(("harm", "deep"), [(missing, False), (empty, False), (cut, False), (scribbled, True)])
def test_a_damaged_file_is_named_and_set_aside_and_the_rest_answers(
    store: Path, table: str, harm: Callable[[Path], None], deep: bool
) -> None:
    path = one(store, table, 10)
    harm(path)
    lake = Lake(store)
    (fault,) = check(lake, deep).faults
    lake.close()
    assert (fault.table, fault.path, fault.slot) == (table, path, HOURS[0]) and fault.what
    done = repair(store, deep)
    assert done is not None and done.hours == [HOURS[0]] and len(done.aside) == 1
    assert (store / "damaged/main" / table).exists() == (harm is not missing)
    lake = Lake(store)
    assert check(lake, deep=True).faults == ()
    archive = Archive(lake, lambda: START)
    calls = {c.call_id: c.messages for c in archive.calls(None, 100)}
    expected = 2 if table == "messages" else 3
    assert len([name for name in calls if name in NAMES[::2]]) == expected and set(calls.values()) == {3}
    for name in NAMES[1::2]:
        assert len(archive.frames([name])) == 3 and len(archive.trace(name).messages) == 3
    assert lake.counts() == {"packets": 7} and len(lake.losses(0, 10)) == 1
    assert plan(lake, Limits(24 * HOUR_NS), time.time_ns(), Disk(0, 1 << 50)) == [], "when it was imported is known"
    lake.close()


@pytest.mark.parametrize(("harm", "deep"), [(missing, False), (cut, False), (scribbled, True)])
def test_damaged_packed_frames_cost_the_text_of_their_hour_alone(
    store: Path, harm: Callable[[Path], None], deep: bool
) -> None:
    lake = Lake(store)
    compact_all(lake, time.time_ns() + HOUR_NS)
    path = next(f.path for f in data_files(lake.cursor(), ["packed"]) if f.slot == HOURS[0])
    lake.close()
    harm(path)
    done = repair(store, deep)
    assert done is not None and done.hours == [HOURS[0]] and len(done.aside) == 1
    lake = Lake(store)
    archive = Archive(lake, lambda: START)
    assert {c.call_id: c.messages for c in archive.calls(None, 100)} == dict.fromkeys(NAMES, 3)
    for n, name in enumerate(NAMES):
        assert len(archive.trace(name).messages) == 3 and len(archive.frames([name])) == (3 if n % 2 else 0)
    lake.close()


@pytest.mark.parametrize("harm", [missing, empty, cut])
@pytest.mark.parametrize("table", ["counts", "imported", "about"])
def test_a_damaged_small_table_costs_only_itself(store: Path, table: str, harm: Callable[[Path], None]) -> None:
    lake = Lake(store)
    path = next(f.path for f in data_files(lake.cursor(), [table]))
    lake.close()
    harm(path)
    if table == "about":
        with pytest.raises(Unreachable, match="store rebuild"):
            Lake(store)
        rebuild(store)
    else:
        assert repair(store, False) is not None
    names, counts, losses = contents(store)
    assert names == NAMES and len(losses) == 1
    assert counts == ({} if table == "counts" else {"packets": 7})


def spoil(store: Path) -> None:
    """The catalogue becomes noise."""
    (store / "catalogue.duckdb").write_bytes(b"noise" * 1000)
    (store / "catalogue.duckdb.wal").unlink(missing_ok=True)


def test_a_catalogue_is_made_of_the_files(store: Path) -> None:
    before = contents(store)
    spoil(store)
    with pytest.raises(Unreachable, match="store rebuild") as told:
        Lake(store)
    assert "\n" not in str(told.value)
    done = rebuild(store)
    assert (done.rows["messages"], done.aside, done.doubled) == (18, [], 0)
    assert contents(store) == before
    assert list((store / "damaged").glob("*catalogue*")), "the old one is kept"
    lake = Lake(store)
    assert plan(lake, Limits(24 * HOUR_NS), time.time_ns(), Disk(0, 1 << 50)) == []
    put(lake, store.parent / "b.pcap", call("new", START))
    assert listed(lake) == sorted([*NAMES, "new"])
    lake.close()


def test_files_that_replaced_others_do_not_double_rows(store: Path) -> None:
    lake = Lake(store)
    compact_all(lake, time.time_ns() + HOUR_NS)
    put(lake, store.parent / "b.pcap", call("late", START))
    lake.close()
    assert len(list((store / "data/main/messages").rglob("hour=10/*"))) == 5, "the old ones wait for their deletion"
    spoil(store)
    said: list[str] = []
    done = rebuild(store, say=said.append)
    assert done.doubled > 0
    assert len(said) == 6, "messages, frames and findings of two hours; calls are made of their messages again"
    assert contents(store)[0] == sorted([*NAMES, "late"])
    assert len(list((store / "data/main/messages").rglob("hour=10/*"))) == 1


def test_when_hours_were_imported_is_seen_by_their_files(store: Path) -> None:
    for path in (store / "data/main/imported").iterdir():
        path.unlink()
    spoil(store)
    rebuild(store)
    lake = Lake(store)
    assert plan(lake, Limits(24 * HOUR_NS), time.time_ns(), Disk(0, 1 << 50)) == []
    lake.close()


def test_half_a_rebuilding_is_not_taken_for_the_whole(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(store)

    def fails(*_: object) -> list[Path]:
        raise OSError("power cut")

    with monkeypatch.context() as broken:
        broken.setattr("index.rebuild._once", fails)
        with pytest.raises(OSError, match="power cut"):
            rebuild(store)
    assert (store / REBUILDING).exists()
    with pytest.raises(Unreachable, match="run `siptrail store rebuild` again"):
        Lake(store)
    rebuild(store)
    assert contents(store)[0] == NAMES


def test_a_store_in_use_is_left_alone(store: Path) -> None:
    lake = Lake(store)
    for mend in (lambda: rebuild(store), lambda: repair(store, False)):
        with pytest.raises(Unreachable, match="open in another process"):
            mend()
    assert listed(lake) == NAMES
    lake.close()
