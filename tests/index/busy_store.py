"""A store that records, flushes and puts hours in order all the time, as a process of its own that may be killed.

    python tests/index/busy_store.py STORE PREFIX [SYNCS]
    python tests/index/busy_store.py STORE PREFIX --kills N

Prints the Call-ID of each call that is safe: its frames are in a spool that was synced. With SYNCS, every sync of a
file is noted there with the size that it had. With --kills, such a process is started and killed with signal 9 so
often, each time at another moment after it began to record; starting by fork spares each one the loading of libraries.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from capture.pipeline import Decoder
from capture.sources.pcapfile import PcapFile
from capture.warm import warm_up
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


def work(store: Path, prefix: str) -> None:
    """Record for ever."""
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


def kill_again_and_again(store: Path, prefix: str, kills: int) -> None:
    """Each child records until it is killed, some time after its first call was safe."""
    for block in warm_up():
        to_rows(block, "node")
    chance = random.Random(time.time())
    for n in range(kills):
        ours, its = os.pipe()
        child = os.fork()
        if not child:
            os.dup2(its, 1)
            try:
                work(store, f"{prefix}{n:03d}")
            finally:
                os._exit(1)
        os.close(its)
        with os.fdopen(ours) as said:
            first = said.readline()
            time.sleep(chance.uniform(0, 0.5))
            os.kill(child, signal.SIGKILL)
            lines = [first, *said]
        os.waitpid(child, 0)
        assert first.strip(), "it does not start"
        print("".join(line for line in lines if line.endswith("\n")), end="", flush=True)


def main() -> None:
    store, prefix, more = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    if more[:1] == ["--kills"]:
        kill_again_and_again(store, prefix, int(more[1]))
        return
    if more:
        note_syncs(Path(more[0]))
    work(store, prefix)


if __name__ == "__main__":
    main()
