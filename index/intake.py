"""The move of rows from memory to the lake: never missing to a reader, never doubled, never lost to a full disk.

It owns the hot rows, their spool, and the one moment in which a commit shows rows and drops the hot ones. It answers
no questions.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from capture.pipeline import MessageBlock
from index.batches import no_rows, sorted_batch
from index.columns import Rows
from index.hot import Hot, HotCalls
from index.lake import NOTHING, Lake, Written
from index.spool import Spool
from sip.errors import Unreachable

NO_DOUBT: tuple[int, str, list[str]] = (0, "", [])


class Intake:
    """Rows come in by `add`, or from files by `write`. Without a lake they stay in memory."""

    def __init__(self, lake: Lake | None) -> None:
        self.lake = lake
        self.spool: Spool | None = None
        self._moment = threading.Lock()
        """Who commits and who begins to read take turns, so that no row is missing or doubled."""
        self._lock = threading.Lock()
        """Over the hot rows. Capture takes it, so nothing that can wait for a disk or a network is done under it."""
        self._flushing = threading.Lock()
        self._doubtful: tuple[int, str, list[str]] = NO_DOUBT
        """Hot batches, the oldest, that a commit without an answer may have stored; its mark, and their segments."""
        self._stale: list[str] = []
        """Names that the store need not remember any more."""
        self._hot: list[Hot] = []
        self._hot_messages = self._hot_bytes = 0
        self._hot_calls = HotCalls()
        self.changed = 0
        """Counts up whenever rows were added."""

    def add(self, rows: Rows, block: MessageBlock | None = None) -> None:
        """Make a batch searchable at once; with `block`, its frames go to the spool in the same step."""
        size = rows.frames.nbytes + rows.messages.nbytes
        with self._lock:
            if block is not None and self.spool is not None:
                self.spool.append(block)
            self._hot.append(Hot(rows, size, block is not None))
            self._hot_messages += rows.messages.num_rows
            self._hot_bytes += size
            self.changed += 1

    @property
    def lake_is_shared(self) -> bool:
        """Other machines write to the store, too, and it may be out of reach."""
        return self.lake is not None and self.lake.shared

    def hot_rows(self) -> tuple[int, int]:
        """Messages and bytes that are only in memory."""
        with self._lock:
            return self._hot_messages, self._hot_bytes

    def flush(self, segments: Sequence[str] = (), imported_at: int | None = None) -> int:
        """Move all hot rows to the lake; returns how many messages. `segments`: the spool files that hold them."""
        if self.lake is None:
            return 0
        with self._flushing:
            self._settle_doubt()
            moving, spooled = self._moving()
            if not moving:
                return 0
            batch = sorted_batch([h.rows for h in moving])

            mark, done = f"commit-{uuid.uuid4()}", False

            def publish(commit: Callable[[], None]) -> None:
                nonlocal done
                with self._moment:
                    commit()
                    self._drop(len(moving))
                    done = True

            try:
                self.lake.commit(batch, [*segments, *spooled, mark], imported_at, publish)
            except BaseException:
                if not done:
                    self._doubtful = len(moving), mark, spooled
                raise
            self._forget(spooled, mark)
            with self._lock:
                stay = tuple(self._hot)
            self._hot_calls.keep(stay)
            return int(batch.messages.num_rows)

    def write(self, rows: Sequence[Rows]) -> Written:
        """Rows of a file become files of the lake, which `publish` shows. Several threads may do so at once."""
        assert self.lake is not None
        batch = sorted_batch(list(rows)) if rows else no_rows()
        return self.lake.write(batch)

    def publish(
        self,
        written: Sequence[Written],
        segments: Sequence[str] = (),
        imported_at: int | None = None,
        beside: Mapping[str, pa.Table] = NOTHING,
    ) -> None:
        """Readers see what was written from a file, all of it at once, with rows of small tables that go `beside` it,
        and `segments` count as stored."""
        assert self.lake is not None
        if not written and not segments and not beside:
            return
        mark = f"commit-{uuid.uuid4()}" if self.lake.shared else ""
        try:
            self.lake.reopen()
            self.lake.publish(written, [*segments, *([mark] if mark else [])], imported_at, self._in_turn, beside)
        except Unreachable:
            if not mark or mark not in self.lake.spooled():
                raise
        with self._lock:
            self.changed += 1
        self._forget([], mark)

    def _in_turn(self, commit: Callable[[], None]) -> None:
        with self._moment:
            commit()

    def park(self) -> tuple[int, tuple[int, int, int]]:
        """Let go of all hot rows, because the store cannot be reached and memory has an end; the spool has them, and
        `catch_up` stores them later. Returns messages let go; how many of them the spool does not have, and the times
        (ns) between which these are."""
        if self.lake is None or self.spool is None:
            return 0, (0, 0, 0)
        with self._flushing:
            moving, spooled = self._moving()
            # Should the doubtful commit have been done, its segments' names are in the store, and `catch_up` sees them.
            self._doubtful = NO_DOUBT
            self._drop(len(moving), imported=False)
            moving = tuple(h for h in moving if h.live)
            count = sum(h.rows.messages.num_rows for h in moving)
            lost = max(0, count - self.spool.park(spooled))
            times = [h.rows.messages["ts"] for h in moving]
            low, high = (
                (min(pc.min(t).as_py() for t in times), max(pc.max(t).as_py() for t in times)) if lost else (0, 0)
            )
            return count, (lost, low, high)

    def catch_up(self, name: str, rows: Sequence[Rows]) -> bool:
        """Store the rows of a spool segment that was parked or left behind, unless they are stored; then it goes."""
        assert self.lake is not None and self.spool is not None
        new = bool(rows) and name not in self.lake.spooled()
        if new:
            self.lake.commit(sorted_batch(list(rows)), [name], None, self._in_turn)
        self._forget([name])
        return new

    def _settle_doubt(self) -> None:
        """Whether the last commit, which gave no answer, was done."""
        count, mark, segments = self._doubtful
        if mark and self.lake is not None:
            done = mark in self.lake.spooled()
            self._doubtful = NO_DOUBT
            if done:
                with self._moment:
                    self._drop(count)
                self._forget(segments, mark)

    def _moving(self) -> tuple[tuple[Hot, ...], list[str]]:
        """All hot batches, and the spool segments that hold exactly their rows."""
        with self._lock:
            moving = tuple(self._hot)
            closing = self.spool.rotate() if self.spool is not None and moving else None
        return moving, closing.result() if closing is not None else []

    def _drop(self, count: int, imported: bool = True) -> None:
        """The oldest batches go; unless `imported`, only those of live capture among them."""
        with self._lock:
            stay = [] if imported else [h for h in self._hot[:count] if not h.live]
            gone = [h for h in self._hot[:count] if imported or h.live]
            self._hot = stay + self._hot[count:]
            self._hot_messages -= sum(h.rows.messages.num_rows for h in gone)
            self._hot_bytes -= sum(h.size for h in gone)

    def _forget(self, spooled: list[str], mark: str = "") -> None:
        """These segments are stored: their files go, then the store forgets their names."""
        if self.spool is not None:
            self.spool.forget(spooled)
        with self._lock:
            stale, self._stale = [*self._stale, *spooled, *([mark] if mark else [])], []
        if self.lake is not None and stale:
            try:
                self.lake.forget_spooled(stale)
            except Unreachable:
                if not self.lake.shared:
                    raise
                with self._lock:
                    self._stale += stale  # with the next ones
