"""Frames of closed hours, packed: a row for the frames of a call on one interface, and the way back to rows of frames.

A message says most of what the one before it said. Within a call, lines that stood in an earlier message are only
referred to, heads of packets likewise, and what can be worked out again (lengths, right checksums) is left out; zstd
then does the rest. It owns the two tables' shapes and which frames go together; it opens no file.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from capture.gather import gather_bytes
from index.packing import pack, room_to_pack
from index.schema import IN_FILES
from index.unpacking import TOO_SMALL, room_to_unpack, unpack
from sip.errors import Unreachable

FRAMES_OF_A_ROW = 256
"""A call with more frames than these has several rows."""
BYTES_OF_A_ROW = 1 << 20
MOST_BYTES = 1 << 30
"""What a batch of packed rows may become; beyond it, they are damaged."""
DAMAGED = "packed frames are damaged; `siptrail store check --deep` names the files"
KEY = ("call_id", "node", "interface", "link")
_BLOBS = ("numbers", "moves", "text")


def packed(frames: pa.Table) -> pa.Table:
    """Rows of the table `packed` for rows of the table `frames`, which come by Call-ID and time."""
    shape = IN_FILES["packed"]
    n = frames.num_rows
    if not n:
        return shape.empty_table()
    order, bounds = _bounds(frames)
    frames = frames.take(pa.array(order))
    wide, more = (_binary(frames[name]) for name in ("frame", "payload"))
    first = pa.array(bounds[:-1])
    data, (whole, parts, known) = _joined(wide, more, _known_lines(frames["call_id"].take(first)))
    ts, seq, when = (frames[name].to_numpy().astype(np.int64).view(np.uint64) for name in ("ts", "seq", "frame_ts"))
    steps = np.zeros((n, 3), np.uint64)
    for k, column in enumerate((ts, seq)):
        steps[1:, k] = column[1:] - column[:-1]
        steps[bounds[:-1], k] = 0
    steps[:, 2] = when - ts
    names = ("part", "original", "payload_at", "payload_size")
    columns = np.column_stack([frames[name].to_numpy().astype(np.int64) for name in names])
    size = len(data)
    # As much as the worst of frames could need; what is not written takes no memory.
    numbers, moves, text = (np.empty(k, np.uint8) for k in (48 * n, 4 * size + 300 * n, 2 * size))
    ends = np.zeros((len(bounds), 3), np.int64)
    pack(data, bounds, known, steps, columns, whole, parts, numbers, moves, text, ends, *room_to_pack())
    columns_out: dict[str, Any] = {name: frames[name].take(first) for name in (*KEY, "ts", "seq")}
    columns_out["frames"] = pa.array(np.diff(bounds).astype(np.int32))
    for k, (name, values) in enumerate(zip(_BLOBS, (numbers, moves, text), strict=True)):
        columns_out[name] = _blob(values, ends[:, k])
    return pa.table({name: columns_out[name] for name in shape.names}).cast(shape)


def unpacked(rows: pa.Table) -> pa.Table:
    """Rows of the table `frames` for rows of the table `packed`, both without day and hour."""
    shape = IN_FILES["frames"]
    counts = rows["frames"].to_numpy().astype(np.int64)
    total = int(counts.sum()) if len(counts) else 0
    if not total:
        return shape.empty_table()
    if counts.min() < 0 or counts.max() > FRAMES_OF_A_ROW:
        raise Unreachable(DAMAGED)
    firsts = np.column_stack([rows[name].to_numpy().astype(np.int64).view(np.uint64) for name in ("ts", "seq")])
    line_ends, known = _parts(_known_lines(rows["call_id"]))
    blobs, ends = [], np.zeros((len(counts) + 1, 3), np.int64)
    for k, name in enumerate(_BLOBS):
        column = _binary(rows[name])
        offsets, values = _parts(column)
        blobs.append(values[offsets[0] : offsets[-1]])
        ends[:, k] = offsets - offsets[0]
    stamps, columns = np.empty((total, 3), np.uint64), np.empty((total, 4), np.int64)
    whole, parts = np.empty((total, 2), np.int64), np.empty((total, 2), np.int64)
    room = len(known) + 4 * (sum(len(b) for b in blobs)) + 1500 * total
    while True:
        out = np.empty(room, np.uint8)
        numbers, moves, text = blobs
        into = (stamps, columns, whole, parts, out)
        done = unpack(counts, firsts, known, line_ends, numbers, moves, text, ends, *into, *room_to_unpack())
        if done != TOO_SMALL or room > MOST_BYTES:
            break
        room *= 4
    if done < 0:
        raise Unreachable(DAMAGED)
    owner = pa.array(np.repeat(np.arange(len(counts)), counts))
    columns_out: dict[str, Any] = {name: rows[name].take(owner) for name in KEY}
    for k, name in enumerate(("ts", "seq", "frame_ts")):
        columns_out[name] = pa.array(np.ascontiguousarray(stamps[:, k]).view(np.int64))
    for k, name in enumerate(("part", "original", "payload_at", "payload_size")):
        columns_out[name] = pa.array(columns[:, k])
    columns_out["frame"], columns_out["payload"] = _sliced(out, whole), _sliced(out, parts)
    return pa.table({name: columns_out[name] for name in shape.names}).cast(shape)


def warm_up() -> None:
    """Compile (or load) the kernels: done beside capture, it would keep capture waiting."""
    rows = {"call_id": ["warm"], "frame": [b"warm\r\n"], "payload": [None], "node": [""], "interface": [""]}
    columns = [pa.array(rows.get(field.name, [0]), field.type) for field in IN_FILES["frames"]]
    unpacked(packed(pa.table(columns, schema=IN_FILES["frames"])))


def in_parts(rows: pa.Table, most: int = 4096) -> Iterator[pa.Table]:
    """Packed rows with about so many frames at a time."""
    counts = rows["frames"].to_numpy()
    parts = (np.cumsum(counts) - counts) // most
    edges = [*np.flatnonzero(np.diff(parts, prepend=-1)).tolist(), rows.num_rows]
    for start, end in pairwise(edges):
        yield rows.slice(start, end - start)


def unpacked_rows(found: pa.Table) -> Iterator[dict[str, Any]]:
    """The frames in packed rows, one by one."""
    for part in in_parts(found):
        yield from unpacked(part).to_pylist()


def _bounds(frames: pa.Table) -> tuple[Any, Any]:
    """The order in which frames that are packed together stand together, and where each packed row begins in it."""
    n = frames.num_rows
    call = np.zeros(n, np.int64)
    ids = frames["call_id"]
    call[1:] = np.cumsum(pc.not_equal(ids.slice(1), ids.slice(0, n - 1)).to_numpy()) if n > 1 else 0
    order, key = np.arange(n), call
    codes = [_codes(frames[name]) for name in KEY[1:]]
    if any(len(c) and c.min() != c.max() for c in codes):
        order = np.lexsort([*codes, call])
        key = np.cumsum(np.any([np.diff(c[order], prepend=c[order][:1]) != 0 for c in (call, *codes)], axis=0))
    begins = np.flatnonzero(np.diff(key, prepend=-1))
    first = np.repeat(begins, np.diff(begins, append=n))
    sizes = sum(pc.fill_null(pc.binary_length(frames[c]), 0).to_numpy().astype(np.int64) for c in ("frame", "payload"))
    before = np.cumsum(sizes[order]) - sizes[order]
    for step in ((np.arange(n) - first) // FRAMES_OF_A_ROW, (before - before[first]) // BYTES_OF_A_ROW):
        more = np.flatnonzero(np.diff(step, prepend=0))
        begins = np.union1d(begins, more)
    return order, np.append(begins, n).astype(np.int64)


def _known_lines(call_ids: pa.ChunkedArray) -> pa.Array:
    """The line that a call's messages have in common, most likely."""
    line = pc.binary_join_element_wise("Call-ID: ", call_ids, "\r\n", "")
    return _binary(line)


def _codes(column: pa.ChunkedArray) -> Any:
    indices = column.combine_chunks().dictionary_encode(null_encoding="encode").indices
    return indices.to_numpy(zero_copy_only=False)


def _binary(column: pa.ChunkedArray) -> pa.Array:
    whole = column.cast(pa.binary()).combine_chunks()
    return whole.combine_chunks() if isinstance(whole, pa.ChunkedArray) else whole


def _parts(column: pa.Array) -> tuple[Any, Any]:
    """Offsets and bytes of a column of binaries."""
    _, offsets, values = column.buffers()
    places = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1].astype(np.int64)
    return places, np.frombuffer(b"" if values is None else values, np.uint8)


def _joined(*columns: pa.Array) -> tuple[Any, list[Any]]:
    """The bytes of some columns behind one another, and where each value is: (start, length), length -1 for null."""
    data, places, at = [], [], 0
    for column in columns:
        offsets, values = _parts(column)
        data.append(values[offsets[0] : offsets[-1]])
        lengths = np.diff(offsets)
        if column.null_count:
            lengths[column.is_null().to_numpy(zero_copy_only=False)] = -1
        places.append(np.column_stack((offsets[:-1] - offsets[0] + at, lengths)))
        at += len(data[-1])
    whole = np.concatenate(data)
    whole.flags.writeable = False
    return whole, places


def _blob(values: Any, ends: Any) -> pa.Array:
    size = int(ends[-1])
    return pa.Array.from_buffers(
        pa.binary(), len(ends) - 1, [None, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(values[:size])]
    )


def _sliced(data: Any, places: Any) -> pa.Array:
    """A column of (start, length) slices, length -1 for null."""
    starts, lengths = np.ascontiguousarray(places[:, 0]), np.ascontiguousarray(places[:, 1])
    there = lengths >= 0
    lengths = np.where(there, lengths, 0)
    values, offsets = np.empty(int(lengths.sum()), np.uint8), np.empty(len(starts) + 1, np.int32)
    gather_bytes(data, starts, lengths, values, offsets)
    mask = None if there.all() else pa.array(there).buffers()[1]
    return pa.Array.from_buffers(pa.binary(), len(starts), [mask, pa.py_buffer(offsets), pa.py_buffer(values)])
