"""Where a store's catalogue is: a DuckDB file beside the data, or a PostgreSQL database that several machines share.

It owns how the catalogue is attached as `lake`, who may change it when, and what its errors say to people.
"""

from __future__ import annotations

import gc
import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import duckdb

from index.extensions import load_extension
from sip.errors import Unreachable

if TYPE_CHECKING:
    import psycopg

log = logging.getLogger(__name__)

CONNECT_SECONDS = 5
_QUOTED = re.compile(r"\n\s*LINE \d+:")
HELD_SECONDS = 5.0
WAIT_SECONDS = 60
"""For so long a change waits for other machines' changes."""
_FAMILY = 0x534950
"""Our locks among all advisory locks of the database."""
CHANGES, UPKEEP = 1, 2
_OPTIONS = "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3 -c tcp_user_timeout=20000"
"""A machine that is gone without a word must not keep its locks for hours: the server looks, too."""
_PASSWORD = re.compile(r"(password=)('(?:[^'\\]|\\.)*'|\S+)|(://[^:/@\s]*:)([^@\s]*)(?=@)")

_AT = re.compile(r'Unable to connect to Postgres at "(?:[^"])*": |LINE .*', re.DOTALL)
"""What says nothing that the rest does not say."""


_NOT_NOW = re.compile("starting up|shutting down|recovery|too many|remaining connection slots")


class Away(Unreachable):
    """The catalogue does not answer, or not yet: another time it may. A wrong password or name is no such thing."""


class Catalogue(Protocol):
    """What a store needs of its catalogue."""

    shared: bool
    """Other machines write, too."""

    def attach(self, con: duckdb.DuckDBPyConnection, data: str, read_only: bool) -> None:
        """Attach it as `lake`; its files are at `data`."""

    def changing(self) -> AbstractContextManager[None]:
        """Meanwhile no other machine changes anything."""
        ...

    def keeping(self) -> AbstractContextManager[bool]:
        """Whether this machine may do the store's upkeep meanwhile: one at a time does."""
        ...

    def reason(self, error: BaseException) -> str:
        """An error in one line, without a password."""
        ...

    def close(self) -> None:
        """Let go of it."""


class CatalogueFile:
    """A DuckDB file; the store's lock keeps other processes away."""

    shared = False

    def __init__(self, path: Path) -> None:
        self.path = path

    def attach(self, con: duckdb.DuckDBPyConnection, data: str, read_only: bool) -> None:
        if self.path.exists() and not self.path.stat().st_size:
            self.path.unlink()  # the disk was full when it was to be made, and nothing was ever in it
        load_extension(con, "ducklake")
        _attach(con, f"ducklake:{self.path}", data, read_only)

    def changing(self) -> AbstractContextManager[None]:
        return nullcontext()

    def keeping(self) -> AbstractContextManager[bool]:
        return nullcontext(True)

    def reason(self, error: BaseException) -> str:
        return one_line(error)

    def close(self) -> None:
        pass


class PostgresCatalogue:
    """A PostgreSQL database. DuckLake sees when two changes touch the same table and refuses the second one; a lock
    in the database, which goes with its connection, has them wait for each other instead."""

    shared = True

    def __init__(self, url: str, node: str, folder: Path) -> None:
        try:
            from psycopg.conninfo import conninfo_to_dict, make_conninfo
        except ImportError as error:
            raise Unreachable(
                "a PostgreSQL catalogue needs the package psycopg: pip install 'siptrail[cluster]'"
            ) from error
        try:
            said = conninfo_to_dict(url)
            password = said.pop("password", None)
            if password is not None:
                # What is in no address can be in no message about one.
                said["passfile"] = str(_passfile(folder / "pgpass", str(password)))
            said.setdefault("options", _OPTIONS)
            said |= {
                "connect_timeout": CONNECT_SECONDS,
                "tcp_user_timeout": 20_000,
                "keepalives_idle": 10,
                "application_name": f"siptrail {node}"[:63],
            }
            self._dsn = make_conninfo("", **said)
        except Exception as error:
            raise Unreachable(f"the catalogue {_scrubbed(url)} is no PostgreSQL address: {one_line(error)}") from error
        self._locks = {CHANGES: _Lock(self._dsn, CHANGES), UPKEEP: _Lock(self._dsn, UPKEEP)}

    def attach(self, con: duckdb.DuckDBPyConnection, data: str, read_only: bool) -> None:
        load_extension(con, "ducklake")
        load_extension(con, "postgres_scanner")
        _attach(con, f"ducklake:postgres:{self._dsn}", data, read_only)

    @contextmanager
    def changing(self) -> Iterator[None]:
        with self._locks[CHANGES].held(WAIT_SECONDS) as mine:
            if not mine:
                raise Unreachable(f"other machines kept the catalogue busy for {WAIT_SECONDS} s")
            yield

    def keeping(self) -> AbstractContextManager[bool]:
        return self._locks[UPKEEP].held(0)

    def reason(self, error: BaseException) -> str:
        return _scrubbed(one_line(error, _AT.sub("", str(error))))

    def close(self) -> None:
        for lock in self._locks.values():
            lock.close()


class _Lock:
    """An advisory lock of the database, held by a connection of its own; should that break, the lock is free."""

    def __init__(self, dsn: str, number: int) -> None:
        self._dsn, self._number = dsn, number
        self._one = threading.Lock()
        self._con: psycopg.Connection[Any] | None = None

    @contextmanager
    def held(self, seconds: int) -> Iterator[bool]:
        """Whether it could be had within the time; it is given back at the end."""
        if not self._one.acquire(blocking=seconds > 0):
            yield False
            return
        try:
            mine = self._taken(seconds)
            try:
                yield mine
            finally:
                if mine:
                    self._give_back()
        finally:
            self._one.release()

    def _taken(self, seconds: int) -> bool:
        import psycopg

        known = self._con is not None
        try:
            try:
                return self._take(seconds)
            except psycopg.OperationalError:
                self.close()
                if not known:
                    raise
                return self._take(seconds)  # the server was started again since the last time
        except psycopg.OperationalError as error:
            self.close()
            text = one_line(error)
            kind = Unreachable if "FATAL" in text and not _NOT_NOW.search(text) else Away
            raise kind(f"the catalogue cannot be reached: {_scrubbed(text)}") from error

    def _take(self, seconds: int) -> bool:
        import psycopg

        if self._con is None or self._con.closed:
            self._con = psycopg.connect(self._dsn, autocommit=True)
        if not seconds:
            row = self._con.execute("SELECT pg_try_advisory_lock(%s, %s)", (_FAMILY, self._number)).fetchone()
            return bool(row and row[0])
        self._con.execute("SELECT set_config('lock_timeout', %s, false)", (f"{seconds}s",))
        try:
            self._con.execute("SELECT pg_advisory_lock(%s, %s)", (_FAMILY, self._number))
        except psycopg.errors.LockNotAvailable:
            return False
        return True

    def _give_back(self) -> None:
        try:
            if self._con is not None:
                self._con.execute("SELECT pg_advisory_unlock(%s, %s)", (_FAMILY, self._number))
        except Exception as error:
            log.debug("the lock went with its connection: %s", _scrubbed(one_line(error)))
            self.close()

    def close(self) -> None:
        con, self._con = self._con, None
        if con is not None:
            con.close()


def _attach(con: duckdb.DuckDBPyConnection, catalogue: str, data: str, read_only: bool) -> None:
    where, files = (text.replace("'", "''") for text in (catalogue, data))
    options = ", READ_ONLY" if read_only else ""
    sql = f"ATTACH '{where}' AS lake (DATA_PATH '{files}', OVERRIDE_DATA_PATH true, DATA_INLINING_ROW_LIMIT 0{options})"
    until = time.monotonic() + HELD_SECONDS
    while True:
        try:
            con.execute(sql)
            return
        except duckdb.BinderException as error:
            # An engine that was just closed lets go of its file a moment later, when its last reader has gone; one in
            # a cycle of references, such as an error's, goes with the garbage.
            if "Unique file handle" not in str(error) or time.monotonic() > until:
                raise
            gc.collect()
            time.sleep(0.1)


def _passfile(path: Path, password: str) -> Path:
    """The password where only this user can read it, as libpq wants it."""
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(f"*:*:*:*:{escaped}\n")
    return path.resolve()


def _scrubbed(text: str) -> str:
    return _PASSWORD.sub(lambda m: f"{m[1]}***" if m[1] else f"{m[3]}***", text)


def stopped(error: BaseException) -> bool:
    """Whether after this error the engine, or the catalogue in it, answers nothing any more until it is opened again: a
    commit or a checkpoint could not be brought to its end."""
    return isinstance(error, duckdb.FatalException) or "has been invalidated" in str(error)


def one_line(error: BaseException, text: str = "") -> str:
    """An error's text, or another one, without line breaks, and without the SQL that DuckDB quotes below it."""
    return " ".join(_QUOTED.split(text or str(error))[0].split())[:300]
