"""Calls found by their Call-ID in a store that is open: `python benchmarks/look_up.py STORE CALL-ID...`.

Owns: the time of a look-up without the start of a process, on `index.archive`. Must not: change the store.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from index.archive import Archive
from index.lake import Lake


def look_up(store: Path, call_ids: list[str]) -> list[float]:
    """Milliseconds of each look-up; the first one also opens the files."""
    archive = Archive(Lake(store), time.time_ns)
    taken = []
    try:
        for call_id in call_ids:
            started = time.perf_counter()
            found = archive.call(call_id)
            taken.append(1000 * (time.perf_counter() - started))
            if found.call_id != call_id:
                raise SystemExit(f"asked for {call_id}, got {found.call_id}")
    finally:
        archive.close()
    return taken


def main() -> None:
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    taken = look_up(Path(sys.argv[1]), sys.argv[2:])
    first, ordered = taken[0], sorted(taken)
    median, worst = ordered[len(ordered) // 2], ordered[-1]
    print(f"median {median:.0f} ms, worst {worst:.0f} ms, the first {first:.0f} ms ({len(taken)} calls)")


if __name__ == "__main__":
    main()
