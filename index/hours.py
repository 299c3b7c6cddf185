"""What the lake holds, file by file and hour by hour, as the catalogue names it. It only reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb

from index.columns import SANE
from index.schema import PARTITIONED, TABLES

HOUR_NS = 3_600_000_000_000
_PLACE = re.compile(r"day=(\d+-\d\d-\d\d)/hour=(\d+)$")


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """An hour of the store."""

    day: str
    hour: int

    def __str__(self) -> str:
        return f"{self.day} {self.hour:02d}:00"

    @property
    def start(self) -> int:
        """Its first nanosecond."""
        day = date.fromisoformat(self.day)
        return (int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) + 3600 * self.hour) * 10**9

    @property
    def end(self) -> int:
        """The first nanosecond after it."""
        return self.start + HOUR_NS


@dataclass(frozen=True, slots=True)
class DataFile:
    """A Parquet file that the catalogue names."""

    table: str
    path: Path
    """On this machine, whether it is here or on a server."""
    size: int
    slot: Slot | None
    """None in the small tables, which have no hours."""
    marked: bool = False
    """The catalogue marks some of its rows as deleted."""


def data_files(
    cur: duckdb.DuckDBPyConnection, tables: Iterable[str] = tuple(TABLES), local: Callable[[str], Path] = Path
) -> list[DataFile]:
    """The files that the newest snapshot refers to; `local` tells their paths on this machine."""
    out = []
    for table in tables:
        names = "data_file, data_file_size_bytes, delete_file IS NOT NULL"
        for name, size, marked in cur.execute(f"SELECT {names} FROM ducklake_list_files('lake', '{table}')").fetchall():
            path = local(name)
            out.append(DataFile(table, path, int(size), slot_of(path), bool(marked)))
    return out


def slot_of(path: Path) -> Slot | None:
    """The hour that a file's folders name."""
    match = _PLACE.search(str(path.parent))
    return Slot(match[1], int(match[2])) if match else None


def by_slot(files: Iterable[DataFile]) -> dict[Slot, list[DataFile]]:
    """Files of the tables that have hours."""
    out: dict[Slot, list[DataFile]] = {}
    for file in files:
        if file.slot is not None and file.table in PARTITIONED:
            out.setdefault(file.slot, []).append(file)
    return out


def slot_at(time: int) -> Slot:
    """The hour in which rows of that time (ns) are."""
    day, hour = divmod(min(max(time, SANE[0]), SANE[1]) // HOUR_NS, 24)
    return Slot(str(date(1970, 1, 1) + timedelta(days=day)), hour)


def from_to(low: int, high: int) -> Callable[[Slot], bool]:
    """Whether an hour is one of those from one time (ns) to another: the same as `hours` says in SQL."""
    first, last = slot_at(low), slot_at(high)
    return lambda slot: first <= slot <= last


def hours(low: int, high: int) -> str:
    """A condition for the hours from one time (ns) to another; whole folders without them are not looked at."""
    first, last = slot_at(low), slot_at(high)
    from_day, to_day = (f"DATE '{slot.day}'" for slot in (first, last))
    some = (
        f"(day > {from_day} OR (day = {from_day} AND hour >= {first.hour})) AND "
        f"(day < {to_day} OR (day = {to_day} AND hour <= {last.hour}))"
    )
    count = (last.start - first.start) // HOUR_NS + 1
    if 0 < count < 24:
        # Folders are left out by lists, not by what is said with OR.
        days = ", ".join(dict.fromkeys((from_day, to_day)))
        some += f" AND day IN ({days}) AND hour IN ({', '.join(str((first.hour + n) % 24) for n in range(count))})"
    return some


def imported(cur: duckdb.DuckDBPyConnection) -> dict[Slot, int]:
    """When hours got their last import (ns)."""
    rows = cur.execute("SELECT day, hour, max(stamp) FROM lake.imported GROUP BY ALL").fetchall()
    return {Slot(str(day), int(hour)): int(stamp) for day, hour, stamp in rows}
