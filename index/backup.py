"""A copy of the store in another folder, also while it is being written; and the way back.

The catalogue is copied while the queue of writes is held (it is small), the Parquet files after that: they never
change, and none is deleted meanwhile. A second backup into the same folder copies only what is new. It owns the
backup's folder; what is in memory must be flushed by the caller.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb

from index.cleanup import Cleaner
from index.hours import data_files
from index.lake import Lake
from index.openlake import lock_store
from index.schema import SCHEMA_VERSION, TABLES
from sip.errors import SiptrailError, Unreachable

NOTE = "backup.json"
"""Written last: a folder without it holds no whole backup."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds."""

    folder: str
    made: int
    """ns since the epoch."""
    schema: int
    files: int
    size: int
    copied: int
    """Bytes that this time were new."""


def backup(lake: Lake, cleaner: Cleaner, target: Path) -> Backup:
    """Copy the store to `target`, which is empty or holds an older backup."""
    if lake.shared:
        raise SiptrailError(
            "a shared store is backed up with the means of its servers: pg_dump for the catalogue, versions or copies "
            "of the bucket; see docs/cluster.md"
        )
    store = lake.folder.resolve()
    if target.resolve() == store or store in target.resolve().parents:
        raise SiptrailError(f"{target} is inside the store; choose a folder elsewhere, best on another disk")
    try:
        if target.exists() and any(target.iterdir()) and not (target / "data").is_dir():
            raise SiptrailError(f"{target} holds something else than a backup; choose an empty folder")
        target.mkdir(parents=True, exist_ok=True)
        with cleaner.held():
            return _copy(lake, target)
    except OSError as error:
        where = error.filename or target
        raise Unreachable(f"cannot write the backup {where}: {(error.strerror or str(error)).lower()}") from error


def _copy(lake: Lake, target: Path) -> Backup:
    made = time.time_ns()
    with lake.writing():
        cur = lake.cursor()
        try:
            files = [f.path for f in data_files(cur)] + _delete_files(cur)
        finally:
            cur.close()
        # The log beside the database belongs to it; nothing is committed meanwhile. Copying takes DuckDB's lock off
        # the file, which nobody needs: the store has one of its own.
        parts = [_durable(p, target / f"{p.name}.part") for p in sorted(lake.folder.glob("catalogue.duckdb*"))]
    copied = size = 0
    wanted = set()
    for path in files:
        there = target / path.relative_to(lake.folder)
        wanted.add(there)
        size += path.stat().st_size
        if not there.exists() or there.stat().st_size != path.stat().st_size:
            _durable(path, there)
            copied += path.stat().st_size
    (target / NOTE).unlink(missing_ok=True)
    for old in target.glob("catalogue.duckdb*"):
        if old not in parts:
            old.unlink()
    for part in parts:
        part.replace(part.with_suffix(""))
    done = Backup(str(target), made, SCHEMA_VERSION, len(files), size, copied)
    for path in set((target / "data").rglob("*.parquet")) - wanted:
        path.unlink()
    (target / "data").mkdir(exist_ok=True)
    (target / NOTE).write_text(json.dumps(asdict(done)) + "\n")
    _sync(target)
    return done


def restore(source: Path, folder: Path) -> Backup:
    """Make the store `folder`, where there is none yet, of the backup."""
    try:
        note = json.loads((source / NOTE).read_text())
        made = Backup(**note)
    except (OSError, ValueError, TypeError) as error:
        raise Unreachable(f"{source} holds no whole backup (no {NOTE}); name the folder of one") from error
    if made.schema > SCHEMA_VERSION:
        raise Unreachable(f"the backup {source} was made by a newer siptrail; upgrade siptrail first")
    lock = lock_store(folder)
    try:
        if (folder / "catalogue.duckdb").exists():
            raise SiptrailError(f"there is a store at {folder} already; move it away, or choose another with --store")
        for path in sorted((source / "data").rglob("*.parquet")):
            _durable(path, folder / path.relative_to(source))
        (folder / "data").mkdir(exist_ok=True)
        # The catalogue comes last: before it there is no store. Its log comes before it, since they belong together.
        for path in sorted(source.glob("catalogue.duckdb*"), reverse=True):
            _durable(path, folder / f"{path.name}.part").replace(folder / path.name)
        _sync(folder)
    except OSError as error:
        where = error.filename or folder
        raise Unreachable(f"cannot restore {where}: {(error.strerror or str(error)).lower()}") from error
    finally:
        lock.close()
    return made


def _delete_files(cur: duckdb.DuckDBPyConnection) -> list[Path]:
    out = []
    for table in TABLES:
        sql = f"SELECT delete_file FROM ducklake_list_files('lake', '{table}') WHERE delete_file IS NOT NULL"
        out += [Path(r[0]) for r in cur.execute(sql).fetchall()]
    return out


def _durable(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(source, "rb") as old, open(target, "wb") as new:
        shutil.copyfileobj(old, new, 1 << 20)
        new.flush()
        os.fsync(new.fileno())
    shutil.copystat(source, target)
    return target


def _sync(folder: Path) -> None:
    for place in (folder, *(p for p in (folder / "data").rglob("*") if p.is_dir())):
        handle = os.open(place, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
