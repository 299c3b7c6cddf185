"""Transactions outside of dialogs that are kept shorter than calls: once their time has passed, hours are written again
without them.

It owns which Call-IDs these are and what is left of an hour's files. A Call-ID goes from an hour when all its messages
there are of methods whose time has passed, one of them begins outside of a dialog, and no request is inside of one: an
OPTIONS that keeps a call alive stays with its call.
"""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from index.changes import Change
from index.compaction import ORDERED, QUIET_NS, is_fresh
from index.exchange import Overtaken, Swap, exchange, swaps
from index.hours import DataFile, Slot, by_slot, data_files, imported
from index.lake import Lake, counted
from index.retention import Limits, Removal, forget, line, span
from index.rows import first_row
from index.schema import PARTITIONED
from index.sorting import Stopped, count_of, merged, result_of, sort_files
from index.sorting import counted as counted_in

log = logging.getLogger("siptrail")

ID_BATCH = 512
"""Call-IDs read ahead, about as many as there are rows in a piece."""


@dataclass(frozen=True, slots=True)
class _Hour:
    slot: Slot
    files: list[DataFile]
    methods: tuple[str, ...]
    """Whose time has passed."""


class Noise:
    """Knows which hours it need not look at again; that is forgotten at the end of the process, and found out again."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._done: dict[Slot, tuple[frozenset[Path], tuple[str, ...]]] = {}
        """Hours in which nothing is left to remove: their files, and the methods that were looked for."""

    def plan(self, limits: Limits, now: int) -> list[Removal]:
        """What would go, oldest first; how much that is, is an estimate."""
        out = []
        with self._lake.reading() as cur:
            for hour in self._due(cur, limits, now):
                total = sum(f.size for f in hour.files)
                found, all_of_it = _candidates(cur, hour), _count(cur, "messages", hour.slot)
                out += [
                    _removal(hour.slot, method, limits, count, total * min(count, all_of_it) // max(all_of_it, 1))
                    for method, count in sorted(found.items())
                ]
        return out

    def remove(self, limits: Limits, now: int, node: str, stop: Callable[[], bool] = lambda: False) -> list[Removal]:
        """Write the hours again, one after the other; returns what went. What fails is told and does not keep the
        other hours from being done."""
        if not limits.shorter:
            return []
        gone: list[Removal] = []
        failed: list[Exception] = []
        with self._lake.reading() as cur:
            hours = self._due(cur, limits, now)
        for hour in hours:
            if stop():
                break
            try:
                with self._lake.reading() as cur:
                    wanted = bool(_candidates(cur, hour))
                if wanted:
                    gone += self._thin(hour, limits, now, node, stop)
                else:
                    self._done[hour.slot] = frozenset(f.path for f in hour.files), hour.methods
            except Stopped:
                break
            except Overtaken as error:
                log.info("%s; what is kept shorter goes later", error)
            except Exception as error:
                log.error("cannot remove %s from %s (%s)", ", ".join(hour.methods), hour.slot, str(error)[:200])
                failed.append(error)
        if failed:
            raise failed[0]
        return gone

    def _due(self, cur: duckdb.DuckDBPyConnection, limits: Limits, now: int) -> list[_Hour]:
        """Closed hours in which something may have to go."""
        if not limits.shorter:
            return []
        place = self._lake.place
        found, stamps = by_slot(data_files(cur, PARTITIONED, place.local)), imported(cur)
        self._done = {slot: done for slot, done in self._done.items() if slot in found}
        out = []
        for slot, files in sorted(found.items()):
            age = now - max(slot.end, stamps.get(slot, 0))
            methods = tuple(method for method, keep in limits.shorter if keep < age)
            if not methods or slot.end + QUIET_NS > now:
                continue
            if self._done.get(slot) == (frozenset(f.path for f in files), methods):
                continue
            if not any(is_fresh(f.path, now, place.written) for f in files):
                out.append(_Hour(slot, files, methods))
        return out

    def _thin(self, hour: _Hour, limits: Limits, now: int, node: str, stop: Callable[[], bool]) -> list[Removal]:
        lake, slot = self._lake, hour.slot
        mine = {table: [f for f in hour.files if f.table in (table, result_of(table))] for table in ORDERED}
        ids = lake.folder / "temp" / f"noise-{uuid.uuid4()}.parquet"
        ids.parent.mkdir(parents=True, exist_ok=True)
        done: list[Swap] = []
        counts: Counter[str] = Counter()
        try:
            with lake.place.fetched([f.path for f in hour.files]):
                messages = sorted(f.path for f in mine["messages"])
                if not _write_ids(ids, _alone(messages, lake.folder / "temp", hour.methods, stop)):
                    self._done[slot] = frozenset(f.path for f in hour.files), hour.methods
                    return []
                for table, files in mine.items():
                    if not files:
                        continue
                    into, paths = result_of(table), sorted(f.path for f in files)
                    rows, change = sum(counted_in(path) for path in paths), swaps(slot, files, into)
                    folder = lake.folder_of(into) / f"day={slot.day}" / f"hour={slot.hour}"
                    left = _Without(ids)
                    left_over = sort_files(table, paths, folder, lake.folder / "temp", stop=stop, only=left)
                    change[into].new.extend(left_over.files)
                    done += change.values()
                    if rows != left_over.rows + left.dropped:
                        raise RuntimeError(f"{table}: {rows} rows, {left_over.rows} stay, {left.dropped} go")
                    if table == "messages":
                        counts = left.methods
                freed = sum(f.size for f in hour.files) - sum(p.stat().st_size for s in done for p in s.new)
                sizes = {m: freed * n // max(1, counts.total()) for m, n in counts.items()}
        except BaseException:
            lake.place.remove([path for swap in done for path in swap.new])
            raise
        finally:
            ids.unlink(missing_ok=True)

        def count(change: Change) -> None:
            names = {f"removed_messages_{m.lower()}": n for m, n in counts.items()}
            names |= {f"removed_bytes_{m.lower()}": max(0, size) for m, size in sizes.items()}
            change.append("counts", counted(now, node, names))
            if not any(swap.new for swap in done):  # the hour is gone, as if it had been too old
                forget(change, slot)

        exchange(lake, done, count)
        self._done[slot] = frozenset(path for swap in done for path in swap.new), hour.methods
        gone = [_removal(slot, m, limits, n, max(0, sizes[m])) for m, n in sorted(counts.items())]
        for removal in gone:
            log.info("removed %s", line(removal))
        return gone


def _removal(slot: Slot, method: str, limits: Limits, messages: int, size: int) -> Removal:
    keep = dict(limits.shorter)[method]
    return Removal(slot, method.lower(), f"{method} outside of calls, older than {span(keep)}", messages, size)


def _candidates(cur: duckdb.DuckDBPyConnection, hour: _Hour) -> dict[str, int]:
    """Messages that begin, and may be all of, such a transaction, by method. It reads three columns of one table."""
    marks = ", ".join("?" * len(hour.methods))
    sql = (
        "SELECT method, sum(messages)::BIGINT FROM lake.calls WHERE day = ? AND hour = ? AND initial "
        f"AND invite_ts IS NULL AND method IN ({marks}) GROUP BY method"
    )
    return dict(cur.execute(sql, [hour.slot.day, hour.slot.hour, *hour.methods]).fetchall())


def _count(cur: duckdb.DuckDBPyConnection, table: str, slot: Slot) -> int:
    row = first_row(cur.execute(f"SELECT count(*) FROM lake.{table} WHERE day = ? AND hour = ?", [slot.day, slot.hour]))
    return int(row[0]) if row else 0


def _alone(files: list[Path], temp: Path, methods: tuple[str, ...], stop: Callable[[], bool]) -> Iterator[pa.Array]:
    """The Call-IDs that go, in their order."""
    held: pa.Table | None = None
    for piece in merged("messages", files, temp, ("call_id", "ts", "seq", "method", "code", "in_dialog")):
        if stop():
            raise Stopped
        request = pc.equal(piece["code"], 0)
        inside = pc.fill_null(piece["in_dialog"], True)
        facts = pa.table(
            {
                "call_id": piece["call_id"],
                "begins": pc.and_(request, pc.invert(inside)),
                "stays": pc.or_(
                    pc.invert(pc.is_in(piece["method"], pa.array(methods, pa.string()))), pc.and_(request, inside)
                ),
            }
        )
        # A Call-ID may go on in the next piece: the last one waits.
        both = pa.concat_tables([held, facts]) if held is not None else facts
        by_id = pa.TableGroupBy(both, "call_id", use_threads=False).aggregate([("begins", "any"), ("stays", "any")])
        by_id = by_id.select(["call_id", "begins_any", "stays_any"]).rename_columns(both.column_names)
        yield _going(by_id.slice(0, by_id.num_rows - 1))
        held = by_id.slice(by_id.num_rows - 1)
    if held is not None:
        yield _going(held)


def _going(by_id: pa.Table) -> pa.Array:
    going = by_id.filter(pc.and_(by_id["begins"], pc.invert(by_id["stays"])))["call_id"].combine_chunks()
    return going.combine_chunks() if isinstance(going, pa.ChunkedArray) else going


def _write_ids(path: Path, some: Iterator[pa.Array]) -> int:
    """Returns how many there are."""
    count = 0
    schema = pa.schema([("call_id", pa.string())])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        held: list[pa.Array] = []
        for ids in some:
            count += len(ids)
            held.append(ids)
            if sum(len(h) for h in held) >= 1 << 16:
                writer.write_table(pa.table([pa.chunked_array(held)], schema=schema))
                held = []
        writer.write_table(pa.table([pa.chunked_array(held, pa.string())], schema=schema))
    return count


class _Without:
    """Takes rows of some Call-IDs out of pieces that come in the order of Call-IDs."""

    def __init__(self, ids: Path) -> None:
        self._more = pq.ParquetFile(ids).iter_batches(ID_BATCH, use_threads=False)
        self._ahead = pa.array([], pa.string())
        self.dropped = 0
        self.methods: Counter[str] = Counter()
        """What was dropped of messages."""

    def __call__(self, piece: pa.Table) -> pa.Table:
        last = piece["call_id"][-1]
        while not len(self._ahead) or pc.less(self._ahead[-1], last).as_py():
            more = next(self._more, None)
            if more is None:
                break
            self._ahead = pa.concat_arrays([self._ahead, more["call_id"]])
        if not len(self._ahead):
            return piece
        going = pc.is_in(piece["call_id"], self._ahead)
        # The last Call-ID may go on in the next piece.
        self._ahead = self._ahead.slice(pc.sum(pc.less(self._ahead, last)).as_py())
        if not pc.any(going).as_py():
            return piece
        self.dropped += count_of(piece.filter(going))
        if "method" in piece.column_names:
            for pair in pc.value_counts(piece["method"].filter(going).combine_chunks()):
                self.methods[pair["values"].as_py()] += pair["counts"].as_py()
        return piece.filter(pc.invert(going))
