"""Closed hours become one sorted set of files; readers see every row once, before, meanwhile and after."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from index import by_time, compaction, sorting
from index.archive import Archive
from index.columns import HOUR_NS
from index.compaction import ORDERED, Overtaken, compact, compact_all, due, merge_tiny
from index.hours import DataFile, Slot, data_files
from index.lake import Lake
from index.retention import Limits
from index.schema import IN_FILES, PARTITIONED
from index.sorting import result_of
from index.trace import Loss
from index.upkeep import Upkeep
from tests.index.stored import START, call, frame, listed, message, put

NOW = time.time_ns() + HOUR_NS
"""The files are written by then, and nothing is being written."""


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    lake = Lake(tmp_path / "store")
    yield lake
    lake.close()


def fill(lake: Lake, folder: Path, imports: int, first: int = 0) -> list[str]:
    """Files in two hours of each table, with calls in no order."""
    names = []
    for n in range(first, first + imports):
        some = [f"{os.urandom(4).hex()}-{n}-{k}" for k in range(2)]
        put(lake, folder / "a.pcap", *(call(name, START + n * 10**9 + k * HOUR_NS) for k, name in enumerate(some)))
        names += some
    return sorted(names)


def files(lake: Lake, table: str) -> list[Path]:
    return [f.path for f in data_files(lake.cursor(), [table])]


def test_a_closed_hour_becomes_one_sorted_file_a_table(lake: Lake, tmp_path: Path) -> None:
    names = fill(lake, tmp_path, 5)
    assert compact_all(lake, NOW) == len(ORDERED) * 2 * 4
    assert listed(lake) == names
    assert files(lake, "frames") == []
    for table in map(result_of, ORDERED):
        assert len(files(lake, table)) == 2
        for path in files(lake, table):
            # Lists read the newest calls: those of a closed hour stand by time.
            order = "first_ts" if table == "calls" else "call_id"
            rows = pq.read_table(path, columns=[order], partitioning=None)[order].to_pylist()
            assert rows == sorted(rows) and len(rows) >= 5
            assert pq.read_schema(path).names == IN_FILES[table].names
    assert compact_all(lake, NOW) == 0, "once"
    archive = Archive(lake, lambda: START)
    trace = archive.trace(names[0])
    assert [m.sip.raw[:6] for m in trace.messages] == [b"INVITE", b"SIP/2.", b"BYE si"]


def test_memory_is_given_back_after_each_table_not_once_at_the_end(lake: Lake, tmp_path: Path) -> None:
    fill(lake, tmp_path, 3)
    states: list[int] = []
    compact_all(lake, NOW, after=lambda: states.append(len(data_files(lake.cursor()))))
    assert len(states) == len(ORDERED) * 2 and len(set(states)) == len(states), "each time another one was done"


def test_open_and_busy_hours_are_left_alone(lake: Lake, tmp_path: Path) -> None:
    fill(lake, tmp_path, 2)
    found = data_files(lake.cursor())
    assert due(found, START + HOUR_NS + 1) == [], "hardly over"
    assert due(found, time.time_ns()) == [], "something was written a moment ago"
    assert len(due(found, NOW)) == 2 * len(ORDERED)
    assert len(due(found, time.time_ns() - HOUR_NS)) == 2 * len(ORDERED), (
        "the clock was set back an hour: that is no reason to wait"
    )


@pytest.mark.parametrize(
    ("megabytes", "expected"),
    [
        ([200], False),
        ([1, 1], True),
        ([200, 1], False),
        ([200, 200, 1, 1], False),
        ([60, 20, 40, 200], True),
        ([200, 200, *[1] * 16], True),
    ],
)
def test_a_late_file_does_not_cost_writing_a_large_hour_again(
    tmp_path: Path, megabytes: list[int], expected: bool
) -> None:
    path = tmp_path / "any.parquet"
    path.touch()
    some = [DataFile("messages", path, size << 20, Slot("2026-01-05", 10)) for size in megabytes]
    assert bool(due(some, NOW)) == expected


@pytest.mark.parametrize(
    ("packed", "fresh", "expected"),
    [([], [1], True), ([200], [], False), ([200], [1, 1], False), ([200], [150], True), ([200], [1] * 16, True)],
)
def test_frames_that_are_not_packed_bring_their_hour_in_order(
    tmp_path: Path, packed: list[int], fresh: list[int], expected: bool
) -> None:
    path = tmp_path / "any.parquet"
    path.touch()
    slot = Slot("2026-01-05", 10)
    some = [DataFile("packed", path, size << 20, slot) for size in packed]
    some += [DataFile("frames", path, size << 20, slot) for size in fresh]
    found = due([*some, DataFile("messages", path, 1 << 20, slot)], NOW)
    tables = [table for _, table, _ in found]
    if len(fresh) == 16:
        assert tables == ["frames"], "messages are in one file"
    else:
        assert tables == (["messages", "frames"] if expected else [])


def test_one_import_is_put_in_order_too_and_once(lake: Lake, tmp_path: Path) -> None:
    names = fill(lake, tmp_path, 1)
    compact_all(lake, NOW)
    assert files(lake, "frames") == [] and len(files(lake, "packed")) == 2
    assert listed(lake) == names
    there = {f.path for f in data_files(lake.cursor())}
    compact_all(lake, NOW)
    assert {f.path for f in data_files(lake.cursor())} == there


def test_late_frames_join_those_that_are_packed(lake: Lake, tmp_path: Path) -> None:
    names = fill(lake, tmp_path, 3)
    archive = Archive(lake, lambda: START)
    before = {name: archive.frames([name]) for name in names}
    compact_all(lake, NOW)
    # A call's other half comes later: both are told until they are together, and then, too.
    put(lake, tmp_path / "b.pcap", call(names[0], START + 600 * 10**9))
    both = archive.frames([names[0]])
    assert len(both) == 6 and all(frame in both for frame in before[names[0]])
    for slot, table, some in due(data_files(lake.cursor()), NOW):
        compact(lake, slot, table, some)
    assert sorted(archive.frames([names[0]]), key=lambda f: f.ts) == sorted(both, key=lambda f: f.ts)
    assert {name: archive.frames([name]) for name in names[1:]} == {name: before[name] for name in names[1:]}


@pytest.mark.parametrize("run", [by_time.RUN, 3])
def test_partial_rows_of_a_call_become_one_that_says_the_same(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: int
) -> None:
    monkeypatch.setattr(by_time, "RUN", run)
    packets = [call(f"{19 - n:02}", START + n, padding=n) for n in range(20)]
    for k in (1, 2, 0):  # in three imports: the end comes before the start
        put(lake, tmp_path / "a.pcap", *([c[k]] for c in packets))
    archive = Archive(lake, lambda: START)
    before = archive.calls(None, 100)
    compact_all(lake, NOW)
    assert archive.calls(None, 100) == before and len(before) == 20
    rows = lake.cursor().execute("SELECT count(*), sum(messages) FROM lake.calls").fetchall()
    assert rows == [(20, 60)]
    pieces = sorting.merged("calls", files(lake, "calls"), tmp_path)
    assert [name for piece in pieces for name in piece["call_id"].to_pylist()] == [f"{n:02}" for n in range(20)]
    # And once more, with a late row of one of them.
    put(lake, tmp_path / "b.pcap", [(START + 900 * 10**9, frame(message("BYE sip:2@b SIP/2.0", "07", "3 BYE")))])
    before = archive.calls(None, 100)
    for slot, table, some in due(data_files(lake.cursor()), NOW):
        compact(lake, slot, table, some)
    assert archive.calls(None, 100) == before
    assert {c.call_id: c.messages for c in before} == {f"{n:02}": 3 + (n == 7) for n in range(20)}
    assert lake.cursor().execute("SELECT count(*), sum(messages) FROM lake.calls").fetchall() == [(20, 61)]


def test_odd_times_are_kept_as_they_are(lake: Lake, tmp_path: Path) -> None:
    """A clock that stood at 1970, or went back during a call: steps from the first message would not tell these."""
    put(lake, tmp_path / "a.pcap", [(k, p[1]) for k, p in zip((5, 0, 1 << 61), call("odd", START), strict=True)])
    put(lake, tmp_path / "b.pcap", call("even", START))
    archive = Archive(lake, lambda: START)
    before = archive.calls(None, 10), archive.trace("odd"), archive.frames(["odd", "even"])
    for slot, table, some in due(data_files(lake.cursor()), 1 << 62):
        compact(lake, slot, table, some)
    assert (archive.calls(None, 10), archive.trace("odd"), archive.frames(["odd", "even"])) == before


def test_large_hours_come_out_in_several_files_that_are_one_order(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sorting, "FILE_BYTES", 1)
    monkeypatch.setattr(sorting, "GROUP_BYTES", dict.fromkeys(sorting.GROUP_BYTES, 1))
    monkeypatch.setattr(sorting, "OPEN_FILES", 2)
    names = sorted(f"{os.urandom(6).hex()}{n}" for n in range(3000))
    for at in range(0, 3000, 1000):
        put(lake, tmp_path / "a.pcap", *(call(name, START + at) for name in names[at : at + 1000]))
    compact_all(lake, NOW)
    assert listed(lake) == names
    found = files(lake, "messages")
    assert len(found) > 2, "9,000 rows, and a group ends with the first byte"
    ids = [pq.read_table(p, columns=["call_id"], partitioning=None)["call_id"].to_pylist() for p in found]
    ranges = sorted((some[0], some[-1]) for some in ids)
    assert all(a[1] <= b[0] for a, b in pairwise(ranges))


def test_rows_that_come_meanwhile_are_not_lost(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = fill(lake, tmp_path, 3)
    real = sorting.sort_files

    def slow(*given: object, **more: object) -> sorting.Sorted:
        done = real(*given, **more)  # type: ignore[arg-type]
        names.extend(fill(lake, tmp_path, 1, first=50))
        return done

    monkeypatch.setattr(compaction, "sort_files", slow)
    slot, table, some = due(data_files(lake.cursor()), NOW)[0]
    assert compact(lake, slot, table, some) == 2
    assert listed(lake) == sorted(names)
    assert len([f for f in data_files(lake.cursor(), [table]) if f.slot == slot]) == 2, "the new one and the late one"
    no_delete_files(lake)
    monkeypatch.undo()
    compact_all(lake, NOW)
    assert listed(lake) == sorted(names)


def test_files_that_go_meanwhile_are_not_brought_back(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lake, tmp_path, 3)
    real = sorting.sort_files
    upkeep = Upkeep(lake, Limits(HOUR_NS), "node")

    def slow(*given: object, **more: object) -> sorting.Sorted:
        done = real(*given, **more)  # type: ignore[arg-type]
        upkeep.retain(time.time_ns() + 2 * HOUR_NS)
        return done

    monkeypatch.setattr(compaction, "sort_files", slow)
    slot, table, some = due(data_files(lake.cursor()), NOW)[0]
    before = set((lake.folder / "data" / "main" / table).rglob("*.parquet"))
    with pytest.raises(Overtaken):
        compact(lake, slot, table, some)
    assert set((lake.folder / "data" / "main" / table).rglob("*.parquet")) == before, "what was sorted in vain is gone"
    assert listed(lake) == []


def no_delete_files(lake: Lake) -> None:
    """Nothing is marked as deleted inside of a file."""
    for table in PARTITIONED:
        found = lake.cursor().execute(f"SELECT delete_file FROM ducklake_list_files('lake', '{table}')").fetchall()
        assert {name for (name,) in found} <= {None}, table


def test_an_open_hour_has_few_files_however_often_it_is_written(lake: Lake, tmp_path: Path) -> None:
    begun = time.time_ns() // HOUR_NS * HOUR_NS
    names, most = [], 0
    for n in range(6 * compaction.OPEN_CROWD + 2):
        names.append(f"{os.urandom(4).hex()}-{n}")
        put(lake, tmp_path / "a.pcap", call(names[-1], begun + n * 10**6))
        compact_all(lake, time.time_ns())
        most = max(most, len(files(lake, "messages")))
    assert most <= 2 * compaction.OPEN_CROWD and len(files(lake, "frames")) <= 2 * compaction.OPEN_CROWD
    assert listed(lake) == sorted(names)
    no_delete_files(lake)


def test_a_call_in_several_files_of_an_open_hour_has_one_row_and_says_the_same(lake: Lake, tmp_path: Path) -> None:
    begun = time.time_ns() // HOUR_NS * HOUR_NS
    first, answer, bye = call("m-in-pieces", begun)
    for n in range(compaction.OPEN_CROWD):
        part = {0: [first], 1: [answer], compaction.OPEN_CROWD - 1: [bye]}.get(n, [])
        put(lake, tmp_path / "a.pcap", [*call(f"{os.urandom(4).hex()}-{n}", begun + n * 10**7), *part])
    archive = Archive(lake, lambda: begun)
    before = archive.calls(None, 100)
    assert len(files(lake, "calls")) == compaction.OPEN_CROWD and before[-1].state == "completed"
    compact_all(lake, time.time_ns())
    (path,) = files(lake, "calls")
    names = pq.read_table(path, columns=["call_id"], partitioning=None)["call_id"].to_pylist()
    assert names == sorted(c.call_id for c in before)
    assert Archive(lake, lambda: begun).calls(None, 100) == before


@pytest.mark.parametrize(("every", "size", "times"), [(15, 2 << 20, 2), (5, 1 << 20, 3), (5, 250 << 10, 3)])
def test_rows_of_an_open_hour_are_seldom_written_again(tmp_path: Path, every: int, size: int, times: int) -> None:
    """A file all so many seconds, so large, as at 2,500 messages/s and more; the hour is looked at once
    a minute."""
    slot = Slot("2026-01-05", 10)
    there: list[DataFile] = []
    again, most = 0, 0
    for second in range(0, 3600, every):
        there.append(DataFile("frames", tmp_path / str(second), size + second, slot))
        most = max(most, len(there))
        for n, (_, _, some) in enumerate(due(there, slot.start) if second % 60 == 60 - every else []):
            whole = sum(f.size for f in some)
            again += whole
            there = [*(f for f in there if f not in some), DataFile("frames", tmp_path / f"{second}-{n}", whole, slot)]
    assert most <= 40 and again <= times * size * 3600 / every


def test_the_end_of_the_service_ends_it_and_leaves_nothing(lake: Lake, tmp_path: Path) -> None:
    names = fill(lake, tmp_path, 3)
    before = set(lake.folder.rglob("*.parquet"))
    asked = [0]

    def stop() -> bool:
        asked[0] += 1
        return asked[0] > 2

    compact_all(lake, NOW, stop)
    assert asked[0] == 3 and listed(lake) == names
    assert len(set(lake.folder.rglob("*.parquet")) - before) == 1, "one hour of one table was done"


def test_readers_see_every_row_once_while_hours_are_put_in_order(lake: Lake, tmp_path: Path) -> None:
    names = fill(lake, tmp_path, 6)
    archive = Archive(lake, lambda: START)
    upkeep = Upkeep(lake, Limits(1 << 62), "node")
    wrong: list[str] = []
    rounds = [0]
    stop = threading.Event()

    def read() -> None:
        try:
            while not stop.is_set():
                found = sorted((c.call_id, c.messages) for c in archive.calls(None, 1000))
                if found != [(name, 3) for name in names]:
                    wrong.append(f"listed {found}")
                one = names[rounds[0] % len(names)]
                if len(archive.trace(one).messages) != 3 or len(archive.frames([one])) != 3:
                    wrong.append(f"trace of {one}")
                rounds[0] += 1
        except Exception as error:
            wrong.append(repr(error))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for n in range(8):
            upkeep.round(NOW + n)
            # The same rows in many files again, for the next round.
            for slot, table, some in [(f.slot, f.table, [f]) for f in data_files(lake.cursor(), PARTITIONED)]:
                assert slot is not None
                compact(lake, slot, "frames" if table == "packed" else table, some)
            lake.count(n, "node", {"packets": 1})
    finally:
        stop.set()
        reader.join()
    assert wrong == [] and rounds[0] > 3
    assert listed(lake) == names


def test_small_tables_stay_small(lake: Lake) -> None:
    for n in range(compaction.MOST_TINY + 3):
        lake.count(n, "node", {"packets": 1})
        lake.lose("node", [Loss("eth0", n, n + 1, 1, "kernel")])
    assert len(files(lake, "counts")) == compaction.MOST_TINY + 3
    merge_tiny(lake)
    assert len(files(lake, "counts")) == len(files(lake, "losses")) == 1
    assert lake.counts() == {"packets": compaction.MOST_TINY + 3}
    assert len(lake.losses(0, 1000)) == compaction.MOST_TINY + 3


def test_old_files_and_snapshots_go(lake: Lake, tmp_path: Path) -> None:
    names = fill(lake, tmp_path, 4)
    upkeep = Upkeep(lake, Limits(1 << 62), "node")
    upkeep.round(NOW - HOUR_NS + 11 * 60 * 10**9)
    there = len(list((lake.folder / "data").rglob("*.parquet")))
    upkeep.round(NOW + 3 * HOUR_NS)
    left = set((lake.folder / "data").rglob("*.parquet"))
    assert len(left) < there and left == {f.path for f in data_files(lake.cursor())}
    assert len(lake.cursor().execute("FROM ducklake_snapshots('lake')").fetchall()) == 1
    assert listed(lake) == names


def test_files_of_a_crash_go_after_a_day(lake: Lake, tmp_path: Path) -> None:
    names = fill(lake, tmp_path, 1)
    orphan = files(lake, "messages")[0].with_name("left-by-a-crash.parquet")
    orphan.write_bytes(files(lake, "messages")[0].read_bytes())
    Upkeep(lake, Limits(1 << 62), "node").round(NOW)
    assert orphan.exists()
    Upkeep(lake, Limits(1 << 62), "node").round(NOW + 25 * HOUR_NS)
    assert not orphan.exists() and listed(lake) == names
