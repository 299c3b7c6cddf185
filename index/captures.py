"""Which captures the store holds already: a file is known by its content, whatever its name, gzipped or not.

It owns the table of imported captures. Standard input has no content before it was read, so it is never known.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from index.archive import Archive
from index.importing import Beside, ImportResult
from index.lake import NOTHING, Lake
from index.rows import first_row
from index.schema import small

CHUNK, PART = 1 << 20, 64 << 10


@dataclass(frozen=True, slots=True)
class Known:
    """An earlier import of the same content."""

    name: str
    stamp: int
    messages: int


def content_of(path: str, keylog: Path | None = None) -> str | None:
    """What tells a capture from all others; None where it cannot be read twice, or not at all.

    With the TLS keys of a `keylog` it gives other messages than without. Of each megabyte a part and the size is looked
    at: no two captures differ in the rest alone, with all their times."""
    if path == "-" or not Path(path).is_file():
        return None
    digest = hashlib.blake2b(digest_size=20)
    try:
        if keylog is not None:
            digest.update(keylog.read_bytes())
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            source = cast(BinaryIO, gzip.GzipFile(fileobj=file)) if packed else file
            try:
                for piece in _parts(source, packed):
                    digest.update(piece)
                size = source.tell() if packed else os.fstat(file.fileno()).st_size
                digest.update(str(size).encode())
            except (EOFError, zlib.error, gzip.BadGzipFile):
                digest.update(b"damaged here")
    except OSError:
        return None  # reading it as a capture tells why
    return digest.hexdigest()


def _parts(source: BinaryIO, packed: bool) -> Iterator[bytes]:
    while piece := source.read(PART):
        yield piece
        if packed:
            source.read(CHUNK - PART)
        else:
            source.seek(CHUNK - PART, os.SEEK_CUR)


Look = Callable[[Lake, str, Path | None], tuple[str | None, Known | None]]
"""What tells the capture at a path, read with a key log or without, from all others, and whether the store has it."""


def look_up(lake: Lake, path: str, keylog: Path | None = None) -> tuple[str | None, Known | None]:
    """The content of a capture, and the last import of it, unless retention took something of that since."""
    content = content_of(path, keylog)
    return content, known(lake, content)


def known(lake: Lake, content: str | None) -> Known | None:
    """The last import of this content, unless retention took something of it since."""
    if content is None:
        return None
    with lake.reading() as cur:
        sql = "SELECT name, stamp, messages FROM lake.captures WHERE content = ? ORDER BY stamp DESC LIMIT 1"
        row = first_row(cur.execute(sql, [content]))
    return Known(*row) if row else None


def _kept(content: str | None, result: ImportResult, stamp: int) -> Mapping[str, pa.Table]:
    """That this content is in the store, where something of it is."""
    if content is None or not result.messages:
        return NOTHING
    row = (content, Path(result.file).name, stamp, result.messages, result.first, result.last)
    return {"captures": small("captures", [row])}


def import_once(
    archive: Archive,
    path: str,
    again: bool,
    work: Callable[[int, Beside], ImportResult],
    keylog: Path | None = None,
    look: Look = look_up,
    meanwhile: Callable[[Callable[[], bool]], None] = lambda done: None,
) -> ImportResult | Known:
    """`work(now, beside)` imports the file, with a key log or without, unless its content is known; `again`: even then.
    That it is known from now on is stored `beside` its last messages.

    `look` is who looks it up, where somebody has begun to; `meanwhile(done)` does something useful until it is done."""
    lake = archive.lake
    if lake is not None:
        lake.must_write()
    content, before = None, None
    if lake is not None:
        beside = ThreadPoolExecutor(1, "look-up")
        try:
            looking = beside.submit(look, lake, path, keylog)
            meanwhile(looking.done)
            content, before = looking.result()
        finally:
            beside.shutdown(wait=False, cancel_futures=True)  # who interrupts an import does not wait for this
    if before is not None and not again:
        return before
    now = time.time_ns()
    return work(now, lambda result: _kept(content, result, now))
