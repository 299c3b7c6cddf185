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

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from capture.gather import renumber
from index.columns import FRAMES, MESSAGES
from index.rollup import CALL_COLUMNS

ROW_GROUP = 40_000
"""Rows of frames in a group: about 25 MB before compression, so that one call costs one small read."""
GROUP_ROWS = 120_000
"""Rows of messages or of calls in a group."""
FRESH, IN_ORDER = 1, 9
"""How hard zstd tries: with rows that just came in, which takes a fifth less time than level 3 for 4 % more bytes, and
with a closed hour, which is written once and stays: beyond level 9 each per cent takes twice the time."""
_DELTA = frozenset({"ts", "seq", "frame_ts", "ip_id"}) | {
    name for name, kind in CALL_COLUMNS.items() if kind == "BIGINT" and name.endswith(("_ts", "_key"))
}
"""Numbers that rarely repeat and mostly rise: differences are smaller than dictionaries, and cheaper to write."""
_PACKED = frozenset({"frames", "numbers", "moves", "text"})
_PLAIN = _DELTA | _PACKED | {"frame", "payload"}
_MIXED = (frozenset(MESSAGES.names) | frozenset(FRAMES.names) | frozenset(CALL_COLUMNS) | _PACKED) - {
    "call_id", "ts", "first_ts", "last_ts",
}  # fmt: skip
"""Columns of which each file, in the order of Call-IDs, has nearly everything: the lowest and the highest value would
spare no read, and take a fifth of the time that writing takes."""


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
            out.append(path)
            _write(narrow.slice(start, end - start), path)
            start = end
        if sync:
            sync_files(out)
    except BaseException:
        for path in out:
            path.unlink(missing_ok=True)
        raise
    return out


def _write(table: pa.Table, path: Path) -> None:
    rows = ROW_GROUP if "frame" in table.column_names else GROUP_ROWS
    with pq.ParquetWriter(path, table.schema, store_schema=False, **layout(table.column_names)) as file:
        for start in range(0, table.num_rows, rows):
            group = table.slice(start, rows)
            file.write_table(pa.table([_compact(c) for c in group.columns], group.schema), rows)


def _compact(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Only the texts that these rows name, in order of appearance: a row group takes its dictionary as it is."""
    if not pa.types.is_dictionary(column.type):
        return column
    array = column.combine_chunks()
    codes = array.indices
    empty = codes.null_count > 0
    if empty:
        codes = codes.fill_null(-1)
    codes = codes.to_numpy().copy()
    place, kept = np.full(len(array.dictionary), -1, np.int32), np.empty(len(array.dictionary), np.int32)
    kept = kept[: renumber(codes, place, kept)]
    indices = pa.array(codes, mask=codes < 0) if empty else pa.array(codes)
    return pa.chunked_array(
        [pa.DictionaryArray.from_arrays(indices, array.dictionary.take(pa.array(kept)), safe=False)]
    )


_GROWING = frozenset({"from_user", "to_user", "ruri_user"})
"""Texts of messages that no search looks at, and that are mostly those of the message before: of those in order, only
what differs is written."""

_EACH = frozenset({"call_id", "from_user", "to_user"})
"""Texts that most rows of calls have for themselves: as a dictionary they would only stand in another place, and who
puts files together would have all of it in memory."""
CALL_PAGE = 1 << 16
"""Bytes of a page of calls in rows that just came in, likewise."""
PAGE_AGAIN = 1 << 18
"""Bytes of a page of other rows that are put together once more, likewise; a fourth of what is usual, and a fourth more
time to write."""


def layout(names: Sequence[str], level: int = FRESH, again: bool = False) -> dict[str, Any]:
    """How columns are written, as pyarrow.parquet wants it. `again`: the file will soon be put together with others."""
    growing = _GROWING if level == IN_ORDER and "ruri_user" in names else frozenset()
    calls = "first_key" in names
    plain = _PLAIN | growing | (_EACH if calls else frozenset())
    encoding = {n: "DELTA_BINARY_PACKED" for n in names if n in _DELTA}
    return {
        # Differences come out of zstd as large as they went in: with rows that just came in, it is spared the try.
        "compression": {n: "none" if n in encoding and level == FRESH else "zstd" for n in names},
        "compression_level": {n: level for n in names if n not in encoding or level != FRESH},
        # Arrow ends a page after 20,000 rows, and each page costs zstd its tables.
        "max_rows_per_page": GROUP_ROWS if level == FRESH else None,
        "use_dictionary": [n for n in names if n not in plain],
        "column_encoding": encoding | {n: "DELTA_BYTE_ARRAY" for n in names if n in growing},
        "write_statistics": [n for n in names if n not in _MIXED],
    } | ({"data_page_size": CALL_PAGE if calls else PAGE_AGAIN} if level == FRESH and (calls or again) else {})


def sync_files(files: list[Path]) -> None:
    """Make files, and the folders that name them, survive a power cut."""
    for path in files:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    for folder in {parent for path in files for parent in (path.parent, path.parent.parent, path.parent.parent.parent)}:
        sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
