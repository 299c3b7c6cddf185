"""Files that no snapshot needs: forgotten and deleted late, so that no reader misses one.

It owns when a file really goes. What the catalogue never named (left by a crash) goes after a day.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from index.lake import Lake
from index.place import Place

LATE_NS = 3_600_000_000_000
"""For so long what was replaced stays on disk."""
SOON_NS = 150_000_000_000
"""The same where room is short: longer than any reader takes."""
ORPHAN_NS = 24 * LATE_NS


class Cleaner:
    """Deletes files, unless a backup is copying them."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._held = 0
        self._lock = threading.Lock()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Meanwhile no file goes."""
        with self._lock:
            self._held += 1
        try:
            yield
        finally:
            with self._lock:
                self._held -= 1

    def clean(self, now: int, grace_ns: int = LATE_NS, orphans: bool = False) -> int:
        """Forget snapshots older than the grace time, delete the files that none refers to; returns bytes freed."""
        lake, place = self._lake, self._lake.place
        with self._lock:
            if self._held:
                return 0
            limit, day = _at(now - grace_ns), _at(now - ORPHAN_NS)
            with lake.writing(), lake.catalogue.changing(), closing(lake.cursor()) as cur:
                cur.execute(f"CALL ducklake_expire_snapshots('lake', older_than => {limit})").fetchall()
            # Deleting objects takes long, and changes nothing that others could be changing.
            with nullcontext() if place.remote else lake.writing(), lake.reading() as cur:
                freed = _delete(cur, f"ducklake_cleanup_old_files('lake', older_than => {limit}", place)
                if orphans:
                    freed += _delete(cur, f"ducklake_delete_orphaned_files('lake', older_than => {day}", place)
            return freed


def _delete(cur: duckdb.DuckDBPyConnection, call: str, place: Place) -> int:
    paths = [place.local(r[0]) for r in cur.execute(f"CALL {call}, dry_run => true)").fetchall()]
    if not paths:
        return 0
    with ThreadPoolExecutor(8) as pool:
        size = sum(pool.map(lambda path: _size(path, place), paths))
    cur.execute(f"CALL {call})").fetchall()
    if place.remote:
        return size
    for folder in {p.parent for p in paths}:
        for empty in (folder, folder.parent):
            if "=" in empty.name and empty.is_dir() and not any(empty.iterdir()):
                empty.rmdir()
    return size


def _size(path: Path, place: Place) -> int:
    try:
        return place.size(path)
    except OSError:
        return 0


def _at(ns: int) -> str:
    return f"TIMESTAMPTZ '{datetime.fromtimestamp(max(ns, 0) / 1e9, UTC):%Y-%m-%d %H:%M:%S}+00'"
