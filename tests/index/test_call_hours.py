"""Which hours a call has rows in: what the hash files say holds with the store, whatever happens to them."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from index.archive import Archive
from index.call_hours import CallHours, conditions
from index.columns import HOUR_NS
from index.compaction import compact_all
from index.hours import DataFile, Slot, data_files
from index.importing import import_file
from index.lake import Lake
from index.retention import Limits
from index.upkeep import Upkeep
from sip.errors import NotFound
from tests.capture.test_icmp import SENT, error
from tests.capture.wire import ether
from tests.index.stored import START, capture, frame, message

NOW = START + 100 * HOUR_NS


def calls(names: list[str], hour: int) -> list[tuple[int, bytes]]:
    return [
        (START + hour * HOUR_NS + n * 10**6, frame(message("OPTIONS sip:2002@b.example SIP/2.0", name, "1 OPTIONS")))
        for n, name in enumerate(names)
    ]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Four hours with 50 calls each, and one call in the first and the last of them."""
    archive = Archive(Lake(tmp_path / "store"), lambda: NOW)
    for hour in range(4):
        names = [f"call-{hour}-{n}" for n in range(50)] + (["long"] if hour in (0, 3) else [])
        import_file(archive, str(capture(tmp_path / f"{hour}.pcap", calls(names, hour))), "node", imported_at=NOW)
    archive.close()
    return tmp_path / "store"


def slots(lake: Lake, *call_ids: str) -> list[int]:
    """Hours after the first one in which the calls may be."""
    cur = lake.cursor()
    found = lake.call_hours.hours(call_ids, data_files(cur, ["messages"]))
    cur.close()
    assert found is not None
    return sorted((s.start - START // HOUR_NS * HOUR_NS) // HOUR_NS for s in found)


def test_hours_of_calls(store: Path) -> None:
    lake = Lake(store)
    assert slots(lake, "call-1-7") == [1]
    assert slots(lake, "long") == [0, 3]
    assert slots(lake, "call-1-7", "call-2-0") == [1, 2]
    assert slots(lake, "nobody") == []
    lake.close()


@pytest.mark.parametrize("damage", ["gone", "cut", "other", "empty"])
def test_hashes_that_cannot_be_read_hide_no_call(store: Path, damage: str) -> None:
    folder = store / "call-hours"
    for path in folder.iterdir():
        if damage == "cut":
            path.write_bytes(path.read_bytes()[:-4])
        elif damage == "other":
            path.write_bytes(b"NONE" + path.read_bytes()[4:])
        elif damage == "empty":
            path.write_bytes(b"")
    if damage == "gone":
        shutil.rmtree(folder)
    archive = Archive(Lake(store), lambda: NOW)
    assert archive.lake is not None
    assert slots(archive.lake, "call-1-7") == [0, 1, 2, 3]
    assert len(archive.trace("long").messages) == 2
    archive.lake.know_hours()
    assert slots(archive.lake, "call-1-7") == [1]
    assert len(archive.trace("long").messages) == 2
    with pytest.raises(NotFound):
        archive.call("nobody")
    archive.close()


def test_hashes_follow_their_files(store: Path) -> None:
    archive = Archive(Lake(store), lambda: NOW)
    lake = archive.lake
    assert lake is not None
    import_file(archive, str(store.parent / "0.pcap"), "again", imported_at=NOW)
    assert compact_all(lake, NOW + 100 * HOUR_NS) > 0
    assert 0 in slots(lake, "long") and len(archive.trace("long").messages) == 2
    lake.know_hours()
    assert slots(lake, "long") == [0, 3]
    for _ in range(2):
        lake.know_hours()
    with lake.reading() as cur:
        names = {f"{f.path.name}.calls" for f in data_files(cur, ["messages"])}
    assert {p.name for p in (store / "call-hours").iterdir()} == names
    archive.close()


def test_a_call_that_only_icmp_quotes_beside_its_own_hours_is_whole(store: Path) -> None:
    # The hashes are those of all message rows, also of rows that make no call.
    lake = Lake(store)
    with lake.reading() as cur:
        for one in data_files(cur, ["messages"]):
            ids = [r[0] for r in cur.execute(f"SELECT DISTINCT call_id FROM '{one.path}'").fetchall()]
            assert all(one.slot in (lake.call_hours.hours([i], [one]) or ()) for i in ids)
    lake.close()


def test_a_reader_has_the_files_of_its_moment(store: Path) -> None:
    archive = Archive(Lake(store), lambda: NOW)
    lake = archive.lake
    assert lake is not None
    with lake.reading() as early, lake.reading() as late:
        early.execute("BEGIN")
        before = {f.path for f in lake.message_files(early)}
        import_file(archive, str(capture(store.parent / "new.pcap", calls(["new"], 2))), "node", imported_at=NOW)
        late.execute("BEGIN")
        assert len({f.path for f in lake.message_files(late)} - before) == 1
        assert {f.path for f in lake.message_files(early)} == before
    assert len(archive.trace("new").messages) == 1
    archive.close()


def test_a_newest_hour_without_calls_hides_no_list(store: Path) -> None:
    quoted = ether(error(SENT))
    archive = Archive(Lake(store), lambda: NOW)
    assert archive.lake is not None
    path = capture(store.parent / "icmp.pcap", [(START + 9 * HOUR_NS, quoted)])
    import_file(archive, str(path), "node", imported_at=NOW)
    with archive.lake.reading() as cur:
        hours = {f.slot for f in data_files(cur, ["messages"])} - {f.slot for f in data_files(cur, ["calls"])}
        assert hours == {max(f.slot for f in data_files(cur, ["messages"]) if f.slot)}
    assert len(archive.calls(None, 1000)) == 201
    archive.close()


def test_hashes_that_cannot_be_written_hide_no_call_and_stop_no_upkeep(store: Path) -> None:
    shutil.rmtree(store / "call-hours")
    (store / "call-hours").touch()
    archive = Archive(Lake(store), lambda: NOW)
    assert archive.lake is not None
    import_file(archive, str(capture(store.parent / "new.pcap", calls(["new"], 2))), "node", imported_at=NOW)
    Upkeep(archive.lake, Limits(100 * HOUR_NS), "node").round(NOW)
    assert len(archive.trace("new").messages) == 1 and len(archive.trace("long").messages) == 2
    archive.close()


def test_many_calls_are_told_from_many_others(tmp_path: Path) -> None:
    hours = CallHours(tmp_path)
    rand = random.Random(5)
    known = [f"{rand.getrandbits(64):016x}@192.0.2.1" for _ in range(30_000)]
    file = DataFile("messages", tmp_path / "one.parquet", 1, Slot("2026-01-05", 10))
    hours.note(file.path, pa.array(known))
    assert all(hours.hours([c], [file]) for c in known)
    strangers = [f"{rand.getrandbits(64):016x}@192.0.2.1" for _ in range(30_000)]
    assert sum(bool(hours.hours([c], [file])) for c in strangers) < 5


def test_hours_as_a_condition() -> None:
    assert conditions(None) == ("true",) and conditions(frozenset()) == ("false",)
    one, two = Slot("2026-01-05", 10), Slot("2026-01-06", 0)
    three = Slot("2026-01-05", 12)
    assert conditions(frozenset([three, two, one])) == (
        "(day = DATE '2026-01-05' AND hour IN (10, 12))",
        "(day = DATE '2026-01-06' AND hour IN (0))",
    )
