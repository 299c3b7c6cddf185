"""The store on disk: a DuckLake in one process (DuckDB catalogue, Parquet files).

It owns the tables, the one queue of writes (a lock: flush, retention and merging never overlap), and durability of
what it says is committed: DuckLake does not fsync Parquet files, so this does. It knows nothing of hot rows or SIP.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from index.parquet import write_partitions
from index.rollup import CALL_COLUMNS
from index.trace import Loss
from sip.errors import Unreachable

log = logging.getLogger(__name__)

SCHEMA_VERSION = 2
_MESSAGE_COLUMNS = (
    "day DATE, hour TINYINT, call_id VARCHAR, ts BIGINT, seq BIGINT, method VARCHAR, code SMALLINT, reason VARCHAR, "
    "cseq BIGINT, in_dialog BOOLEAN, from_user VARCHAR, to_user VARCHAR, ruri_user VARCHAR, user_agent VARCHAR, "
    "src_ip VARCHAR, src_port USMALLINT, dst_ip VARCHAR, dst_port USMALLINT, transport VARCHAR, interface VARCHAR, "
    "node VARCHAR, size INTEGER, flags INTEGER, ip_id INTEGER, codecs VARCHAR"
)
_FRAME_COLUMNS = (
    "day DATE, hour TINYINT, call_id VARCHAR, ts BIGINT, seq BIGINT, part SMALLINT, node VARCHAR, interface VARCHAR, "
    "link INTEGER, frame_ts BIGINT, original INTEGER, frame BLOB, payload_at INTEGER, payload_size INTEGER, "
    "payload BLOB"
)
TABLES = {
    "messages": _MESSAGE_COLUMNS,
    "frames": _FRAME_COLUMNS,
    "calls": ", ".join(f'"{name}" {kind}' for name, kind in CALL_COLUMNS.items()),
    "spooled": "segment VARCHAR, stamp BIGINT",
    "imported": "day DATE, hour TINYINT, stamp BIGINT",
    "counts": "stamp BIGINT, node VARCHAR, name VARCHAR, value BIGINT",
    "losses": "start BIGINT, stop BIGINT, node VARCHAR, interface VARCHAR, kind VARCHAR, lost BIGINT",
    "about": "name VARCHAR, value VARCHAR",
}
MIGRATIONS = {
    1: (
        f"CREATE TABLE IF NOT EXISTS lake.losses ({TABLES['losses']})",
        "ALTER TABLE lake.calls ADD COLUMN retransmissions BIGINT",
    ),
}
"""What makes a store of the following version out of one of this; rows written before have NULL in new columns."""
PARTITIONED = ("messages", "frames", "calls")


@dataclass(frozen=True, slots=True)
class Batch:
    """What one commit adds."""

    messages: pa.Table
    frames: pa.Table
    calls: pa.Table


class Lake:
    """An open store. `cursor()` gives each reader its own; writes go through `commit`, `retain` and `tidy`."""

    def __init__(self, folder: Path, memory: str = "512MB", threads: int = 2) -> None:
        self.folder = folder
        self._writes = threading.Lock()
        self._writer = ThreadPoolExecutor(1, "write-frames")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = open(folder / "lock", "w")  # noqa: SIM115
        except OSError as error:
            raise Unreachable(
                f"cannot open the store {folder}: {error.strerror}; choose another with --store"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise Unreachable(
                f"the store {folder} is open in another process (is `siptrail run` running? "
                "ask it with --url, or choose another folder with --store)"
            ) from error
        try:
            self._open(memory, threads)
        except BaseException:
            self._lock.close()
            raise

    def _open(self, memory: str, threads: int) -> None:
        temp = self.folder / "temp"
        catalogue, data = self.folder / "catalogue.duckdb", self.folder / "data"
        try:
            if catalogue.exists() and not catalogue.stat().st_size:
                catalogue.unlink()  # the disk was full when it was to be made, and nothing was ever in it
            data.mkdir(exist_ok=True)
            self.con = duckdb.connect(
                config={
                    "memory_limit": memory,
                    "threads": threads,
                    "temp_directory": str(temp),
                    "enable_external_file_cache": False,
                    "preserve_insertion_order": True,
                }
            )
            load_ducklake(self.con)
            self.con.execute(
                f"ATTACH {_quoted('ducklake:' + str(catalogue))} AS lake "
                f"(DATA_PATH {_quoted(str(data) + '/')}, OVERRIDE_DATA_PATH true, DATA_INLINING_ROW_LIMIT 0)"
            )
            have = {
                r[0]
                for r in self.con.execute(
                    "SELECT table_name FROM duckdb_tables() WHERE database_name = 'lake'"
                ).fetchall()
            }
            if "about" not in have:
                self._create()
            row = self.con.execute("SELECT value FROM lake.about WHERE name = 'schema'").fetchone()
        except (duckdb.Error, OSError) as error:
            raise Unreachable(f"cannot open the store {self.folder}: {_reason(error)}") from error
        if row is None or int(row[0]) > SCHEMA_VERSION:
            raise Unreachable(
                f"the store {self.folder} was written by a newer siptrail (schema {row and row[0]}, this one "
                f"knows {SCHEMA_VERSION}); upgrade siptrail or choose another folder with --store"
            )
        try:
            self._migrate(int(row[0]))
        except (duckdb.Error, OSError) as error:
            raise Unreachable(f"cannot bring the store {self.folder} up to date: {_reason(error)}") from error

    def _migrate(self, version: int) -> None:
        """Each step is one transaction with the number that it leads to: a stop in between is no harm."""
        for older in range(version, SCHEMA_VERSION):
            log.info("the store %s is brought from schema %d to %d", self.folder, older, older + 1)
            self.con.execute("BEGIN")
            for statement in MIGRATIONS[older]:
                self.con.execute(statement)
            self.con.execute("UPDATE lake.about SET value = ? WHERE name = 'schema'", [str(older + 1)])
            self.con.execute("COMMIT")

    def _create(self) -> None:
        con = self.con
        con.execute("BEGIN")
        for name, columns in TABLES.items():
            con.execute(f"CREATE TABLE lake.{name} ({columns})")
        for name in PARTITIONED:
            con.execute(f"ALTER TABLE lake.{name} SET PARTITIONED BY (day, hour)")
        con.execute("INSERT INTO lake.about VALUES ('schema', ?)", [str(SCHEMA_VERSION)])
        con.execute("COMMIT")
        con.execute("CALL lake.set_option('parquet_compression', 'zstd')")
        con.execute("CALL lake.set_option('parquet_compression_level', '3')")
        con.execute("CALL lake.set_option('parquet_row_group_size', '122880')")

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own for one reader."""
        return self.con.cursor()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One write at a time; a full disk is told in one line."""
        with self._writes:
            try:
                yield
            except (duckdb.Error, OSError) as error:
                if not _full(error):
                    raise
                raise Unreachable(f"cannot write the store {self.folder}: {_reason(error)}") from error

    def commit(
        self,
        batch: Batch,
        segments: Iterable[str],
        imported_at: int | None,
        publish: Callable[[Callable[[], None]], None],
    ) -> None:
        """Write a batch; `publish(do_commit)` makes it visible at the moment the caller drops its hot rows."""
        with self._writing():
            files: dict[str, list[Path]] = {}
            cur = self.con.cursor()
            try:
                place = self.folder / "data" / "main"
                wide = self._writer.submit(write_partitions, batch.frames, place / "frames")
                try:
                    files["messages"] = write_partitions(batch.messages, place / "messages")
                    files["calls"] = write_partitions(batch.calls, place / "calls")
                finally:
                    files["frames"] = wide.result()
                cur.execute("BEGIN")
                for name, paths in files.items():
                    for path in paths:
                        cur.execute(
                            f"CALL ducklake_add_data_files('lake', '{name}', {_quoted(str(path))}, "
                            "hive_partitioning => true)"
                        )
                for segment in segments:
                    cur.execute("INSERT INTO lake.spooled VALUES (?, ?)", [segment, imported_at or 0])
                if imported_at is not None:
                    cur.register("incoming", batch.calls)
                    cur.execute(
                        "INSERT INTO lake.imported SELECT DISTINCT day, hour, ?::BIGINT FROM incoming", [imported_at]
                    )
                    cur.unregister("incoming")
                publish(lambda: _run(cur, "COMMIT"))
            except BaseException:
                try:
                    cur.execute("ROLLBACK")
                except duckdb.Error:
                    log.debug("nothing to roll back")
                for path in (p for paths in files.values() for p in paths):
                    path.unlink(missing_ok=True)
                raise
            finally:
                cur.close()

    def spooled(self) -> set[str]:
        """Names of spool segments whose rows are committed."""
        with self._writes:
            return {r[0] for r in self.con.cursor().execute("SELECT segment FROM lake.spooled").fetchall()}

    def forget_spooled(self, segments: Iterable[str]) -> None:
        """These segments' files are gone: their names need not be remembered."""
        with self._writes:
            cur = self.con.cursor()
            for name in segments:
                cur.execute("DELETE FROM lake.spooled WHERE segment = ?", [name])

    def count(self, at: int, node: str, counts: dict[str, int]) -> None:
        """Add to the store's counters (packets, drops, …)."""
        changed = [(at, node, name, value) for name, value in counts.items() if value]
        if changed:
            with self._writing():
                self.con.cursor().executemany("INSERT INTO lake.counts VALUES (?, ?, ?, ?)", changed)

    def counts(self) -> dict[str, int]:
        """Sums of the store's counters."""
        rows = self.con.cursor().execute("SELECT name, sum(value)::BIGINT FROM lake.counts GROUP BY name").fetchall()
        return {name: int(value) for name, value in rows}

    def lose(self, node: str, losses: Iterable[Loss]) -> None:
        """Remember what was not seen, and when."""
        rows = [(x.start, x.end, node, x.interface, x.kind, x.count) for x in losses]
        if rows:
            with self._writing():
                self.con.cursor().executemany("INSERT INTO lake.losses VALUES (?, ?, ?, ?, ?, ?)", rows)

    def losses(self, start: int, end: int) -> tuple[Loss, ...]:
        """What was not seen between two times (ns), oldest first; 10,000 entries at most."""
        rows = self.con.cursor().execute(
            "SELECT interface, start, stop, lost, kind FROM lake.losses WHERE start <= ? AND stop >= ? "
            "ORDER BY start LIMIT 10000",
            [end, start],
        )
        return tuple(Loss(*row) for row in rows.fetchall())

    def retain(self, now: int, keep_ns: int) -> list[tuple[str, int, int]]:
        """Remove whole hours older than `keep_ns` (imported: since their import). Returns (day, hour, messages)."""
        with self._writes:
            cur = self.con.cursor()
            old = cur.execute(
                "SELECT day, hour, sum(messages)::BIGINT FROM lake.calls c "
                "WHERE (epoch_ns(day::TIMESTAMP) + (hour + 1) * 3600000000000::BIGINT) < ? "
                "AND NOT EXISTS (SELECT 1 FROM lake.imported i "
                "WHERE i.day = c.day AND i.hour = c.hour AND i.stamp >= ?) "
                "GROUP BY day, hour ORDER BY day, hour",
                [now - keep_ns, now - keep_ns],
            ).fetchall()
            for day, hour, _ in old:
                cur.execute("BEGIN")
                for name in PARTITIONED:
                    cur.execute(f"DELETE FROM lake.{name} WHERE day = ? AND hour = ?", [day, hour])
                cur.execute("DELETE FROM lake.imported WHERE day = ? AND hour = ?", [day, hour])
                cur.execute("COMMIT")
            if old:
                cur.execute("DELETE FROM lake.losses WHERE stop < ?", [now - keep_ns])
            return [(str(day), int(hour), int(n)) for day, hour, n in old]

    def tidy(self, now: int, grace_ns: int = 3_600_000_000_000) -> None:
        """Merge small files, forget snapshots older than the grace time and delete the files that none refers to."""
        limit = datetime.fromtimestamp((now - grace_ns) / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S+00")
        with self._writes:
            cur = self.con.cursor()
            cur.execute("CALL ducklake_merge_adjacent_files('lake')")
            cur.execute(f"CALL ducklake_expire_snapshots('lake', older_than => TIMESTAMPTZ '{limit}')")
            cur.execute(f"CALL ducklake_cleanup_old_files('lake', older_than => TIMESTAMPTZ '{limit}')")

    def size(self) -> int:
        """Bytes of the store on disk."""
        return sum(p.stat().st_size for p in self.folder.rglob("*") if p.is_file())

    def close(self) -> None:
        """Close the store and let others open it."""
        self._writer.shutdown()
        self.con.close()
        self._lock.close()


def load_ducklake(con: duckdb.DuckDBPyConnection) -> None:
    """Load the DuckLake extension that its wheel carries; nothing is downloaded where the wheel is installed."""
    try:
        import duckdb_extension_ducklake
    except ImportError:
        con.execute("INSTALL ducklake")
        con.execute("LOAD ducklake")
        return
    found = sorted(
        Path(duckdb_extension_ducklake.__file__).parent.glob(f"extensions/v{duckdb.__version__}/*.duckdb_extension")
    )
    if not found:
        raise Unreachable(
            f"the installed duckdb-extension-ducklake does not fit duckdb {duckdb.__version__}; "
            "install both in one version"
        )
    con.execute(f"LOAD {_quoted(str(found[0]))}")


def _run(cur: duckdb.DuckDBPyConnection, sql: str) -> None:
    cur.execute(sql)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _full(error: BaseException) -> bool:
    return getattr(error, "errno", None) == errno.ENOSPC or os.strerror(errno.ENOSPC) in str(error)


def _reason(error: BaseException) -> str:
    return "the disk is full; free some space, or choose another with --store" if _full(error) else _one_line(error)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
