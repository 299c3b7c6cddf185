"""The store on disk: a DuckLake in one process (DuckDB catalogue, Parquet files).

It owns the tables, the one queue of writes (a lock: flush, retention and merging never overlap), and durability of
what it says is committed: DuckLake does not fsync Parquet files, so this does. It knows nothing of hot rows or SIP.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import duckdb
import pyarrow as pa

from index import schema
from index.changes import Change, quoted
from index.parquet import write_partitions
from index.trace import Loss
from sip.errors import Unreachable

log = logging.getLogger(__name__)

REBUILDING = "rebuilding"
"""A file of this name: the catalogue is being made anew and is not whole yet."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one commit adds."""

    messages: pa.Table
    frames: pa.Table
    calls: pa.Table


class Lake:
    """An open store. `cursor()` gives each reader its own; writes go through `commit` and `change`, one at a time."""

    def __init__(
        self,
        folder: Path,
        memory: str = "512MB",
        threads: int = 2,
        say: Callable[[str], None] = log.info,
        rebuilding: bool = False,
    ) -> None:
        self.folder = folder
        self._say = say
        self._writes = threading.Lock()
        self._writer = ThreadPoolExecutor(1, "write-frames")
        self._lock = lock_store(folder)
        try:
            if (folder / REBUILDING).exists() and not rebuilding:
                raise Unreachable(f"rebuilding the store {folder} was cut short: run `siptrail store rebuild` again")
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
            shutil.rmtree(temp, ignore_errors=True)  # what a crash left there is of no use
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
                f"ATTACH {quoted('ducklake:' + str(catalogue))} AS lake "
                f"(DATA_PATH {quoted(str(data) + '/')}, OVERRIDE_DATA_PATH true, DATA_INLINING_ROW_LIMIT 0)"
            )
            self._up_to_date()
        except (duckdb.Error, OSError) as error:
            if isinstance(error, duckdb.Error) and not _full(error) and os.access(catalogue, os.W_OK):
                raise Unreachable(
                    f"cannot open the store {self.folder}: {_reason(error)}; "
                    "`siptrail store rebuild` makes a new catalogue from its files"
                ) from error
            raise Unreachable(f"cannot open the store {self.folder}: {_reason(error)}") from error

    def _up_to_date(self) -> None:
        cur = self.con.cursor()
        have = schema.tables_of(cur)
        if "about" not in have:
            with self.change() as change:
                schema.create(change)
            schema.set_options(cur)
            return
        version = schema.version_of(cur, self.folder)
        if version < schema.SCHEMA_VERSION:
            with self.change() as change:
                schema.migrate(change, version, self._say)
            self._say("the store is up to date")

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own for one reader."""
        return self.con.cursor()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One write at a time; a full disk is told in one line."""
        with self._writes:
            try:
                yield
            except (duckdb.Error, OSError) as error:
                if not _full(error):
                    raise
                raise Unreachable(f"cannot write the store {self.folder}: {_reason(error)}") from error

    @contextmanager
    def change(self) -> Iterator[Change]:
        """One transaction, committed at the end of the block unless the block has done so; undone if it fails."""
        with self.writing():
            cur = self.con.cursor()
            change = Change(cur, self.folder / "data")
            try:
                yield change
                change.commit()
            except BaseException:
                change.undo()
                raise
            finally:
                cur.close()

    def commit(
        self,
        batch: Batch,
        segments: Iterable[str],
        imported_at: int | None,
        publish: Callable[[Callable[[], None]], None],
    ) -> None:
        """Write a batch; `publish(do_commit)` makes it visible at the moment the caller drops its hot rows."""
        with self.change() as change:
            place = self.folder / "data" / "main"
            wide = self._writer.submit(write_partitions, batch.frames, place / "frames")
            files: dict[str, list[Path]] = {}
            try:
                files["messages"] = write_partitions(batch.messages, place / "messages")
                change.own(files["messages"])
                files["calls"] = write_partitions(batch.calls, place / "calls")
                change.own(files["calls"])
            finally:
                files["frames"] = wide.result()
                change.own(files["frames"])
            for name, paths in files.items():
                change.add(name, paths)
            names = list(segments)
            change.append("spooled", schema.small("spooled", [(name, imported_at or 0) for name in names]))
            if imported_at is not None:
                hours = batch.calls.select(["day", "hour"]).group_by(["day", "hour"]).aggregate([])
                stamps = pa.repeat(pa.scalar(imported_at, pa.int64()), hours.num_rows)
                change.append("imported", hours.append_column("stamp", stamps))
            publish(change.commit)

    def spooled(self) -> set[str]:
        """Names of spool segments whose rows are committed."""
        with self._writes:
            return {r[0] for r in self.con.cursor().execute("SELECT segment FROM lake.spooled").fetchall()}

    def forget_spooled(self, segments: Iterable[str]) -> None:
        """These segments' files are gone: their names need not be remembered."""
        names = list(segments)
        if names:
            with self.change() as change:
                change.delete("spooled", "segment IN (SELECT unnest(?))", [names])

    def count(self, at: int, node: str, counts: Mapping[str, int]) -> None:
        """Add to the store's counters (packets, drops, …)."""
        if any(counts.values()):
            with self.change() as change:
                change.append("counts", counted(at, node, counts))

    def counts(self) -> dict[str, int]:
        """Sums of the store's counters."""
        rows = self.con.cursor().execute("SELECT name, sum(value)::BIGINT FROM lake.counts GROUP BY name").fetchall()
        return {name: int(value) for name, value in rows}

    def lose(self, node: str, losses: Iterable[Loss]) -> None:
        """Remember what was not seen, and when."""
        rows = [(x.start, x.end, node, x.interface, x.kind, x.count) for x in losses]
        if rows:
            with self.change() as change:
                change.append("losses", schema.small("losses", rows))

    def losses(self, start: int, end: int) -> tuple[Loss, ...]:
        """What was not seen between two times (ns), oldest first; 10,000 entries at most."""
        rows = self.con.cursor().execute(
            "SELECT interface, start, stop, lost, kind FROM lake.losses WHERE start <= ? AND stop >= ? "
            "ORDER BY start LIMIT 10000",
            [end, start],
        )
        return tuple(Loss(*row) for row in rows.fetchall())

    def size(self) -> int:
        """Bytes of the store on disk."""
        return _size(self.folder)

    def size_beside_data(self) -> int:
        """The same without the Parquet files: catalogue and spool."""
        return sum(_size(p) for p in self.folder.iterdir() if p.name != "data")

    def close(self) -> None:
        """Close the store and let others open it."""
        self._writer.shutdown()
        self.con.close()
        self._lock.close()


def lock_store(folder: Path) -> TextIO:
    """The right to be the only one who has the store open; it ends when the file is closed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / "lock", "w")  # noqa: SIM115
    except OSError as error:
        raise Unreachable(f"cannot open the store {folder}: {error.strerror}; choose another with --store") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise Unreachable(
            f"the store {folder} is open in another process (is `siptrail run` running? "
            "ask it with --url, or choose another folder with --store)"
        ) from error
    return lock


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
    con.execute(f"LOAD {quoted(str(found[0]))}")


def _size(place: Path) -> int:
    total = 0
    for path in (place, *place.rglob("*")):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue  # it went meanwhile
    return total


def counted(at: int, node: str, counts: Mapping[str, int]) -> pa.Table:
    """Counters that have moved as rows of `counts`."""
    return schema.small("counts", [(at, node, name, value) for name, value in counts.items() if value])


def _full(error: BaseException) -> bool:
    return getattr(error, "errno", None) == errno.ENOSPC or os.strerror(errno.ENOSPC) in str(error)


def _reason(error: BaseException) -> str:
    return "the disk is full; free some space, or choose another with --store" if _full(error) else _one_line(error)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
