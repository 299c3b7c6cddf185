"""How the rate of recording grows from one capture worker to two: `python benchmarks/workers.py`.

Owns: blocks of frames in memory, as the rings hand them over, and as many threads as there are workers, each with a
decoder of its own. Each does what a worker of the service does with a block: decode, tell copies, make rows, hand them
to an archive that all share, with its spool on disk. Nothing is sent and nothing is flushed, so the figure is that of
the capture path alone, with no generator beside it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from capture.frames import FrameBlock
from capture.pipeline import Decoder
from capture.sources.pcapfile import PcapFile
from index.archive import Archive
from index.columns import to_rows
from index.copies import Copies
from index.lake import Lake
from index.spool import Spool
from siptrail.service import SWITCH_SECONDS
from siptrail.watch import FailureWatch

GENERATE = Path(__file__).with_name("generate.py")


def record(blocks: list[FrameBlock], workers: int, folder: Path) -> float:
    """Messages a second with so many workers."""
    archive = Archive(Lake(folder / f"store{workers}"), time.time_ns)
    archive.spool = Spool(folder / f"spool{workers}")
    copies, watch = Copies(), FailureWatch()
    counts = [0] * workers
    ready = threading.Barrier(workers + 1)

    def work(number: int) -> None:
        decoder = Decoder(first_seq=number << 40)
        ready.wait()
        for block in blocks[number::workers]:
            for messages in decoder.feed(block):
                copies.mark(messages)
                rows = to_rows(messages, "node")
                archive.add(rows, messages)
                watch.observe(rows)
                counts[number] += len(messages)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(workers)]
    for thread in threads:
        thread.start()
    ready.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    rate = sum(counts) / (time.perf_counter() - began)
    archive.close()
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=300_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    sys.setswitchinterval(SWITCH_SECONDS)
    with tempfile.TemporaryDirectory(prefix="siptrail-workers-") as name:
        folder = Path(name)
        capture = folder / "traffic.pcap"
        subprocess.run(
            [sys.executable, str(GENERATE), "--messages", str(chosen.messages), "-o", str(capture)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        blocks = list(PcapFile(str(capture)).blocks())
        record(blocks[:4], 1, folder / "warm")
        best = {n: 0.0 for n in chosen.workers}
        for turn in range(chosen.rounds):
            for n in chosen.workers:
                best[n] = max(best[n], record(blocks, n, folder / str(turn)))
        first = best[chosen.workers[0]]
        for n, rate in best.items():
            print(f"{n} worker{'s' if n > 1 else ' '}: {rate:>9,.0f} messages/s, {rate / first:.2f} x", flush=True)


if __name__ == "__main__":
    main()
