"""A store of several machines against one machine's own: `python benchmarks/cluster.py --messages 300000`.

Owns: two nodes that write the same traffic's halves into one shared store, with PostgreSQL and SeaweedFS on this
machine, then look-ups and lists by a third. Must not: need anything but what the tests need (PostgreSQL's programs, the
packages of siptrail[dev]).
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from index.archive import Archive
from index.filter import parse_filter
from index.importing import import_file
from index.lake import Lake
from index.shared import Shared
from tests.servers import both


def write(captures: list[Path], lakes: list[Lake]) -> float:
    """Seconds that the nodes took to store a capture each, at the same time."""
    threads = [
        threading.Thread(
            target=lambda path=path, lake=lake: import_file(Archive(lake, time.time_ns), str(path), "node")
        )
        for path, lake in zip(captures, lakes, strict=True)
    ]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def read(name: str, lake: Lake, seed: int) -> None:
    archive = Archive(lake, time.time_ns)
    began = time.perf_counter()
    calls = archive.calls(None, 100)
    first = time.perf_counter() - began
    some = archive.calls(None, 20_000)
    wanted = random.Random(seed).sample(some, 25)
    taken = []
    for call in wanted:
        at = time.perf_counter()
        assert len(archive.trace(call.call_id).messages) == call.messages
        taken.append(1000 * (time.perf_counter() - at))
    lists = []
    for text in ("", "state:failed", f"from:{calls[0].from_user}"):
        at = time.perf_counter()
        archive.calls(parse_filter(text, time.time_ns()) if text else None, 100)
        lists.append(1000 * (time.perf_counter() - at))
    taken.sort()
    print(
        f"  {name}: messages of a call: median {taken[12]:.0f} ms, worst {taken[-1]:.0f} ms; newest 100 calls: first "
        f"{1000 * first:.0f} ms, then {lists[0]:.0f} ms; failed {lists[1]:.0f} ms; of one number {lists[2]:.0f} ms"
    )


def commits(lakes: list[Lake], seconds: float) -> None:
    """How often several nodes can change the catalogue."""
    counts, stop = [0] * len(lakes), time.perf_counter() + seconds

    def go(at: int) -> None:
        while time.perf_counter() < stop:
            lakes[at].count(1, f"node{at}", {"packets": 1})
            counts[at] += 1

    threads = [threading.Thread(target=go, args=(at,)) for at in range(len(lakes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"  {len(lakes)} nodes: {sum(counts) / seconds:.1f} small changes of the catalogue a second")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=300_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        captures = []
        for n in range(2):
            captures.append(folder / f"{n}.pcap")
            program = [sys.executable, str(Path(__file__).with_name("generate.py")), "-o", str(captures[-1])]
            program += ["--messages", str(chosen.messages // 2), "--seed", str(chosen.seed + n)]
            subprocess.run(program, check=True, stdout=subprocess.DEVNULL)
        own = Lake(folder / "own")
        import_file(Archive(Lake(folder / "warm"), time.time_ns), str(captures[0]), "warm")
        took = write(captures[:1], [own])
        print(f"{chosen.messages:,} messages")
        print(f"  one node, its own store: {chosen.messages // 2 / took:,.0f} messages/s")
        write(captures[1:], [own])
        read("its own store", own, chosen.seed)
        own.close()
        with both() as (postgres, objects):
            shared = Shared(postgres.create("lake"), objects.bucket("lake"))
            lakes = [Lake(folder / f"node{n}", shared=shared, node=f"node{n}") for n in range(2)]
            took = write(captures, lakes)
            print(f"  two nodes at once, shared store: {chosen.messages / took:,.0f} messages/s")
            reader = Lake(folder / "reader", shared=Shared(shared.catalogue, shared.data, True), node="reader")
            read("shared store", reader, chosen.seed)
            commits(lakes[:1], 5)
            commits(lakes, 5)
            for lake in (*lakes, reader):
                lake.close()


if __name__ == "__main__":
    main()
