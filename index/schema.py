"""The layout of the store: its tables, its version, and the steps that bring an older store up to date.

It owns what a version means. It opens nothing: whoever opens the store hands over a connection on which it is
attached as `lake`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import duckdb
import pyarrow as pa

from index.changes import Change
from index.rollup import CALL_COLUMNS
from index.rows import first_row
from sip.errors import Unreachable

SCHEMA_VERSION = 5
_MESSAGE_COLUMNS = (
    "day DATE, hour TINYINT, call_id VARCHAR, ts BIGINT, seq BIGINT, method VARCHAR, code SMALLINT, reason VARCHAR, "
    "cseq BIGINT, in_dialog BOOLEAN, from_user VARCHAR, to_user VARCHAR, ruri_user VARCHAR, user_agent VARCHAR, "
    "src_ip VARCHAR, src_port USMALLINT, dst_ip VARCHAR, dst_port USMALLINT, transport VARCHAR, interface VARCHAR, "
    "node VARCHAR, size INTEGER, flags INTEGER, ip_id INTEGER, codecs VARCHAR, "
    "pai VARCHAR, diversion VARCHAR, nat INTEGER"
)
_FRAME_COLUMNS = (
    "day DATE, hour TINYINT, call_id VARCHAR, ts BIGINT, seq BIGINT, part SMALLINT, node VARCHAR, interface VARCHAR, "
    "link INTEGER, frame_ts BIGINT, original INTEGER, frame BLOB, payload_at INTEGER, payload_size INTEGER, "
    "payload BLOB"
)
_PACKED_COLUMNS = (
    "day DATE, hour TINYINT, call_id VARCHAR, ts BIGINT, seq BIGINT, node VARCHAR, interface VARCHAR, link INTEGER, "
    "frames INTEGER, numbers BLOB, moves BLOB, text BLOB"
)
"""Frames of one call, from its first one's ts and seq on; index.packformat has what the blobs hold."""
_FINDING_COLUMNS = (
    "day DATE, hour TINYINT, call_id VARCHAR, start BIGINT, messages BIGINT, stamp BIGINT, rules VARCHAR, "
    "place SMALLINT, name VARCHAR, severity VARCHAR, record VARCHAR"
)
TABLES = {
    "messages": _MESSAGE_COLUMNS,
    "frames": _FRAME_COLUMNS,
    "calls": ", ".join(f'"{name}" {kind}' for name, kind in CALL_COLUMNS.items()),
    "findings": _FINDING_COLUMNS,
    "packed": _PACKED_COLUMNS,
    "spooled": "segment VARCHAR, stamp BIGINT",
    "imported": "day DATE, hour TINYINT, stamp BIGINT",
    "captures": "content VARCHAR, name VARCHAR, stamp BIGINT, messages BIGINT, first BIGINT, last BIGINT",
    "counts": "stamp BIGINT, node VARCHAR, name VARCHAR, value BIGINT",
    "losses": "start BIGINT, stop BIGINT, node VARCHAR, interface VARCHAR, kind VARCHAR, lost BIGINT",
    "about": "name VARCHAR, value VARCHAR",
}
PARTITIONED = ("messages", "frames", "calls", "findings", "packed")
"""Tables with one folder an hour; the others are small."""
SMALL = tuple(name for name in TABLES if name not in PARTITIONED)
NO_ROWS = {
    name: "SELECT " + ", ".join("NULL::{1} AS {0}".format(*c.split()) for c in columns.split(", ")) + " WHERE false"
    for name, columns in TABLES.items()
}
"""SQL of the tables' columns, without a row."""
_ARROW = {
    "DATE": pa.date32(),
    "TINYINT": pa.int8(),
    "SMALLINT": pa.int16(),
    "USMALLINT": pa.uint16(),
    "INTEGER": pa.int32(),
    "BIGINT": pa.int64(),
    "BOOLEAN": pa.bool_(),
    "VARCHAR": pa.string(),
    "BLOB": pa.binary(),
}
SHAPES = {
    name: pa.schema([(c.split()[0].strip('"'), _ARROW[c.split()[1]]) for c in columns.split(", ")])
    for name, columns in TABLES.items()
}
"""The tables as Arrow has them."""
IN_FILES = {
    name: pa.schema([field for field in SHAPES[name] if field.name not in ("day", "hour")]) for name in PARTITIONED
}
"""The same without the day and the hour, which are in the names of folders."""
_OPTIONS = {"parquet_compression": "zstd", "parquet_compression_level": "3", "parquet_row_group_size": "122880"}

LATER = {
    "messages": frozenset({"pai", "diversion", "nat"}),
    "calls": frozenset(
        {"retransmissions", "interface", "bye_ip", "bye_port", "pai_ts", "pai", "diversion_ts", "diversion", "nat"}
    ),
}
"""Columns that files of an older version do not have: they are null there."""

Say = Callable[[str], None]


def shaped(rows: pa.Table, shape: pa.Schema) -> pa.Table:
    """Rows of a file in the shape of their table; what its version did not have is null."""
    missing = [f for f in shape if f.name not in rows.column_names]
    for f in missing:
        rows = rows.append_column(f, pa.nulls(rows.num_rows, f.type))
    return rows.select(shape.names).cast(shape)


def small(table: str, rows: Iterable[tuple[Any, ...]]) -> pa.Table:
    """Rows of a small table."""
    shape = SHAPES[table]
    columns = list(zip(*rows, strict=True)) or [() for _ in shape]
    return pa.table([pa.array(list(c), f.type) for c, f in zip(columns, shape, strict=True)], schema=shape)


def create(change: Change) -> None:
    """All tables of this version, empty, and how DuckLake writes the few files that it writes itself."""
    for name in TABLES:
        create_table(change.cur, name)
    _set_version(change, SCHEMA_VERSION)
    for name, value in _OPTIONS.items():
        change.cur.execute(f"CALL lake.set_option('{name}', '{value}')")


def create_table(cur: duckdb.DuckDBPyConnection, name: str) -> None:
    """One table as this version has it."""
    cur.execute(f"CREATE TABLE lake.{name} ({TABLES[name]})")
    if name in PARTITIONED:
        cur.execute(f"ALTER TABLE lake.{name} SET PARTITIONED BY (day, hour)")


def tables_of(cur: duckdb.DuckDBPyConnection) -> set[str]:
    """The tables that are there."""
    rows = cur.execute("SELECT table_name FROM duckdb_tables() WHERE database_name = 'lake'").fetchall()
    return {r[0] for r in rows}


def version_of(cur: duckdb.DuckDBPyConnection, called: str) -> int:
    """The layout that the store has; a newer one than ours is refused."""
    row = first_row(cur.execute("SELECT value FROM lake.about WHERE name = 'schema'"))
    if row is None or not str(row[0]).isdigit() or int(row[0]) > SCHEMA_VERSION:
        raise Unreachable(
            f"{called} was written by a newer siptrail (schema {row and row[0]}, this one "
            f"knows {SCHEMA_VERSION}); upgrade siptrail or choose another folder with --store"
        )
    return int(row[0])


def migrate(change: Change, version: int, say: Say) -> None:
    """Bring a store of an older version up to date, all steps in one transaction: it is either old or new."""
    for step in range(version, SCHEMA_VERSION):
        text, work = STEPS[step]
        say(f"bringing the store up to date, step {step} of {SCHEMA_VERSION - 1}: {text}")
        work(change)
    _set_version(change, SCHEMA_VERSION)


def _set_version(change: Change, version: int) -> None:
    change.delete("about", "name = 'schema'")
    change.append("about", small("about", [("schema", str(version))]))


def _with_captures_and_retransmissions(change: Change) -> None:
    have = tables_of(change.cur)
    for name in ("losses", "captures"):  # early stores of version 1 have no table of losses
        if name not in have:
            create_table(change.cur, name)
    change.cur.execute("ALTER TABLE lake.calls ADD COLUMN retransmissions BIGINT")


def _with_findings(change: Change) -> None:
    create_table(change.cur, "findings")


def _with_numbers_and_nat(change: Change) -> None:
    for table, columns in (("messages", MESSAGE_COLUMNS_OF_4), ("calls", CALL_COLUMNS_OF_4)):
        for name, kind in columns.items():
            change.cur.execute(f"ALTER TABLE lake.{table} ADD COLUMN {name} {kind}")


def _with_packed_frames(change: Change) -> None:
    create_table(change.cur, "packed")


MESSAGE_COLUMNS_OF_4 = {"pai": "VARCHAR", "diversion": "VARCHAR", "nat": "INTEGER"}
CALL_COLUMNS_OF_4 = {
    "interface": "VARCHAR",
    "bye_ip": "VARCHAR",
    "bye_port": "USMALLINT",
    "pai_ts": "BIGINT",
    "pai": "VARCHAR",
    "diversion_ts": "BIGINT",
    "diversion": "VARCHAR",
    "nat": "INTEGER",
}
"""Never to be changed: what stores of version 3 lack."""

STEPS: dict[int, tuple[str, Callable[[Change], None]]] = {
    1: ("a list of imported captures, and retransmissions of calls", _with_captures_and_retransmissions),
    2: ("a table of findings", _with_findings),
    3: ("asserted and diverting numbers, NAT tests, interface, who hung up", _with_numbers_and_nat),
    4: ("a table of packed frames", _with_packed_frames),
}
"""What makes the next version of this one."""
