"""How a store is opened, and opened again; who may write to it, and when; what an error of it is called.

It owns the lock of the folder, the one queue of writes (flush, retention and merging never overlap), and the way from
one version of the tables to the next. What is in the tables it does not know.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TextIO

import duckdb

from index import schema
from index.catalogue import Away, Catalogue, CatalogueFile, PostgresCatalogue, stopped
from index.changes import Change
from index.extensions import carried
from index.place import Folder, Objects, Place
from index.rows import first_row
from index.shared import Shared
from sip.errors import SiptrailError, Unreachable

log = logging.getLogger(__name__)

CATALOGUE = "catalogue.duckdb"
NO_MEMORY = 1000
"""Bytes."""
REBUILDING = "rebuilding"
"""A file of this name: the catalogue is being made anew and is not whole yet."""


class OpenLake:
    """A DuckLake of this machine, or one that several share; `folder` is this machine's (see `Lake`)."""

    def __init__(
        self,
        folder: Path,
        memory: str,
        threads: int,
        say: Callable[[str], None],
        rebuilding: bool,
        shared: Shared | None,
        node: str,
        patient: bool,
    ) -> None:
        self.folder = folder
        self.shared = shared is not None
        self.read_only = shared is not None and shared.read_only
        self._say = say
        self._writes = threading.Lock()
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
            if not self.shared:
                self._config.update(carried("ducklake"))
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

    def give_back(self) -> None:
        """Memory that the engine has no use for. Of each piece that a query took, it remembers that there was one, up
        to tens of thousands of a kind, and forgets those only when memory is short: so it is told that it is."""
        with suppress(duckdb.Error), closing(self.con.cursor()) as cur:
            # Indexes of the catalogue stay in memory. Without them the limit could come into force for a moment, for
            # all who ask in it.
            stays = first_row(
                cur.execute("SELECT sum(memory_usage_bytes) FROM duckdb_memory() WHERE tag = 'ART_INDEX'")
            )
            if stays is None or int(stays[0] or 0) <= NO_MEMORY:
                return
            with suppress(duckdb.OutOfMemoryException):
                cur.execute(f"SET GLOBAL memory_limit = '{NO_MEMORY}B'")  # too little: this fails, the limit stays
            cur.execute(f"SET GLOBAL memory_limit = '{self._config['memory_limit']}'")

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

    def close(self) -> None:
        """Close the store and let others open it."""
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


def _full(error: BaseException) -> bool:
    return getattr(error, "errno", None) == errno.ENOSPC or os.strerror(errno.ENOSPC) in str(error)
