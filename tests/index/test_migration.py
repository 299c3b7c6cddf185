"""Stores that earlier versions wrote are brought up to date when they are opened."""

from __future__ import annotations

import tarfile
import time
from pathlib import Path

import pytest

from index.archive import Archive
from index.check import check
from index.columns import HOUR_NS
from index.compaction import compact_all
from index.importing import import_file
from index.lake import Lake
from index.rebuild import rebuild
from index.schema import SCHEMA_VERSION
from index.sorting import sort_files

FIXTURES = Path(__file__).parents[2] / "fixtures"
STORES = sorted((FIXTURES / "stores").glob("*.tar.gz"))
NOW = 1_780_000_000_000_000_000


def test_there_is_a_store_of_every_earlier_version() -> None:
    assert [s.name for s in STORES] == [f"schema-{n}.tar.gz" for n in range(1, SCHEMA_VERSION)]


@pytest.mark.parametrize("packed", STORES, ids=[s.name.partition(".")[0] for s in STORES])
def test_an_older_store_is_read_and_goes_on(packed: Path, tmp_path: Path) -> None:
    with tarfile.open(packed) as tar:
        tar.extractall(tmp_path, filter="data")
    archive = Archive(Lake(tmp_path), lambda: NOW)
    (call,) = archive.calls(None, 10)
    counted = 0 if packed.name == "schema-1.tar.gz" else 5  # version 1 did not count retransmissions
    assert (call.messages, call.retransmissions, call.state) == (12, counted, "completed")
    assert len(archive.trace(call.call_id).messages) == 12
    import_file(archive, str(FIXTURES / "pcaps" / "retransmissions.pcap"), "again")
    (call,) = archive.calls(None, 10)
    assert (call.messages, call.retransmissions) == (24, counted + 5)
    for table in ("messages", "calls"):
        old = sorted((tmp_path / "data" / "main" / table).rglob("*.parquet"))
        assert sort_files(table, old, tmp_path / "sorted", tmp_path / "temp").rows >= 2
    archive.close()
    again = Archive(Lake(tmp_path), lambda: NOW)
    (same,) = again.calls(None, 10)
    assert (same.messages, same.retransmissions) == (24, counted + 5)
    again.close()


@pytest.mark.parametrize("packed", STORES, ids=[s.name.partition(".")[0] for s in STORES])
def test_files_of_an_older_version_are_whole_and_put_in_order_with_new_ones(packed: Path, tmp_path: Path) -> None:
    with tarfile.open(packed) as tar:
        tar.extractall(tmp_path, filter="data")
    lake = Lake(tmp_path)
    archive = Archive(lake, lambda: NOW)
    assert check(lake, deep=True).faults == (), "fewer columns are no damage"
    import_file(archive, str(FIXTURES / "pcaps" / "retransmissions.pcap"), "again")
    (before,) = archive.calls(None, 10)
    assert compact_all(lake, time.time_ns() + 2 * HOUR_NS) >= 3
    (after,) = archive.calls(None, 10)
    # Both captures have the first message: either node may be said to be the first.
    assert (
        after.to_json() | {"node": ""} == before.to_json() | {"node": ""}
        and len(archive.trace(before.call_id).messages) == 12
    )
    assert check(lake, deep=True).faults == ()
    archive.close()


@pytest.mark.parametrize("packed", STORES, ids=[s.name.partition(".")[0] for s in STORES])
def test_a_catalogue_is_made_of_the_files_of_an_older_version(packed: Path, tmp_path: Path) -> None:
    with tarfile.open(packed) as tar:
        tar.extractall(tmp_path, filter="data")
    said = rebuild(tmp_path)
    assert said.aside == []
    archive = Archive(Lake(tmp_path), lambda: NOW)
    (call,) = archive.calls(None, 10)
    assert call.messages == 12 and len(archive.trace(call.call_id).messages) == 12
    archive.close()
