"""Is the store bounded for ever? Simulated days of traffic as fast as they go: `python benchmarks/days.py --days 30`.

Owns: calls and OPTIONS with a clock of their own, written into a real store that keeps a week of calls and a day of
OPTIONS, and tidies up as the service does. Prints once a simulated day what would grow if something did: files,
snapshots, the catalogue, memory, the store. Must not: leave anything on the disk.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.steady import CALL, SECOND, memory, template
from capture.frames import FrameBlock
from capture.pipeline import Decoder
from capture.warm import warm_up
from index.archive import Archive
from index.cleanup import LATE_NS
from index.columns import to_rows
from index.hours import data_files
from index.lake import Lake
from index.openlake import CATALOGUE
from index.retention import Limits
from index.rows import first_row
from index.trace import Loss
from index.upkeep import ORPHANS_EVERY_NS, Upkeep
from siptrail.memory import give_back, share_heaps

DAY = 24 * 3600
PING = (
    ("OPTIONS sip:192.0.2.2 SIP/2.0", "1 OPTIONS", 0.0, True),
    ("SIP/2.0 200 OK", "1 OPTIONS", 0.02, False),
)
START = 1_780_012_800
"""Midnight of some day, long before the files are really written."""


@dataclass(frozen=True, slots=True)
class Day:
    """How large everything is at the end of a simulated day."""

    day: int
    messages: int
    """Written so far."""
    stored: int
    """Still there."""
    files: int
    """That the catalogue names."""
    on_disk: int
    """Parquet files that are there, those that wait for their deletion among them."""
    snapshots: int
    catalogue: int
    """Bytes, after what was written lately has been put into its place."""
    store: int
    """Bytes."""
    memory_mb: float
    """Resident; and of it what belongs to no file."""
    own_mb: float


class Clock:
    """The store's own records carry real times: which of them belong to a simulated one?"""

    def __init__(self) -> None:
        self._pairs: list[tuple[int, int]] = []

    def note(self, simulated: int) -> None:
        """Now it is so late."""
        self._pairs.append((simulated, time.time_ns()))

    def real(self, simulated: int) -> int:
        """When that was."""
        past = [r for s, r in self._pairs if s <= simulated]
        self._pairs = [p for p in self._pairs if p[0] > simulated - LATE_NS]
        return past[-1] if past else 0


def frames_of(block: FrameBlock, digits: np.ndarray, ts: np.ndarray, number: int, now: int) -> FrameBlock:
    """The template once more, with other Call-IDs and at another time."""
    data = block.data.copy()
    data[digits[:, None] + np.arange(10)] = np.frombuffer(f"{number:010d}".encode(), np.uint8)
    return FrameBlock(
        data, block.offset, block.captured, block.original, ts + now, block.interface, block.interfaces
    )  # fmt: skip


def simulate(folder: Path, days: int, busy: int, rate: float, flush: int, keep: int, keep_noise: int) -> Iterator[Day]:
    """A day's figures at the end of each. `busy`: hours of a day in which there is traffic; `rate`: messages a second,
    one in three of OPTIONS; `flush`: seconds between two; `keep`, `keep_noise`: hours."""
    now, clock, written = START * SECOND, Clock(), 0
    lake = Lake(folder)
    # The log of what was written lately may grow to 16 MB; so little traffic would take days for that.
    lake.con.execute("SET checkpoint_threshold = '256KB'")
    archive = Archive(lake, lambda: now)
    limits = Limits(keep * 3600 * SECOND, shorter=(("OPTIONS", keep_noise * 3600 * SECOND),))
    upkeep = Upkeep(lake, limits, "node")
    calls = template(max(1, round(rate * flush * 2 / 3 / len(CALL))), CALL, flush)
    pings = template(max(1, round(rate * flush / 3 / len(PING))), PING, flush)
    decoder, orphans_at = Decoder(), 0
    try:
        for step in range(days * DAY // flush):
            quiet = step * flush % DAY >= busy * 3600
            if not quiet:
                for kind, some in enumerate((calls, pings)):
                    for messages in decoder.feed(frames_of(*some, 2 * step + kind, now)):
                        written += len(messages)
                        archive.add(to_rows(messages, "node"))
                archive.flush()
                lake.count(now, "node", {"packets": 1})
                lake.lose("node", [Loss("eth0", now, now + 1, 1, "kernel")])
            now += flush * SECOND
            clock.note(now)
            if now % ((4 if quiet else 1) * 3600 * SECOND) == 0:
                upkeep.round(now)
                orphans = now - orphans_at > ORPHANS_EVERY_NS
                orphans_at = now if orphans else orphans_at
                upkeep.cleaner.clean(clock.real(now - LATE_NS) + LATE_NS, LATE_NS, orphans)
            if now % (DAY * SECOND) == 0:
                gc.collect()
                give_back()
                yield _measured(lake, step * flush // DAY + 1, written)
    finally:
        archive.close()


def _measured(lake: Lake, day: int, written: int) -> Day:
    cur = lake.cursor()
    stored = first_row(cur.execute("SELECT count(*) FROM lake.messages"))
    return Day(
        day,
        written,
        stored[0] if stored else 0,
        len(data_files(cur)),
        sum(1 for _ in (lake.folder / "data").rglob("*.parquet")),
        len(cur.execute("SELECT snapshot_id FROM ducklake_snapshots('lake')").fetchall()),
        sum(p.stat().st_size for p in lake.folder.glob(f"{CATALOGUE}*")),
        lake.size(),
        *memory(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--busy", type=int, default=5, help="hours of a day with traffic; each takes a second or two")
    parser.add_argument("--rate", type=float, default=2, help="messages a simulated second")
    parser.add_argument("--flush", type=int, default=900, help="simulated seconds between two flushes")
    chosen = parser.parse_args()
    share_heaps()
    warm_up()
    folder = Path(tempfile.mkdtemp(prefix="siptrail-days-"))
    began = time.perf_counter()
    print("  ".join(f"{f.name:>9}" for f in fields(Day)) + "    seconds")
    try:
        for day in simulate(folder, chosen.days, chosen.busy, chosen.rate, chosen.flush, 7 * 24, 24):
            print("  ".join(f"{v:>9,.0f}" for v in astuple(day)), f"{time.perf_counter() - began:>8.0f}", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
