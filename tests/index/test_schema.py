"""A store of an older layout is brought up to date, all or nothing; a newer one is refused and left alone."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from index import schema
from index.changes import Change
from index.extensions import carried, load_extension
from index.lake import Lake
from index.rollup import CALL_COLUMNS
from sip.errors import Unreachable
from tests.index.stored import START, call, listed, put

# What version 1 wrote, word for word; never to be changed.
VERSION_1 = {
    "messages": "day DATE, hour TINYINT, call_id VARCHAR, ts BIGINT, seq BIGINT, method VARCHAR, code SMALLINT, "
    "reason VARCHAR, cseq BIGINT, in_dialog BOOLEAN, from_user VARCHAR, to_user VARCHAR, ruri_user VARCHAR, "
    "user_agent VARCHAR, src_ip VARCHAR, src_port USMALLINT, dst_ip VARCHAR, dst_port USMALLINT, transport VARCHAR, "
    "interface VARCHAR, node VARCHAR, size INTEGER, flags INTEGER, ip_id INTEGER, codecs VARCHAR",
    "frames": "day DATE, hour TINYINT, call_id VARCHAR, ts BIGINT, seq BIGINT, part SMALLINT, node VARCHAR, "
    "interface VARCHAR, link INTEGER, frame_ts BIGINT, original INTEGER, frame BLOB, payload_at INTEGER, "
    "payload_size INTEGER, payload BLOB",
    "calls": ", ".join(f'"{name}" {kind}' for name, kind in CALL_COLUMNS.items() if name not in schema.LATER["calls"]),
    "spooled": "segment VARCHAR, stamp BIGINT",
    "imported": "day DATE, hour TINYINT, stamp BIGINT",
    "counts": "stamp BIGINT, node VARCHAR, name VARCHAR, value BIGINT",
    "losses": "start BIGINT, stop BIGINT, node VARCHAR, interface VARCHAR, kind VARCHAR, lost BIGINT",
    "about": "name VARCHAR, value VARCHAR",
}


def of_version_1(folder: Path, without: tuple[str, ...] = ()) -> Path:
    """A store as version 1 made it, with a few rows."""
    (folder / "data").mkdir(parents=True)
    con = duckdb.connect()
    load_extension(con, "ducklake")
    con.execute(f"ATTACH 'ducklake:{folder}/catalogue.duckdb' AS lake (DATA_PATH '{folder}/data/')")
    for name, columns in VERSION_1.items():
        if name not in without:
            con.execute(f"CREATE TABLE lake.{name} ({columns})")
    for name in ("messages", "frames", "calls"):
        con.execute(f"ALTER TABLE lake.{name} SET PARTITIONED BY (day, hour)")
    con.execute("INSERT INTO lake.about VALUES ('schema', '1')")
    con.execute("INSERT INTO lake.counts VALUES (1, 'node', 'packets', 7)")
    con.execute("INSERT INTO lake.messages (day, hour, call_id, ts, seq) VALUES ('2026-01-05', 9, 'old', 5, 6)")
    con.close()
    return folder


def test_only_what_pip_installed_is_loaded_unchecked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = "allow_unsigned_extensions", "autoinstall_known_extensions", "autoload_known_extensions"
    lake = Lake(tmp_path / "store")
    told = lake.con.execute(f"SELECT {', '.join(f'current_setting({name!r})' for name in names)}").fetchone()
    lake.close()
    assert told == (True, False, False)
    # Where it would come from the network, its signature is what speaks for it.
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert carried("ducklake") == {} and duckdb.connect().execute(
        "SELECT current_setting('allow_unsigned_extensions')"
    ).fetchone() == (False,)


@pytest.mark.parametrize("without", [(), ("losses",)])
def test_an_older_store_is_brought_up_to_date(tmp_path: Path, without: tuple[str, ...]) -> None:
    folder = of_version_1(tmp_path / "store", without)
    said: list[str] = []
    lake = Lake(folder, say=said.append)
    assert said == [
        "bringing the store up to date, step 1 of 4: a list of imported captures, and retransmissions of calls",
        "bringing the store up to date, step 2 of 4: a table of findings",
        "bringing the store up to date, step 3 of 4: asserted and diverting numbers, NAT tests, interface, who hung up",
        "bringing the store up to date, step 4 of 4: a table of packed frames",
        "the store is up to date",
    ]
    assert lake.counts() == {"packets": 7} and lake.losses(0, 10) == ()
    assert lake.cursor().execute("SELECT call_id FROM lake.messages").fetchall() == [("old",)]
    assert schema.tables_of(lake.cursor()) == set(schema.TABLES)
    lake.con.execute("DELETE FROM lake.messages")
    put(lake, tmp_path / "a.pcap", call("new", START))
    lake.close()
    again = Lake(folder, say=said.append)
    assert len(said) == 5, "once"
    assert listed(again) == ["new"]
    again.close()


def test_a_step_that_fails_leaves_the_old_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = of_version_1(tmp_path / "store")
    text, work = schema.STEPS[1]

    def half(change: Change) -> None:
        work(change)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setitem(schema.STEPS, 1, (text, half))
        with pytest.raises(Unreachable, match="disk is full"):
            Lake(folder)
    lake = Lake(folder)
    assert lake.counts() == {"packets": 7}
    lake.close()


def test_each_version_has_a_step_to_the_next() -> None:
    assert sorted(schema.STEPS) == list(range(1, schema.SCHEMA_VERSION))


@pytest.mark.parametrize("version", [str(schema.SCHEMA_VERSION + 1), "x"])
def test_a_newer_store_is_refused_in_one_line_and_left_alone(tmp_path: Path, version: str) -> None:
    first = Lake(tmp_path / "store")
    first.con.execute("UPDATE lake.about SET value = ? WHERE name = 'schema'", [version])
    first.close()
    for _ in range(2):
        with pytest.raises(Unreachable, match=f"written by a newer siptrail .schema {version}") as told:
            Lake(tmp_path / "store")
        assert "\n" not in str(told.value) and "--store" in str(told.value)


def test_a_store_may_be_moved(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "here")
    put(lake, tmp_path / "a.pcap", call("one", START))
    lake.close()
    (tmp_path / "here").rename(tmp_path / "there")
    moved = Lake(tmp_path / "there")
    put(moved, tmp_path / "b.pcap", call("two", START))
    assert listed(moved) == ["one", "two"] and not (tmp_path / "here").exists()
    moved.close()


def test_a_new_store_has_all_of_it_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = dict(schema._OPTIONS)
    with monkeypatch.context() as broken:
        # The last thing of all fails.
        broken.setitem(schema._OPTIONS, "no_such_option", "1")
        with pytest.raises((Unreachable, duckdb.Error)):
            Lake(tmp_path / "store").close()
    with duckdb.connect() as con:
        load_extension(con, "ducklake")
        con.execute(f"ATTACH 'ducklake:{tmp_path}/store/catalogue.duckdb' AS lake")
        assert not schema.tables_of(con)
    lake = Lake(tmp_path / "store")
    try:
        options = lake.con.execute("SELECT option_name, value FROM ducklake_options('lake')").fetchall()
    finally:
        lake.close()
    assert {name: value for name, value in options if name in wanted} == wanted
