"""A backup made while rows come and hours are put in order is one moment of the store, and can be brought back."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from index.backup import NOTE, backup, restore
from index.check import check
from index.cleanup import Cleaner
from index.columns import HOUR_NS
from index.compaction import compact_all
from index.lake import Lake
from index.retention import Limits
from index.upkeep import Upkeep
from sip.errors import SiptrailError, Unreachable
from tests.index.stored import START, call, listed, put


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "store")
    for n in range(3):
        put(lake, tmp_path / "a.pcap", call(f"c{n}", START), call(f"d{n}", START + HOUR_NS), at=n + 1)
    lake.count(1, "node", {"packets": 7})
    return lake


def test_there_and_back(lake: Lake, tmp_path: Path) -> None:
    made = backup(lake, Cleaner(lake), tmp_path / "copy")
    assert made.copied == made.size > 0
    names = listed(lake)
    put(lake, tmp_path / "b.pcap", call("later", START))
    lake.close()
    assert restore(tmp_path / "copy", tmp_path / "new") == made
    there = Lake(tmp_path / "new")
    assert listed(there) == names and there.counts() == {"packets": 7} and check(there, True).faults == ()
    # What the copied catalogue knows of older snapshots was not copied, and nobody misses it.
    put(there, tmp_path / "b.pcap", call("more", START))
    Upkeep(there, Limits(1 << 62), "node").round(time.time_ns() + 30 * HOUR_NS)
    Upkeep(there, Limits(1 << 62), "node").round(time.time_ns() + 60 * HOUR_NS)
    assert listed(there) == sorted([*names, "more"])
    there.close()


def test_a_second_backup_copies_what_is_new_and_drops_what_is_gone(lake: Lake, tmp_path: Path) -> None:
    first = backup(lake, Cleaner(lake), tmp_path / "copy")
    put(lake, tmp_path / "b.pcap", call("later", START + 5 * HOUR_NS))
    second = backup(lake, Cleaner(lake), tmp_path / "copy")
    assert 0 < second.copied < first.copied and second.size == first.size + second.copied
    compact_all(lake, time.time_ns() + HOUR_NS)
    third = backup(lake, Cleaner(lake), tmp_path / "copy")
    assert len(list((tmp_path / "copy").rglob("*.parquet"))) == third.files < second.files
    names = listed(lake)
    lake.close()
    restore(tmp_path / "copy", tmp_path / "new")
    there = Lake(tmp_path / "new")
    assert listed(there) == names
    there.close()


def test_a_backup_while_rows_come_is_one_moment(lake: Lake, tmp_path: Path) -> None:
    stop = threading.Event()
    failed: list[BaseException] = []

    def work() -> None:
        upkeep = Upkeep(lake, Limits(1 << 62), "node")
        n = 0
        try:
            while not stop.is_set():
                put(lake, tmp_path / "w.pcap", call(f"w{n:04d}", START + n * 10**9))
                upkeep.round(time.time_ns() + HOUR_NS)
                n += 1
        except BaseException as error:
            failed.append(error)

    writer = threading.Thread(target=work)
    writer.start()
    try:
        for n in range(4):
            backup(lake, Cleaner(lake), tmp_path / "copy")
            restore(tmp_path / "copy", tmp_path / f"new{n}")
    finally:
        stop.set()
        writer.join()
    assert not failed
    lake.close()
    for n in range(4):
        there = Lake(tmp_path / f"new{n}")
        assert check(there, deep=True).faults == ()
        names = [name for name in listed(there) if name.startswith("w")]
        assert names == [f"w{k:04d}" for k in range(len(names))], "what came first is there first"
        there.close()


def test_mistakes_are_told_and_nothing_is_overwritten(lake: Lake, tmp_path: Path) -> None:
    cleaner = Cleaner(lake)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("dear")
    with pytest.raises(SiptrailError, match="something else than a backup"):
        backup(lake, cleaner, tmp_path / "mine")
    with pytest.raises(SiptrailError, match="inside the store"):
        backup(lake, cleaner, lake.folder / "data")
    with pytest.raises(Unreachable, match="not a directory"):
        backup(lake, cleaner, tmp_path / "mine" / "letter" / "x")
    backup(lake, cleaner, tmp_path / "copy")
    with pytest.raises(Unreachable, match="open in another process"):
        restore(tmp_path / "copy", lake.folder)
    lake.close()
    with pytest.raises(SiptrailError, match=r"a store at .+ already"):
        restore(tmp_path / "copy", lake.folder)
    (tmp_path / "copy" / NOTE).unlink()
    with pytest.raises(Unreachable, match="no whole backup"):
        restore(tmp_path / "copy", tmp_path / "new")
    assert not (tmp_path / "new" / "catalogue.duckdb").exists()
