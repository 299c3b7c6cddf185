"""Stores that earlier versions wrote are brought up to date when they are opened."""

from __future__ import annotations

import tarfile
from pathlib import Path

import duckdb
import pytest

from index.archive import Archive
from index.importing import import_file
from index.lake import SCHEMA_VERSION, Lake, load_ducklake

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
    assert (call.messages, call.retransmissions, call.state) == (12, 0, "completed")
    assert len(archive.trace(call.call_id).messages) == 12
    import_file(archive, str(FIXTURES / "pcaps" / "retransmissions.pcap"), "again")
    (call,) = archive.calls(None, 10)
    assert (call.messages, call.retransmissions) == (24, 5)
    archive.close()
    again = Archive(Lake(tmp_path), lambda: NOW)
    (same,) = again.calls(None, 10)
    assert (same.messages, same.retransmissions) == (24, 5)
    again.close()


def test_a_step_that_fails_leaves_the_older_store(tmp_path: Path) -> None:
    with tarfile.open(STORES[0]) as tar:
        tar.extractall(tmp_path, filter="data")
    version = "SELECT value FROM lake.about WHERE name = 'schema'"
    with duckdb.connect() as con:
        load_ducklake(con)
        con.execute(f"ATTACH 'ducklake:{tmp_path}/catalogue.duckdb' AS lake (DATA_PATH '{tmp_path}/data/', "
                    "OVERRIDE_DATA_PATH true)")  # fmt: skip
        # Somebody's own column stands in the way.
        con.execute("ALTER TABLE lake.calls ADD COLUMN retransmissions VARCHAR")
    with pytest.raises(Exception, match=r"cannot bring the store .* up to date"):
        Lake(tmp_path)
    with duckdb.connect() as con:
        load_ducklake(con)
        con.execute(f"ATTACH 'ducklake:{tmp_path}/catalogue.duckdb' AS lake (DATA_PATH '{tmp_path}/data/', "
                    "OVERRIDE_DATA_PATH true)")  # fmt: skip
        assert con.execute(version).fetchall() == [("1",)]
