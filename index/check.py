"""Whether every file that the catalogue names is there and can be read. It changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from index.hours import DataFile, Slot, data_files
from index.lake import Lake
from index.packed import unpacked
from index.place import Place
from index.schema import IN_FILES, PARTITIONED, SHAPES, TABLES
from index.sorting import KEY, PACKED_PIECE
from sip.errors import Unreachable


@dataclass(frozen=True, slots=True)
class Fault:
    """A file that is missing or damaged."""

    table: str
    path: Path
    slot: Slot | None
    what: str


@dataclass(frozen=True, slots=True)
class Health:
    """What a check found."""

    files: int
    size: int
    faults: tuple[Fault, ...]


def check(lake: Lake, deep: bool = False) -> Health:
    """Read the end of every file, where Parquet has its table of contents; `deep`: all of it."""
    with lake.reading() as cur:
        files = data_files(cur, local=lake.place.local)
        deletes = [f for table in TABLES for f in _delete_files(cur, table, lake.place)]
    faults = []
    for file in [*files, *deletes]:
        what = trouble(file, deep, lake.place)
        if what:
            faults.append(Fault(file.table, file.path, file.slot, what))
    if faults and lake.shared:
        # Another machine may have replaced files meanwhile; what is not named any more is no fault.
        with lake.reading() as cur:
            named = {f.path for f in data_files(cur, local=lake.place.local)}
            named |= {f.path for table in TABLES for f in _delete_files(cur, table, lake.place)}
        faults = [f for f in faults if f.path in named]
    return Health(len(files), sum(f.size for f in files), tuple(faults))


def trouble(file: DataFile, deep: bool, place: Place) -> str:
    """What is wrong with a file; '' for nothing."""
    try:
        size = place.size(file.path)
    except OSError as error:
        return (error.strerror or str(error)).lower()
    if file.size not in (0, size):
        return f"it has {size} bytes and should have {file.size}"
    return unreadable(file.table, file.path, deep, place.opened)


def _open(path: Path) -> BinaryIO:
    return path.open("rb")


def unreadable(table: str, path: Path, deep: bool, opened: Callable[[Path], BinaryIO] = _open) -> str:
    """Why a file cannot be read; '' where it can."""
    try:
        with opened(path) as data, pq.ParquetFile(data, buffer_size=1 << 16, pre_buffer=False) as file:
            names = set(file.schema_arrow.names)
            # Older versions wrote fewer columns; without these ones it is no file of the table.
            wanted = KEY.get(table) or (IN_FILES[table] if table in PARTITIONED else SHAPES[table]).names
            missing = [n for n in wanted if n not in names]
            if missing and "pos" not in names:
                return f"it has no column {missing[0]}"
            if deep:
                for batch in file.iter_batches(PACKED_PIECE if table == "packed" else 1024):
                    if table == "packed":
                        unpacked(pa.Table.from_batches([batch]))
    except Unreachable:
        return "its packed frames are damaged"
    except (OSError, pa.ArrowException, ValueError) as error:
        return " ".join(str(error).split())[:200]
    return ""


def _delete_files(cur: duckdb.DuckDBPyConnection, table: str, place: Place) -> Iterator[DataFile]:
    sql = f"SELECT delete_file FROM ducklake_list_files('lake', '{table}') WHERE delete_file IS NOT NULL"
    for (name,) in cur.execute(sql).fetchall():
        yield DataFile(table, place.local(name), 0, None)
