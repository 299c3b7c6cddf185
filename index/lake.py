"""The store: a DuckLake of one machine (DuckDB catalogue, Parquet files), or one that several share.

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
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import duckdb
import pyarrow as pa

from index import schema
from index.call_hours import CallHours
from index.catalogue import Away, Catalogue, CatalogueFile, PostgresCatalogue, stopped
from index.changes import Change, write_small
from index.columns import DAY_NS
from index.hours import DataFile, Slot, data_files, slot_of
from index.parquet import write_partitions
from index.place import Folder, Objects, Place
from index.rows import first_row
from index.shared import Shared
from index.trace import Loss
from sip.errors import SiptrailError, Unreachable

log = logging.getLogger(__name__)

CATALOGUE = "catalogue.duckdb"
REBUILDING = "rebuilding"
READ = ("messages", "frames", "packed", "calls", "losses")
"""The tables whose files are known to readers."""
PATTERN = frozenset("*?[]{}")
"""In the name of a file these stand for others."""
"""A file of this name: the catalogue is being made anew and is not whole yet."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one commit adds."""

    messages: pa.Table
    frames: pa.Table
    calls: pa.Table


@dataclass(frozen=True, slots=True)
class Written:
    """The files of a batch, in their place and synced; no reader sees them before `publish`."""

    files: Mapping[str, list[Path]]
    messages: int
    hours: pa.Table
    """Each day and hour that has rows in it."""


class Lake:
    """An open store. `cursor()` gives each reader its own; writes go through `commit` and `change`, one at a time.

    `folder` is this machine's: the whole store or, where that is `shared`, the lock, the spool, what is on its way."""

    def __init__(
        self,
        folder: Path,
        memory: str = "512MB",
        threads: int = 2,
        say: Callable[[str], None] = log.info,
        rebuilding: bool = False,
        shared: Shared | None = None,
        node: str = "",
        patient: bool = False,
    ) -> None:
        """`patient`: a shared store that cannot be reached is opened later, by the first write after it is back."""
        self.folder = folder
        self.shared = shared is not None
        self.read_only = shared is not None and shared.read_only
        self._say = say
        self._writes = threading.Lock()
        self._writer = ThreadPoolExecutor(1, "write-frames")
        self.call_hours = CallHours(folder / "call-hours")
        self._named: tuple[int, dict[str, list[DataFile]]] | None = None
        """A snapshot, and the files of some tables in it."""
        self._lock = lock_store(folder)
        try:
            if (folder / REBUILDING).exists() and not rebuilding:
                raise Unreachable(f"rebuilding the store {folder} was cut short: run `siptrail store rebuild` again")
            if shared is not None and (folder / CATALOGUE).exists():
                raise Unreachable(f"{folder} is a store of its own; choose another folder with --store for this node")
            self.called = f"the store {folder}" if shared is None else "the shared store"
            self._mark = "" if shared is None else f"{_identity(folder)}/"
            """Spool segments of this machine among those of others."""
            self.catalogue, self.place = _parts(folder, shared, node)
            self._away: Unreachable | None = None
            """Why a shared store is not open yet."""
            self._opening = threading.Lock()
            self._broken = False
            """The database engine stopped: whoever writes next opens the store again."""
            self._open(memory, threads, patient and self.shared and not self.read_only)
        except BaseException:
            self._lock.close()
            raise

    def _open(self, memory: str, threads: int, patient: bool) -> None:
        temp = self.folder / "temp"
        try:
            shutil.rmtree(temp, ignore_errors=True)  # what a crash left there is of no use
            self._config: dict[str, str | bool | int | float | list[str]] = {
                "memory_limit": memory,
                "threads": threads,
                "temp_directory": str(temp),
                "enable_external_file_cache": self.place.remote,
                "preserve_insertion_order": True,
                # What a query took goes back to the machine after it, not once it was a lot.
                "allocator_flush_threshold": "1MB",
                "allocator_bulk_deallocation_flush_threshold": "1MB",
            }
            self.con = duckdb.connect(config=self._config)
            self.place.prepare(self.con)
            self._attach()
        except (duckdb.Error, OSError) as error:
            local = self.folder / CATALOGUE
            if isinstance(error, duckdb.Error) and not self.shared and not _full(error) and os.access(local, os.W_OK):
                raise Unreachable(
                    f"cannot open {self.called}: {self._reason(error)}; "
                    "`siptrail store rebuild` makes a new catalogue from its files"
                ) from error
            told = Unreachable(f"cannot open {self.called}: {self._reason(error)}")
            if not patient or not isinstance(error, OSError):
                raise told from error
            self._away = told  # the object store is
        except Away as error:
            if not patient:
                raise
            self._away = error
        if self._away is not None:
            self._say(f"{self._away}; what is recorded waits in the spool until it can be")

    def _attach(self) -> None:
        with self.catalogue.changing() if not self.read_only else nullcontext():
            if not first_row(self.con.execute("SELECT 1 FROM duckdb_databases() WHERE database_name = 'lake'")):
                self.catalogue.attach(self.con, self.place.root, self.read_only)
            self._up_to_date()

    @property
    def away(self) -> Unreachable | None:
        """Why the store could not be opened yet; None: it is open."""
        return self._away

    def reopen(self) -> None:
        """Open it now if it could not be opened before, or if the database engine has stopped; a one-line error where
        that cannot be done yet."""
        with self._opening:
            if self._away is None and not self._broken:
                return
            try:
                if self._broken:
                    self._let_go()
                self._attach()
            except (duckdb.Error, OSError) as error:
                raise Unreachable(f"cannot open {self.called}: {self._reason(error)}") from error
            self._away, self._broken = None, False
            self._say(f"{self.called} is open")

    def _let_go(self) -> None:
        """Of a catalogue that answers nothing any more, or of the engine that does not."""
        try:
            self.con.execute("DETACH DATABASE IF EXISTS lake")
        except duckdb.Error as error:
            log.debug("a new engine is needed: %s", error)
            with suppress(duckdb.Error):
                self.con.close()
            self.con = duckdb.connect(config=self._config)
            self.place.prepare(self.con)

    def note(self, error: BaseException) -> None:
        """Some errors end the database engine: after them it answers nothing but that."""
        if stopped(error) and not self._broken:
            self._broken = True
            log.error("the database engine stopped (%s); the store is opened again", self._reason(error))

    def _up_to_date(self) -> None:
        cur = self.con.cursor()
        have = schema.tables_of(cur)
        if "about" not in have:
            if self.read_only:
                raise Unreachable(f"{self.called} is empty; start a node that records first")
            store = str(uuid.uuid4()) if self.shared else ""
            if store and self.place.owner() is not None:
                raise Unreachable(f"{self.place.root} belongs to another catalogue; choose another place for data")
            with self.writing(), self._transaction() as change:
                schema.create(change)
                if store:
                    change.append("about", schema.small("about", [("store", store)]))
            if store:
                self.place.take(store)
            schema.set_options(cur)
            return
        if self.shared:
            # What this catalogue does not name would go with the orphans: it must be the right one.
            owner = self.place.owner()  # an OSError where the place itself cannot be reached
            try:
                named = first_row(cur.execute("SELECT value FROM lake.about WHERE name = 'store'"))
            except duckdb.Error as error:
                raise Unreachable(
                    f"{self.place.root} does not belong to this catalogue, or cannot be reached; check catalogue and "
                    f"data: {self._reason(error)}"
                ) from error
            if named is not None and owner is None and not self.read_only:
                self.place.take(named[0])
            elif named is None or owner != named[0]:
                raise Unreachable(f"{self.place.root} does not belong to this catalogue; check catalogue and data")
        version = schema.version_of(cur, self.called)
        if version < schema.SCHEMA_VERSION:
            if self.read_only:
                raise Unreachable(f"{self.called} is of an older siptrail; start a node that records first")
            with self.writing(), self._transaction() as change:
                schema.migrate(change, version, self._say)
            self._say("the store is up to date")

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor for questions about the store itself; a shared store out of reach is told in one line."""
        if self._away is not None:
            raise self._away
        cur = self.con.cursor()
        try:
            yield cur
        except duckdb.Error as error:
            self.note(error)
            if not self.shared:
                raise
            raise Unreachable(f"{self.called} cannot be read: {self._reason(error)}") from error
        finally:
            cur.close()

    def must_write(self) -> None:
        """A one-line error where this machine only reads."""
        if self.read_only:
            raise SiptrailError(f"this node only reads {self.called}; ask one that records")

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own for one reader."""
        return self.con.cursor()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One write at a time; a full disk is told in one line."""
        with self._told(), self._writes:
            yield

    @contextmanager
    def _told(self) -> Iterator[None]:
        self.must_write()
        try:
            yield
        except (duckdb.Error, OSError) as error:
            self.note(error)
            if not _full(error) and not self.shared:
                raise
            raise Unreachable(f"cannot write {self.called}: {self._reason(error)}") from error

    @contextmanager
    def change(self) -> Iterator[Change]:
        """One transaction, committed at the end of the block unless the block has done so; undone if it fails."""
        self.reopen()
        with self.writing(), self.catalogue.changing(), self._transaction() as change:
            yield change

    @contextmanager
    def _transaction(self) -> Iterator[Change]:
        cur = self.con.cursor()
        try:
            change = Change(cur, self.place, self.shared)
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
        moment: Callable[[Callable[[], None]], None],
    ) -> None:
        """Write a batch; `moment(do_commit)` makes it visible at the moment the caller drops its hot rows."""
        self.reopen()
        self.publish([self.write(batch)], segments, imported_at, moment)

    def write(self, batch: Batch) -> Written:
        """The files of a batch in their place, for one `publish` later on."""
        with self._told():
            files: dict[str, list[Path]] = {}
            try:
                wide = self._writer.submit(write_partitions, batch.frames, self.folder_of("frames"))
                try:
                    files["messages"] = write_partitions(batch.messages, self.folder_of("messages"))
                    self._note(files["messages"], batch.messages)
                    files["calls"] = write_partitions(batch.calls, self.folder_of("calls"))
                finally:
                    files["frames"] = wide.result()
                self.place.put(path for paths in files.values() for path in paths)
            except BaseException:
                self._remove(files)
                raise
        hours = batch.calls.select(["day", "hour"]).group_by(["day", "hour"]).aggregate([])
        return Written(files, batch.messages.num_rows, hours)

    def publish(
        self,
        written: Sequence[Written],
        segments: Iterable[str],
        imported_at: int | None,
        moment: Callable[[Callable[[], None]], None],
    ) -> None:
        """Let readers see what was written, all of it at once, by `moment(do_commit)`; where that fails, none of it
        stays."""
        files: dict[str, list[Path]] = {}
        for one in written:
            for name, paths in one.files.items():
                files.setdefault(name, []).extend(paths)
        small = {"spooled": schema.small("spooled", [(self._mark + name, imported_at or 0) for name in segments])}
        if imported_at is not None and written:
            hours = pa.concat_tables([w.hours for w in written]).group_by(["day", "hour"]).aggregate([])
            stamps = pa.repeat(pa.scalar(imported_at, pa.int64()), hours.num_rows)
            small["imported"] = hours.append_column("stamp", stamps)
        # All files are in their place before the queue of writes, here and on other machines, is entered.
        begun = False
        try:
            with self._told():
                for name, rows in small.items():
                    files[name] = [write_small(rows, self.place, name)] if rows.num_rows else []
                self.place.put(path for name in small for path in files[name])
            with self.change() as change:
                begun = True
                for paths in files.values():
                    change.own(paths)
                for name, paths in files.items():
                    change.add(name, paths, hive=name in schema.PARTITIONED)
                moment(change.commit)
        except BaseException:
            if not begun:
                self._remove(files)
            raise

    def _note(self, paths: list[Path], messages: pa.Table) -> None:
        """Which calls the files of an hour each have."""
        call_ids = messages["call_id"].combine_chunks()
        if len(paths) == 1:
            self.call_hours.note(paths[0], call_ids)
            return
        days, hours = messages["day"].cast(pa.int32()).to_numpy(), messages["hour"].to_numpy()
        for path in paths:
            slot = slot_of(path)
            assert slot is not None
            day = slot.start // DAY_NS
            self.call_hours.note(path, call_ids.filter(pa.array((days == day) & (hours == slot.hour))))

    def hours(self, cur: duckdb.DuckDBPyConnection, call_ids: Sequence[str]) -> frozenset[Slot] | None:
        """The hours in which calls may have rows; None: all. `cur` reads in a transaction."""
        return self.call_hours.hours(call_ids, self.message_files(cur))

    def newest(self, cur: duckdb.DuckDBPyConnection) -> int | None:
        """The end (ns) of the newest hour that has messages."""
        return max((f.slot.end for f in self.message_files(cur) if f.slot is not None), default=None)

    def message_files(self, cur: duckdb.DuckDBPyConnection) -> list[DataFile]:
        """The files of `messages` as a reader sees them now."""
        return self._files(cur)["messages"]

    def files_of(
        self, cur: duckdb.DuckDBPyConnection, table: str, wanted: Callable[[Slot], bool], most: int
    ) -> list[str] | None:
        """The files, as SQL can name them, with the rows of `table` of some hours, as a reader sees them now. None:
        there are more than `most`, or only the lake itself can read them."""
        files = [f for f in self._files(cur)[table] if f.slot is not None and wanted(f.slot)]
        names = [self.place.name(f.path) for f in files[: most + 1]]
        if len(files) > most or any(f.marked for f in files) or any(set(name) & PATTERN for name in names):
            return None
        return names

    def has(self, cur: duckdb.DuckDBPyConnection, table: str) -> bool:
        """Whether `frames` or `losses` have rows, to a reader now: DuckLake takes long to find that they have none."""
        return bool(self._files(cur)[table])

    def _files(self, cur: duckdb.DuckDBPyConnection) -> dict[str, list[DataFile]]:
        row = first_row(cur.execute("SELECT id FROM ducklake_current_snapshot('lake')"))
        snapshot = int(row[0]) if row else -1
        named = self._named
        if named is None or named[0] != snapshot:
            files: dict[str, list[DataFile]] = {
                name: [] for name in ("messages", "frames", "calls", "packed", "losses")
            }
            for one in data_files(cur, files, self.place.local):
                files[one.table].append(one)
            self._named = named = snapshot, files
        return named[1]

    def know_hours(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Make out which calls the hours have, where that is not known yet."""
        with self.reading() as cur:
            files = data_files(cur, ["messages"], self.place.local)
        self.call_hours.fill(files, self.place.opened, stop)
        self.call_hours.forget(files)

    def _remove(self, files: Mapping[str, list[Path]]) -> None:
        self.place.remove(path for paths in files.values() for path in paths)

    def folder_of(self, table: str) -> Path:
        """Here the files of a table are written."""
        return self.place.folder / "main" / table

    def spooled(self) -> set[str]:
        """Names of spool segments whose rows are committed."""
        if not self.read_only and self._broken:
            self.reopen()
        with self._writes, self.reading() as cur:
            names = {r[0] for r in cur.execute("SELECT segment FROM lake.spooled").fetchall()}
        return {n.removeprefix(self._mark) for n in names if n.startswith(self._mark)}

    def forget_spooled(self, segments: Iterable[str]) -> None:
        """These segments' files are gone: their names need not be remembered."""
        names = [self._mark + name for name in segments]
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
        with self.reading() as cur:
            rows = cur.execute("SELECT name, sum(value)::BIGINT FROM lake.counts GROUP BY name").fetchall()
        return {name: int(value) for name, value in rows}

    def lose(self, node: str, losses: Iterable[Loss]) -> None:
        """Remember what was not seen, and when."""
        rows = [(x.start, x.end, node, x.interface, x.kind, x.count) for x in losses]
        if rows:
            with self.change() as change:
                change.append("losses", schema.small("losses", rows))

    def losses(self, start: int, end: int) -> tuple[Loss, ...]:
        """What was not seen between two times (ns), oldest first; 10,000 entries at most."""
        with self.reading() as cur:
            if not self.has(cur, "losses"):
                return ()
            rows = cur.execute(
                "SELECT interface, start, stop, lost, kind, node FROM lake.losses WHERE start <= ? AND stop >= ? "
                "ORDER BY start LIMIT 10000",
                [end, start],
            ).fetchall()
        return tuple(Loss(*row) for row in rows)

    def size(self) -> int:
        """Bytes of the store, wherever they are."""
        if not self.shared:
            return _size(self.folder)
        return self._live() if self.place.remote else _size(self.place.folder)

    def _live(self) -> int:
        """Bytes of the files that the catalogue names."""
        with self.reading() as cur:
            row = first_row(cur.execute("SELECT sum(file_size_bytes) FROM ducklake_table_info('lake')"))
        return int(row[0] or 0) if row else 0

    def size_beside_data(self) -> int:
        """The same without the Parquet files: catalogue and spool. Of a shared store nothing is beside."""
        if self.shared:
            return 0
        return sum(_size(p) for p in self.folder.iterdir() if p.name != "data")

    def close(self) -> None:
        """Close the store and let others open it."""
        self._writer.shutdown()
        # After a write that found no room for its last line, the engine holds itself, and its files, for ever.
        with suppress(duckdb.Error):
            self.con.execute("DETACH DATABASE IF EXISTS lake")
        self.con.close()
        self.catalogue.close()
        self._lock.close()

    def _reason(self, error: BaseException) -> str:
        if _full(error):
            return "the disk is full; free some space, or choose another with --store"
        return self.catalogue.reason(error)


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


def _parts(folder: Path, shared: Shared | None, node: str) -> tuple[Catalogue, Place]:
    if shared is None:
        return CatalogueFile(folder / CATALOGUE), Folder(folder / "data")
    catalogue = PostgresCatalogue(shared.catalogue, node, folder)
    if isinstance(shared.data, Path):
        return catalogue, Folder(shared.data)
    return catalogue, Objects(folder / "outgoing", shared.data)


def _identity(folder: Path) -> str:
    """What tells this machine's folder from all others, also after a change of its name."""
    path = folder / "identity"
    try:
        if not path.exists() or not path.read_text().strip():
            part = folder / "identity.part"
            with part.open("w") as file:
                file.write(f"{uuid.uuid4()}\n")
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        return path.read_text().strip()
    except OSError as error:
        raise Unreachable(f"cannot write {path}: {(error.strerror or str(error)).lower()}; check --store") from error


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
