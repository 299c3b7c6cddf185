"""The same capture twice is in the store once, unless told otherwise; its content counts, not its name."""

from __future__ import annotations

import errno
import gzip
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from index import lake as lake_module
from index.archive import Archive
from index.captures import Known, content_of, import_once
from index.check import check
from index.columns import HOUR_NS
from index.importing import Beside, ImportResult, NotStored, import_file
from index.lake import Lake
from index.retention import Limits
from index.upkeep import Upkeep
from tests.index.stored import START, call, capture


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(Lake(tmp_path / "store"), lambda: START)


def bring(archive: Archive, path: Path, again: bool = False) -> ImportResult | Known:
    def work(now: int, beside: Beside) -> ImportResult:
        return import_file(archive, str(path), "node", imported_at=now, beside=beside)

    return import_once(archive, str(path), again, work)


def counted(archive: Archive) -> dict[str, int]:
    return {c.call_id: c.messages for c in archive.calls(None, 100)}


def test_the_same_content_is_left_out_whatever_its_name(archive: Archive, tmp_path: Path) -> None:
    path = capture(tmp_path / "a.pcap", call("one", START))
    first = bring(archive, path)
    assert isinstance(first, ImportResult) and first.messages == 3
    packed = tmp_path / "b.pcap.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for same in (path, Path(shutil.copy(path, tmp_path / "c.pcap")), packed):
        found = bring(archive, same)
        assert isinstance(found, Known) and (found.name, found.messages) == ("a.pcap", 3)
        assert abs(time.time_ns() - found.stamp) < HOUR_NS
    assert counted(archive) == {"one": 3}
    other = bring(archive, capture(tmp_path / "a.pcap", call("one", START), call("two", START)))
    assert isinstance(other, ImportResult), "the name is the same, the content is not"
    archive.close()


def test_again_means_again(archive: Archive, tmp_path: Path) -> None:
    path = capture(tmp_path / "a.pcap", call("one", START))
    bring(archive, path)
    assert isinstance(bring(archive, path, again=True), ImportResult)
    assert counted(archive) == {"one": 6}
    archive.close()


def test_what_retention_took_may_be_imported_again(archive: Archive, tmp_path: Path) -> None:
    path = capture(tmp_path / "a.pcap", call("one", START), call("two", START + 3 * HOUR_NS))
    bring(archive, path)
    assert archive.lake is not None
    upkeep = Upkeep(archive.lake, Limits(HOUR_NS), "node")
    upkeep.retain(time.time_ns())
    assert isinstance(bring(archive, path), Known)
    upkeep.retain(time.time_ns() + 2 * HOUR_NS)
    assert counted(archive) == {}
    assert isinstance(bring(archive, path), ImportResult) and counted(archive) == {"one": 3, "two": 3}
    archive.close()


def test_an_import_that_failed_is_not_remembered(archive: Archive, tmp_path: Path) -> None:
    path = capture(tmp_path / "a.pcap", call("one", START))

    def fails(now: int, beside: Beside) -> ImportResult:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk is full"):
        import_once(archive, str(path), False, fails)
    assert isinstance(bring(archive, path), ImportResult)
    archive.close()


def test_contents(tmp_path: Path) -> None:
    path = capture(tmp_path / "a.pcap", call("one", START))
    packed = tmp_path / "cut.gz"
    packed.write_bytes(gzip.compress(path.read_bytes())[:-30])
    assert content_of(str(packed)) not in (None, content_of(str(path))), "a damaged one is not the whole one"
    assert content_of("-") is content_of(str(tmp_path)) is content_of(str(tmp_path / "missing")) is None


def test_an_import_that_cannot_be_shown_leaves_nothing_and_says_why(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full at the very end, and has room again a moment later."""
    path = capture(tmp_path / "a.pcap", call("one", START))
    write_small, full = lake_module.write_small, [OSError(errno.ENOSPC, "No space left on device")]

    def once(*arguments: Any) -> Path:
        if full:
            raise full.pop()
        return write_small(*arguments)

    monkeypatch.setattr(lake_module, "write_small", once)
    with pytest.raises(NotStored, match="disk is full"):
        bring(archive, path)
    assert archive.lake is not None and counted(archive) == {}
    assert check(archive.lake, deep=True).faults == ()
    assert not list((tmp_path / "store" / "data" / "main" / "messages").rglob("*.parquet"))
    assert isinstance(bring(archive, path), ImportResult) and counted(archive) == {"one": 3}


def test_that_it_is_known_is_stored_with_its_last_messages_or_not_at_all(archive: Archive, tmp_path: Path) -> None:
    """Else a crash between the two would bring the messages in once more the next time."""
    path = capture(tmp_path / "a.pcap", call("one", START))
    lake = archive.lake
    assert lake is not None

    def snapshots() -> int:
        with lake.reading() as cur:
            return len(cur.execute("SELECT * FROM ducklake_snapshots('lake')").fetchall())

    before = snapshots()
    bring(archive, path)
    assert snapshots() == before + 1
    assert isinstance(bring(archive, path), Known)


def test_what_goes_beside_a_file_without_sip_is_stored_too(archive: Archive, tmp_path: Path) -> None:
    path = capture(tmp_path / "a.pcap", [(START, b"no SIP at all")])
    asked = []

    def beside(result: ImportResult) -> dict[str, Any]:
        asked.append(result.counters.packets)
        return {"counts": lake_module.counted(START, "node", {"packets": result.counters.packets})}

    import_file(archive, str(path), "node", imported_at=START, beside=beside)
    assert asked == [1], "once, when all is read"
    assert archive.lake is not None and archive.lake.counts() == {"packets": 1}
