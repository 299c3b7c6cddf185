"""In which hours of the store a call has rows: asked before a look-up, so that it opens two files and not all of them.

For each file of `messages` there is one with a hash of four bytes for each Call-ID in it, sorted. It is made with the
file or, where it is missing, later; until then the file's hour counts as one that may have any call. A hash may be that
of another call: then an hour is looked at for nothing. It owns these hash files and nothing of the lake's.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from capture.jit import kernel, plainly
from capture.words import hash_of
from index.hours import DataFile, Slot

log = logging.getLogger(__name__)

U32 = NDArray[np.uint32]
MAGIC = np.uint32(0x31484353)
"""The first four bytes ("SCH1"); then the number of hashes, then the hashes: all of them unsigned, little-endian."""
MOST_CALLS = 20_000
"""So many calls are in nearly every hour: they are looked for in all."""
MOST_HOURS = 48
"""More hours than these are not named one by one."""
FEW_CALLS = 4


@kernel
def hashes_of(data: NDArray[np.uint8], offsets: NDArray[np.int32], out: U32) -> None:
    """A hash of each text of an Arrow array."""
    for i in range(len(out)):
        mixed = hash_of(data, np.uint64(offsets[i]), np.uint64(offsets[i + 1]))
        out[i] = np.uint32((mixed * np.uint64(0xC2B2AE3D27D4EB4F)) >> np.uint64(32))


@kernel
def any_in(wanted: U32, known: U32) -> bool:
    """Whether one of the hashes is among those known (sorted). Hashes are spread evenly, so that each is nearly where
    its value says: few pages of a large file are touched."""
    n = len(known)
    if n == 0:
        return False
    width = 8
    while width * width < 16 * n:
        width *= 2
    for i in range(len(wanted)):
        value = wanted[i]
        guess = (int(value) * n) >> 32
        low, high = max(guess - width, 0), min(guess + width, n)
        if low > 0 and known[low] > value:
            low = 0
        if high < n and known[high - 1] < value:
            high = n
        while low < high:
            middle = (low + high) >> 1
            if known[middle] < value:
                low = middle + 1
            else:
                high = middle
        if low < n and known[low] == value:
            return True
    return False


class CallHours:
    """The hash files of one machine's view of a store, in a folder of its own. Safe from any thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._open: dict[str, U32 | None] = {}
        """By the name of the Parquet file; None: there is none that can be read."""
        self._strange: set[str] = set()
        """Of no file that there was when `forget` last looked."""

    def note(self, path: Path, call_ids: pa.Array) -> None:
        """A file of `messages` has these Call-IDs. What cannot be written is made later: nothing depends on it."""
        try:
            self._write(path, call_ids)
        except OSError as error:
            log.debug("no Call-ID hashes for %s: %s", path.name, error)

    def _write(self, path: Path, call_ids: pa.Array) -> None:
        hashes = np.unique(_hashes(call_ids))
        self._folder.mkdir(parents=True, exist_ok=True)
        target = self._place(path.name)
        part = target.with_suffix(".part")
        try:
            with part.open("wb") as file:
                file.write(np.array([MAGIC, len(hashes)], "<u4").tobytes() + hashes.astype("<u4").tobytes())
                file.flush()
                # Half of it after a power cut would be of the right length, and deny calls that are there.
                os.fsync(file.fileno())
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        with self._lock:
            self._open.pop(path.name, None)

    def fill(self, files: Iterable[DataFile], opened: Callable[[Path], BinaryIO], stop: Callable[[], bool]) -> int:
        """Make what is missing, newest hours first; returns how many were made. `opened` gives a file to read."""
        missing = [f for f in files if f.slot is not None and self._known(f.path) is None]
        made = 0
        for one in sorted(missing, key=lambda f: (f.slot, f.path), reverse=True):
            if stop():
                break
            try:
                with opened(one.path) as file:
                    call_ids = pq.read_table(file, columns=["call_id"], read_dictionary=["call_id"])["call_id"]
                self._write(one.path, call_ids.unify_dictionaries().combine_chunks())
                made += 1
            except (OSError, pa.ArrowException) as error:
                log.debug("no Call-ID hashes for %s: %s", one.path, error)
        return made

    def forget(self, files: Iterable[DataFile]) -> None:
        """Hashes of files that are not among these go, at the second time: a commit may be about to name its files."""
        there = {f.path.name for f in files}
        strange = {p.stem for p in self._folder.glob("*.calls")} - there
        for name in strange & self._strange:
            with self._lock:
                self._open.pop(name, None)
            self._place(name).unlink(missing_ok=True)
        self._strange = strange

    def hours(self, call_ids: Sequence[str], files: Iterable[DataFile]) -> frozenset[Slot] | None:
        """Where calls may have rows, by the files of `messages` that there are now; None: anywhere."""
        if len(call_ids) > MOST_CALLS:
            return None
        # A command that asks for one call and ends would wait for the compiler longer than for the rest.
        few = len(call_ids) <= FEW_CALLS
        has_any = plainly(any_in) if few else any_in
        wanted = np.sort(_hashes(pa.array(list(call_ids), pa.string()), plainly(hashes_of) if few else hashes_of))
        out: set[Slot] = set()
        for one in files:
            if one.slot is None or one.slot in out:
                continue
            known = self._known(one.path)
            if known is None or has_any(wanted, known):
                out.add(one.slot)
        return frozenset(out)

    def _known(self, path: Path) -> U32 | None:
        with self._lock:
            if path.name in self._open:
                known = self._open[path.name]
                if known is not None:
                    return known
        known = _read(self._place(path.name))
        with self._lock:
            self._open[path.name] = known
        return known

    def _place(self, name: str) -> Path:
        return self._folder / f"{name}.calls"


def _read(path: Path) -> U32 | None:
    try:
        whole = np.memmap(path, "<u4", "r")
    except (OSError, ValueError):
        return None
    if len(whole) < 2 or whole[0] != MAGIC or len(whole) != 2 + int(whole[1]):
        return None
    return np.asarray(whole[2:])


def _hashes(call_ids: pa.Array, run: Callable[[NDArray[np.uint8], NDArray[np.int32], U32], None] = hashes_of) -> U32:
    """A hash of each text; of a dictionary, of each that is named."""
    if pa.types.is_dictionary(call_ids.type):
        named = np.zeros(len(call_ids.dictionary), bool)
        named[call_ids.indices.to_numpy()] = True
        call_ids = call_ids.dictionary.filter(pa.array(named))
    _, offsets, data = call_ids.buffers()
    out = np.empty(len(call_ids), np.uint32)
    if len(out):
        at = np.frombuffer(offsets, np.int32)[call_ids.offset :][: len(out) + 1]
        run(np.frombuffer(data or b"", np.uint8), at, out)
    return out


def conditions(slots: frozenset[Slot] | None) -> tuple[str, ...]:
    """The conditions for these hours as SQL, one for each day: of days and hours that are listed in one condition, the
    store looks at each of these hours on each of these days. Whole folders without them are not looked at."""
    if slots is None or len(slots) > MOST_HOURS:
        return ("true",)
    days: dict[str, list[str]] = {}
    for slot in sorted(slots):
        days.setdefault(slot.day, []).append(str(slot.hour))
    return tuple(f"(day = DATE '{day}' AND hour IN ({', '.join(hours)}))" for day, hours in days.items()) or ("false",)
