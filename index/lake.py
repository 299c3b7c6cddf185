"""The store: a DuckLake of one machine (DuckDB catalogue, Parquet files), or one that several share.

It owns what is in the tables, and durability of what it says is committed: DuckLake does not fsync Parquet files, so
this does. It knows nothing of hot rows or SIP.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import duckdb
import pyarrow as pa

from index import schema
from index.call_hours import CallHours
from index.changes import write_small
from index.columns import DAY_NS
from index.hours import DataFile, Slot, data_files, slot_of
from index.openlake import OpenLake
from index.parquet import write_partitions
from index.rows import first_row
from index.shared import Shared
from index.trace import Loss

log = logging.getLogger(__name__)

READ = ("messages", "frames", "packed", "calls", "losses")
"""The tables whose files are known to readers."""
NOTHING: Mapping[str, pa.Table] = MappingProxyType({})
"""No rows of any table."""
PATTERN = frozenset("*?[]{}")
"""In the name of a file these stand for others."""


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


class Lake(OpenLake):
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
        self._writer = ThreadPoolExecutor(1, "write-frames")
        self.call_hours = CallHours(folder / "call-hours")
        self._named: tuple[int, dict[str, list[DataFile]]] | None = None
        """A snapshot, and the files of some tables in it."""
        super().__init__(folder, memory, threads, say, rebuilding, shared, node, patient)

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
        beside: Mapping[str, pa.Table] = NOTHING,
    ) -> None:
        """Let readers see what was written, all of it at once, by `moment(do_commit)`; where that fails, none of it
        stays. `beside`: rows of small tables that belong to it."""
        files: dict[str, list[Path]] = {}
        for one in written:
            for name, paths in one.files.items():
                files.setdefault(name, []).extend(paths)
        small = dict(beside)
        small["spooled"] = schema.small("spooled", [(self._mark + name, imported_at or 0) for name in segments])
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
            files: dict[str, list[DataFile]] = {name: [] for name in READ}
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
        super().close()


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
