"""Kills, power cuts, full and broken disks, clocks that jump: what was said to be safe is there, once.

SIPTRAIL_KILLS says how often a recording store is killed (100 times unless told otherwise).
"""

from __future__ import annotations

import gc
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from capture.pipeline import Decoder
from capture.sources.pcapfile import PcapFile
from index.archive import Archive
from index.changes import Change
from index.check import check
from index.columns import HOUR_NS, to_rows
from index.compaction import compact_all
from index.hours import data_files
from index.lake import Lake
from index.noise import Noise
from index.rebuild import rebuild
from index.retention import Limits
from index.spool import Spool
from index.upkeep import RESERVE, Upkeep
from sip.errors import SiptrailError, Unreachable
from tests.index.busy_store import opened
from tests.index.stored import START, call, capture, frame, listed, message, put

KILLS = int(os.environ.get("SIPTRAIL_KILLS", "100"))
TOP = Path(__file__).resolve().parents[2]


def run_and_kill(store: Path, prefix: str, seconds: float, *more: str) -> list[str]:
    """Let a store work for a while, then kill it; returns the calls that it said are safe."""
    command = [sys.executable, str(TOP / "tests/index/busy_store.py"), str(store), prefix, *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        safe = [process.stdout.readline().strip()]
        assert safe[0], "it does not start"
        time.sleep(seconds)
        process.kill()
        safe += [line.strip() for line in process.stdout if line.endswith("\n")]
    return safe


def holds_once(store: Path, safe: list[str]) -> None:
    """Every safe call is there with its three messages, in every table; nothing is there twice."""
    archive = opened(store)
    lake = archive.lake
    assert lake is not None
    calls = {c.call_id: c.messages for c in archive.calls(None, 1_000_000)}
    assert {name: calls.get(name) for name in safe} == dict.fromkeys(safe, 3)
    frames = "SELECT call_id, 1 AS n FROM lake.frames UNION ALL SELECT call_id, frames FROM lake.packed"
    for source in ("SELECT call_id, 1 AS n FROM lake.messages", frames):
        rows = dict(lake.cursor().execute(f"SELECT call_id, sum(n)::INT FROM ({source}) GROUP BY ALL").fetchall())
        assert {name: rows.get(name) for name in safe} == dict.fromkeys(safe, 3), source
        assert max(rows.values()) == 3, "a call of the last moment is there twice"
    assert check(lake, deep=True).faults == ()
    lake.counts()
    archive.close()


def test_kill_9_at_any_moment(tmp_path: Path) -> None:
    store = tmp_path / "store"
    command = [sys.executable, str(TOP / "tests/index/busy_store.py"), str(store), "r", "--kills", str(KILLS)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    safe = done.stdout.split()
    assert len(safe) > KILLS and len({name.split("-")[0] for name in safe}) == KILLS
    holds_once(store, safe)


def test_a_power_cut_leaves_what_was_synced(tmp_path: Path) -> None:
    """The catalogue's database syncs itself; whatever else was not synced is cut off, as after a power cut."""
    chance = random.Random(time.time())
    store, safe, cut = tmp_path / "store", [], 0
    for n in range(5):
        log = tmp_path / f"syncs{n}"
        before = {p for p in store.rglob("*") if p.is_file()}
        safe += run_and_kill(store, f"p{n}", chance.uniform(0.2, 1.5), str(log))
        synced: dict[str, int] = {}
        for line in log.read_text().splitlines():
            path, size = line.split("\t")
            synced[path] = int(size)
        for path in [*(store / "data").rglob("*.parquet"), *(store / "spool").rglob("*.pcapng")]:
            sure = synced.get(str(path), path.stat().st_size if path in before else 0)
            if sure < path.stat().st_size:
                os.truncate(path, sure)
                cut += 1
    holds_once(store, safe)


def test_after_kills_a_catalogue_can_be_made_of_the_files(tmp_path: Path) -> None:
    store = tmp_path / "store"
    safe = [name for n in range(3) for name in run_and_kill(store, f"k{n}", 1.0)]
    opened(store).close()
    (store / "catalogue.duckdb").write_bytes(b"")
    (store / "catalogue.duckdb.wal").unlink(missing_ok=True)
    rebuild(store)
    lake = Lake(store)
    calls = {c.call_id: c.messages for c in Archive(lake, lambda: START).calls(None, 1_000_000)}
    assert set(safe) <= set(calls) and all(calls[name] >= 3 for name in safe)
    lake.close()


# ---------------------------------------------------------------- disks


@contextmanager
def mounted(folder: Path, *words: str) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", *words, str(folder)], check=True)
    try:
        yield folder
    finally:
        gc.collect()  # an open file keeps it mounted
        # A fork of another test that holds on to it must not leave it behind.
        while subprocess.run(["umount", "-l", str(folder)], capture_output=True).returncode == 0:
            continue
        assert not folder.is_mount()


def record(archive: Archive, folder: Path, name: str, at: int = START) -> None:
    """One call, as capture hands it over."""
    decoder = Decoder(first_seq=time.time_ns())
    for frames in PcapFile(str(capture(folder / "one.pcap", call(name, at)))).blocks():
        for block in (*decoder.feed(frames), *decoder.flush()):
            archive.add(to_rows(block, "node"), block)


@pytest.mark.needs("root")
def test_a_full_disk_costs_nothing_that_was_recorded(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=12m", "none") as disk:
        archive = Archive(Lake(disk / "store"), lambda: START)
        archive.spool = Spool(disk / "store" / "spool")
        assert archive.lake is not None
        upkeep = Upkeep(archive.lake, Limits(1 << 62), "node")
        names = [f"c{n}" for n in range(6)]
        for name in names[:3]:
            record(archive, tmp_path, name)
            archive.flush()
        record(archive, tmp_path, names[3])
        ballast = open(disk / "ballast", "wb", buffering=0)  # noqa: SIM115
        with pytest.raises(OSError, match="No space left"):
            while True:
                ballast.write(bytes(4096))
        ballast.close()
        for _ in range(3):
            with pytest.raises(Unreachable, match="disk is full"):
                archive.flush()
        with pytest.raises((SiptrailError, OSError, duckdb.Error)):
            upkeep.round(time.time_ns() + HOUR_NS)
        assert {c.call_id: c.messages for c in archive.calls(None, 9)} == dict.fromkeys(names[:4], 3)
        (disk / "ballast").unlink()
        for name in names[4:]:
            record(archive, tmp_path, name)
        archive.flush()
        upkeep.round(time.time_ns() + HOUR_NS)
        assert listed(archive.lake) == names and check(archive.lake, deep=True).faults == ()
        archive.close()
        holds_once(disk / "store", names)


@pytest.mark.needs("root")
def test_a_store_whose_last_line_found_no_room_is_let_go_of(tmp_path: Path) -> None:
    """The catalogue's own line, after which the engine would hold its files as long as this process lives."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=12m", "none") as disk:
        lake = Lake(disk / "store")
        put(lake, tmp_path / "a.pcap", call("there", START, 900))
        with open(disk / "ballast", "wb", buffering=0) as ballast, pytest.raises(OSError, match="No space left"):
            while True:
                ballast.write(bytes(4096))
        with pytest.raises(duckdb.Error, match="No space left"):
            for n in range(10_000):
                lake.cursor().execute(f"CALL lake.set_option('parquet_row_group_size', '{122_880 + n}')")
        (disk / "ballast").unlink()
        lake.close()
        lake = Lake(disk / "store")
        assert listed(lake) == ["there"]
        lake.close()


@pytest.mark.needs("root")
@pytest.mark.parametrize("work", ["order", "noise"])
def test_a_disk_that_becomes_full_while_hours_are_written_again(tmp_path: Path, work: str) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=24m", "none") as disk:
        lake = Lake(disk / "store")
        names = [f"{n}-{k}-{os.urandom(200).hex()}" for n in range(4) for k in range(300)]
        for n in range(4):
            put(lake, tmp_path / "a.pcap", *(call(name, START, 900) for name in names if name.startswith(f"{n}-")))
        ping = message("OPTIONS sip:2002@b.example SIP/2.0", "ping", "1 OPTIONS").replace(b";tag=2", b"")
        put(lake, tmp_path / "a.pcap", [(START, frame(ping))])
        later, limits = time.time_ns() + HOUR_NS, Limits(1 << 62, shorter=(("OPTIONS", 1),))

        def rewrite() -> None:
            if work == "order":
                compact_all(lake, later)
            else:
                Noise(lake).remove(limits, later, "node")

        before = {p for p in disk.rglob("*.parquet")}
        with open(disk / "ballast", "wb", buffering=0) as ballast:
            # Enough for the catalogue's own lines, not for the hour.
            ballast.truncate(0)
            while shutil.disk_usage(disk).free > 1 << 18:
                ballast.write(bytes(4096))
        with pytest.raises((Unreachable, OSError)) as told:
            rewrite()
        assert "full" in str(told.value).lower() or "space" in str(told.value).lower()
        assert {p for p in disk.rglob("*.parquet")} == before, "half of the new files are left"
        assert {c.call_id for c in Archive(lake, lambda: START).calls(None, 10_000)} == {"ping", *names}
        (disk / "ballast").unlink()
        rewrite()
        assert check(lake, deep=True).faults == ()
        if work == "noise":
            assert listed(lake) == sorted(names)
        else:
            assert len([f for f in data_files(lake.cursor(), ["messages"])]) == 1
        lake.close()


@pytest.mark.needs("root")
def test_a_small_disk_never_becomes_full(tmp_path: Path) -> None:
    """Whole hours go before the disk is full, and their bytes come free in time."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=16m", "none") as disk:
        lake = Lake(disk / "store")
        upkeep = Upkeep(lake, Limits(1 << 62, high_water=0.6), "node")
        reasons = set()
        for hour in range(40):
            calls = [call(f"{hour:02d}-{os.urandom(400).hex()}", START + hour * HOUR_NS) for _ in range(400)]
            put(lake, tmp_path / "a.pcap", *calls)
            # The clock of the store's own records cannot be moved; its files wait for two and a half minutes only.
            now = max(time.time_ns(), START + hour * HOUR_NS)
            reasons |= {r.reason for r in upkeep.retain(now)}
            upkeep.cleaner.clean(time.time_ns() + HOUR_NS, 0)
        assert reasons == {"disk"}
        hours = sorted({name[:2] for name in listed(lake)})
        assert hours == [f"{h:02d}" for h in range(40 - len(hours), 40)] and 1 <= len(hours) < 40
        lake.close()


@pytest.mark.needs("root")
def test_a_disk_that_others_filled_gets_room(tmp_path: Path) -> None:
    """Removing must write a little, too: there is a reserve for that."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=64m", "none") as disk:
        lake = Lake(disk / "store")
        upkeep = Upkeep(lake, Limits(1 << 62, high_water=0.999), "node")
        put(lake, tmp_path / "a.pcap", call("one", START), call("two", START + HOUR_NS))
        upkeep.round(time.time_ns())
        assert (disk / "store" / "reserve").stat().st_size == RESERVE
        with pytest.raises(OSError, match="No space left"), open(disk / "ballast", "wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(4096))
        assert [r.reason for r in upkeep.retain(time.time_ns())] == ["disk", "disk"]
        assert not (disk / "store" / "reserve").exists() and listed(lake) == []
        (disk / "ballast").unlink()
        upkeep.round(time.time_ns())
        assert (disk / "store" / "reserve").exists()
        lake.close()


@pytest.mark.needs("root", "mkfs.ext4")
def test_a_disk_that_becomes_read_only(tmp_path: Path) -> None:
    """As the kernel does after an error of the device."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    with mounted(tmp_path / "disk", "-o", "loop", str(image)) as disk:
        archive = Archive(Lake(disk / "store"), lambda: START)
        archive.spool = Spool(disk / "store" / "spool")
        record(archive, tmp_path, "one")
        archive.flush()
        record(archive, tmp_path, "two")
        archive.spool.sync()
        subprocess.run(["mount", "-o", "remount,abort", str(disk)], check=True)
        for _ in range(2):
            with pytest.raises((SiptrailError, OSError, duckdb.Error)):
                archive.flush()
        assert {c.call_id: c.messages for c in archive.calls(None, 9)} == {"one": 3, "two": 3}
        record(archive, tmp_path, "three")
        archive.spool.rotate().exception(10)
        assert archive.spool.skipped == 3
        archive.close()
        del archive
    subprocess.run(["e2fsck", "-fy", str(image)], capture_output=True)
    with mounted(tmp_path / "again", "-o", "loop", str(image)) as disk:
        holds_once(disk / "store", ["one", "two"])


def stop_the_engine(lake: Lake) -> None:
    """As a broken disk does while the catalogue is being written: the engine answers nothing from then on."""
    cur = lake.cursor()
    cur.execute("SET debug_checkpoint_abort = 'before_header'")
    with pytest.raises(duckdb.Error, match="has been invalidated"):
        cur.execute("FORCE CHECKPOINT __ducklake_metadata_lake")
    with pytest.raises(duckdb.Error, match="has been invalidated"):
        cur.execute("SELECT * FROM lake.about")
    cur.close()


@pytest.mark.parametrize("when", ["before", "between", "asked"])
def test_when_the_database_engine_stops_the_store_is_opened_again(
    tmp_path: Path, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = opened(tmp_path / "store")
    lake = archive.lake
    assert lake is not None
    record(archive, tmp_path, "one")
    archive.flush()
    record(archive, tmp_path, "two")
    if when == "before":
        stop_the_engine(lake)
        with pytest.raises(Unreachable, match="cannot be read"):
            archive.calls(None, 9)
    else:
        real = Change.commit

        def commit(change: Change) -> None:
            monkeypatch.undo()
            if when == "asked":
                real(change)
            stop_the_engine(lake)
            if when == "asked":
                change._done = False
                raise duckdb.FatalException("the answer is lost")
            real(change)

        monkeypatch.setattr(Change, "commit", commit)
        with pytest.raises(duckdb.Error):
            archive.flush()
    record(archive, tmp_path, "three")
    archive.flush()
    assert {c.call_id: c.messages for c in archive.calls(None, 9)} == {"one": 3, "two": 3, "three": 3}
    assert archive.hot_rows() == (0, 0)
    Upkeep(lake, Limits(1 << 62), "node").round(time.time_ns() + HOUR_NS)
    assert listed(lake) == ["one", "three", "two"] and check(lake, deep=True).faults == ()
    archive.close()
    holds_once(tmp_path / "store", ["one", "two", "three"])


# ---------------------------------------------------------------- clocks


def test_a_clock_that_jumps_an_hour_back_and_forth(tmp_path: Path) -> None:
    store = tmp_path / "store"
    now = time.time_ns()
    hour = now - now % HOUR_NS
    safe = []
    for n, jump in enumerate((0, HOUR_NS, -HOUR_NS, 0, HOUR_NS, 0)):
        archive = opened(store)
        assert archive.lake is not None
        # The present hour, the one before, and one that is about to go.
        for k, at in enumerate((hour, hour - HOUR_NS, hour - 5 * HOUR_NS)):
            record(archive, tmp_path, f"{n}-{k}", at + n)
        safe += [f"{n}-{k}" for k in range(2)]
        archive.flush()
        upkeep = Upkeep(archive.lake, Limits(3 * HOUR_NS, budget=1 << 40, high_water=0.999999), "node")
        for moment in (now + jump, now, now - jump):
            upkeep.round(moment)
        archive.close()
    holds_once(store, safe)
