"""What a message takes on disk, fresh and once its hour is in order: `python benchmarks/size.py --messages 300000`.

Owns: a store made of generated traffic (benchmarks/generate.py), put in order, and measured table by table; with
`--columns` column by column; then look-ups in what is in order. Must not: count a file that no search reads any more.
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from index.archive import Archive
from index.compaction import compact_all
from index.hours import data_files
from index.importing import import_file
from index.lake import Lake
from index.packed import warm_up

LATER_NS = 2 * 3_600_000_000_000


def table(lake: Lake, what: str, messages: int, columns: bool) -> None:
    files = data_files(lake.cursor())
    by_table: Counter[str] = Counter()
    by_column: Counter[tuple[str, str]] = Counter()
    for file in files:
        by_table[file.table if file.slot is not None else "small tables"] += file.size
        meta = pq.ParquetFile(file.path).metadata
        for group in range(meta.num_row_groups if columns else 0):
            for k in range(meta.num_columns):
                chunk = meta.row_group(group).column(k)
                by_column[file.table, chunk.path_in_schema] += chunk.total_compressed_size
    catalogue = sum(p.stat().st_size for p in lake.folder.glob("catalogue.duckdb*"))
    print(f"{what}: {sum(by_table.values()) / messages:.1f} bytes a message, and {catalogue / 1e6:.1f} MB of catalogue")
    for name, size in by_table.most_common():
        print(f"  {name:<14}{size / messages:8.2f}")
        for (of, column), part in by_column.most_common():
            if of == name and part / messages >= 0.05:
                print(f"    {column:<18}{part / messages:8.2f}")


def look_ups(archive: Archive, ids: list[str]) -> str:
    taken = []
    for call_id in ids:
        began = time.perf_counter()
        found = archive.frames([call_id])
        taken.append(1000 * (time.perf_counter() - began))
        assert found, call_id
    taken.sort()
    return (
        f"median {taken[len(taken) // 2]:.0f} ms, p95 {taken[len(taken) * 95 // 100]:.0f} ms, worst {taken[-1]:.0f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=300_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--columns", action="store_true", help="tell the columns, too")
    parser.add_argument("--capture", type=Path, help="a capture instead of generated traffic")
    chosen = parser.parse_args()
    warm_up()
    with tempfile.TemporaryDirectory() as place:
        capture = chosen.capture or Path(place) / "calls.pcap"
        if chosen.capture is None:
            program = [sys.executable, str(Path(__file__).with_name("generate.py")), "-o", str(capture)]
            program += ["--messages", str(chosen.messages), "--seed", str(chosen.seed)]
            subprocess.run(program, check=True, stdout=subprocess.DEVNULL)
        lake = Lake(Path(place) / "store")
        archive = Archive(lake, time.time_ns)
        import_file(archive, str(capture), "node")
        messages = int(archive.message_stats()["messages"])
        print(f"{messages:,} messages: {capture.stat().st_size / messages:.0f} bytes a message in the capture")
        table(lake, "fresh", messages, chosen.columns)
        some = [c.call_id for c in archive.calls(None, 20_000)]
        ids = random.Random(chosen.seed).sample(some, min(50, len(some)))
        print(f"  frames of a call: {look_ups(archive, ids)}")
        before, peak = {c: archive.frames([c]) for c in ids}, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began, worked = time.perf_counter(), time.process_time()
        compact_all(lake, time.time_ns() + LATER_NS)
        took, worked = time.perf_counter() - began, time.process_time() - worked
        table(lake, "in order", messages, chosen.columns)
        more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
        print(
            f"  put in order: {messages / took:,.0f} messages/s, {messages / worked:,.0f} a second of one core; "
            f"at most {more / 1024:,.0f} MB of memory more than before"
        )
        print(f"  frames of a call: {look_ups(archive, ids)}")
        assert {c: archive.frames([c]) for c in ids} == before, "frames are not what they were"
        archive.close()


if __name__ == "__main__":
    main()
