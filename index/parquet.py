"""Parquet files of the lake: written, synced and named here, then handed to DuckLake, which owns them from then on.

DuckLake never syncs a file that it writes itself, and its partitioned insert copies every frame several times; a file
written by Arrow is on disk before the catalogue names it, and takes a fifth of the time.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROW_GROUP = 40_000
"""Rows of frames in a group: about 25 MB before compression, so that one call costs one small read."""
_DELTA = frozenset({"ts", "seq", "frame_ts", "ip_id"})
"""Numbers that rarely repeat and mostly rise: differences are smaller than dictionaries, and cheaper to write."""
_PLAIN = _DELTA | {"frame", "payload"}


def write_partitions(table: pa.Table, folder: Path, sync: bool = True) -> list[Path]:
    """Write `table` (sorted by day, hour) as one file an hour below `folder`; returns the files, all synced."""
    out: list[Path] = []
    if not table.num_rows:
        return out
    slots = pc.add(pc.multiply(table["day"].cast(pa.int32()).cast(pa.int64()), 24), table["hour"].cast(pa.int64()))
    runs = pc.run_end_encode(slots.combine_chunks())
    start = 0
    narrow = table.drop_columns(["day", "hour"])
    try:
        for end, day, hour in (
            (e.as_py(), table["day"][e.as_py() - 1].as_py(), table["hour"][e.as_py() - 1].as_py())
            for e in runs.run_ends
        ):
            place = folder / f"day={day.isoformat()}" / f"hour={hour}"
            place.mkdir(parents=True, exist_ok=True)
            path = place / f"{uuid.uuid4()}.parquet"
            pq.write_table(
                narrow.slice(start, end - start),
                path,
                row_group_size=ROW_GROUP if "frame" in narrow.column_names else 120_000,
                **layout(narrow.column_names),
            )
            out.append(path)
            start = end
        if sync:
            sync_files(out)
    except BaseException:
        for path in out:
            path.unlink(missing_ok=True)
        raise
    return out


def layout(names: Sequence[str]) -> dict[str, Any]:
    """How columns are written, as pyarrow.parquet wants it."""
    return {
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": [n for n in names if n not in _PLAIN],
        "column_encoding": {n: "DELTA_BINARY_PACKED" for n in names if n in _DELTA},
        "write_statistics": [n for n in names if n not in ("frame", "payload")],
    }


def sync_files(files: list[Path]) -> None:
    """Make files, and the folders that name them, survive a power cut."""
    for path in files:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    for folder in {parent for path in files for parent in (path.parent, path.parent.parent, path.parent.parent.parent)}:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
