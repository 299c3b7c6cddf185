"""A store that records, flushes and puts hours in order all the time, as a process of its own that may be killed.

    python tests/index/busy_store.py STORE PREFIX [SYNCS]

Prints the Call-ID of each call that is safe: its frames are in a spool that was synced. With SYNCS, every sync of a
file is noted there with the size that it had.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from capture.pipeline import Decoder
from capture.sources.pcapfile import PcapFile
from index.archive import Archive
from index.columns import HOUR_NS, to_rows
from index.lake import Lake
from index.recovery import recover
from index.retention import Limits
from index.spool import Spool
from index.upkeep import Upkeep
from tests.index.stored import START, call, capture


def note_syncs(log: Path) -> None:
    """Write down what is on disk for sure."""
    noted = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def noting(really: object):  # type: ignore[no-untyped-def]
        def sync(handle: int) -> None:
            size, path = os.fstat(handle).st_size, os.readlink(f"/proc/self/fd/{handle}")
            really(handle)  # type: ignore[operator]
            os.write(noted, f"{path}\t{size}\n".encode())

        return sync

    os.fsync, os.fdatasync = noting(os.fsync), noting(os.fdatasync)


def opened(store: Path) -> Archive:
    """The store with everything that the spool brings back."""
    archive = Archive(Lake(store), lambda: START)
    archive.spool = Spool(store / "spool")
    recover(archive, "node", lambda text: None)
    return archive


def flush_for_ever(archive: Archive) -> None:
    while True:
        archive.flush()


def keep_for_ever(upkeep: Upkeep) -> None:
    while True:
        upkeep.round(time.time_ns() + HOUR_NS)


def main() -> None:
    store, prefix = Path(sys.argv[1]), sys.argv[2]
    if len(sys.argv) > 3:
        note_syncs(Path(sys.argv[3]))
    archive = opened(store)
    assert archive.lake is not None and archive.spool is not None
    upkeep = Upkeep(archive.lake, Limits(1 << 62), "node")
    threading.Thread(target=flush_for_ever, args=[archive], daemon=True).start()
    threading.Thread(target=keep_for_ever, args=[upkeep], daemon=True).start()
    decoder = Decoder(first_seq=int(time.time() * 1000) << 20)
    for n in range(100_000):
        name = f"{prefix}-{n:05d}"
        path = capture(store.with_name(f"{prefix}.pcap"), call(name, START + n % 3 * HOUR_NS + n))
        for frames in PcapFile(str(path)).blocks():
            for block in (*decoder.feed(frames), *decoder.flush()):
                archive.add(to_rows(block, "node"), block)
        archive.spool.sync()
        archive.lake.count(n, "node", {"packets": 3})
        print(name, flush=True)


if __name__ == "__main__":
    main()
