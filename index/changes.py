"""One change of the lake: a transaction whose files are on disk before the catalogue names them.

DuckLake syncs no file that it writes itself, so that a power cut could leave a catalogue that points at empty files:
rows are added as files that were written and synced here. It owns the files of a change that fails: they go again.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from index.catalogue import stopped
from index.parquet import sync_files
from index.place import Place
from index.rows import first_row

log = logging.getLogger(__name__)


class Change:
    """`commit` makes it all visible at once; `undo` as if it had never been."""

    def __init__(self, cur: duckdb.DuckDBPyConnection, place: Place, shared: bool = False) -> None:
        self.cur = cur
        self._place = place
        self._shared = shared
        self._files: list[Path] = []
        self._done = False
        self._asked = False
        """The commit was sent."""
        cur.execute("BEGIN")

    def add(self, table: str, files: Iterable[Path], hive: bool = True) -> None:
        """Files that are in their place become rows of the table."""
        paths = list(files)
        self._files += paths
        if paths:
            names = ", ".join(quoted(self._place.name(path)) for path in paths)
            self.cur.execute(
                f"CALL ducklake_add_data_files('lake', '{table}', [{names}], "
                f"hive_partitioning => {'true' if hive else 'false'}, allow_missing => true)"
            )

    def own(self, files: Iterable[Path]) -> None:
        """Files that must go should this fail."""
        self._files += files

    def append(self, table: str, rows: pa.Table) -> None:
        """Rows of a small table."""
        if rows.num_rows:
            path = write_small(rows, self._place, table)
            self._files.append(path)
            self._place.put([path])
            self.add(table, [path], hive=False)

    def delete(self, table: str, where: str, parameters: Sequence[Any] = ()) -> int:
        """Rows of the table go; returns how many. Files that DuckLake writes for that are synced."""
        with self._synced(table):
            row = first_row(self.cur.execute(f"DELETE FROM lake.{table} WHERE {where}", list(parameters)))
        return int(row[0]) if row else 0

    def merge(self, table: str) -> None:
        """The files of a small table become one."""
        with self._synced(table):
            self.cur.execute(f"CALL ducklake_merge_adjacent_files('lake', '{table}')").fetchall()

    @contextmanager
    def _synced(self, table: str) -> Iterator[None]:
        """What DuckLake writes for the table itself is synced, too. Whole hours go without a file being written."""
        if self._place.remote:
            yield  # an object that was taken is safe
            return
        folder = self._place.folder / "main" / table
        before = {p.name for p in folder.glob("*.parquet")}
        yield
        written = [p for p in folder.glob("*.parquet") if p.name not in before]
        self._files += written
        sync_files(written)

    def commit(self) -> None:
        """Once; what is done later is done in vain."""
        if not self._done:
            self._asked = True
            self.cur.execute("COMMIT")
            self._done = True

    def undo(self) -> None:
        """Nothing of it stays."""
        if self._done:
            return
        try:
            self.cur.execute("ROLLBACK")
        except duckdb.Error:
            log.debug("nothing to roll back")
        if self._asked and (self._shared or self._engine_stopped()):
            # It may have been done before the answer was lost. If it has not, the files go with the orphans.
            return
        self._place.remove(list(dict.fromkeys(self._files)))

    def _engine_stopped(self) -> bool:
        try:
            self.cur.execute("SELECT name FROM lake.about LIMIT 1").fetchall()
        except duckdb.Error as error:
            return stopped(error)
        return False


def write_small(rows: pa.Table, place: Place, table: str) -> Path:
    """Rows of a small table as a file, synced."""
    folder = place.folder / "main" / table
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{uuid.uuid4()}.parquet"
    try:
        pq.write_table(rows, path, compression="zstd")
        sync_files([path])
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def quoted(text: str) -> str:
    """Text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"
