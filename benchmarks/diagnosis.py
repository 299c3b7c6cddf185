"""How fast calls are diagnosed: `python benchmarks/diagnosis.py`.

Generated traffic (generate.py) in an in-memory archive, then the repository's own example captures, most of whose calls
have something wrong with them. Times are processor time, so that waiting for a busy machine does not count; parsing the
messages is part of it, fetching them from the archive is told apart.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from generate import write

from diagnose.call import Call
from diagnose.engine import Rule, diagnose, diagnose_all, load_rules
from diagnose.finding import Finding
from index.archive import Archive
from index.importing import import_file
from index.trace import CallTrace

TOGETHER = 100
"""Calls that are diagnosed at once, as the service does it for a list."""
ALONE = 500
"""Calls at least that are diagnosed by themselves, where there are so many."""
GOAL_RATE, GOAL_ONE = 500, 20
"""Calls a second and core; ms for one call."""
FIXTURES = Path(__file__).parents[1] / "fixtures" / "pcaps"


def main() -> None:
    parser = argparse.ArgumentParser(description="Calls diagnosed per second and core, and the time for one call.")
    parser.add_argument("--messages", type=int, default=30_000, help="messages of generated traffic")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rules", type=int, default=5, help="so many rules that take the most time are named")
    chosen = parser.parse_args()
    rules = load_rules()
    print(f"{len(rules)} rules; goal: {GOAL_RATE} calls/s and core, {GOAL_ONE} ms for one call")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calls.pcap"
        with path.open("wb") as out:
            write(out, chosen.messages, chosen.seed)
        measure("generated traffic", [path], rules, chosen.rules)
    captures = sorted(p for p in FIXTURES.iterdir() if p.suffix in (".pcap", ".pcapng"))
    measure("the repository's captures", captures, rules, chosen.rules)


def measure(name: str, captures: Sequence[Path], rules: tuple[Rule, ...], most: int) -> None:
    """Everything about some captures that are put into one archive."""
    archive = Archive(None, time.time_ns, memory="2GB")
    for capture in captures:
        import_file(archive, str(capture), "bench")
    ids = [c.call_id for c in archive.calls(None, 10_000_000)]
    gc.collect()
    gc.freeze()  # As `siptrail run` does once everything is loaded.
    fetching, judging, found = 0.0, 0.0, Counter[str]()
    for batch in batches(ids, TOGETHER):
        began = time.process_time()
        traces = list(archive.traces(batch).values())
        fetched = time.process_time()
        told = diagnose_all(traces, rules)
        judging += time.process_time() - fetched
        fetching += fetched - began
        found.update("something" if findings else "nothing" for findings in told)
    print(f"{name}: {len(ids):,} calls, {found['something']:,} with findings")
    print(
        f"  together: {len(ids) / judging:,.0f} calls/s and core; with fetching {len(ids) / (judging + fetching):,.0f}"
    )
    # Fetched anew, since a message keeps what was parsed of it; few at a time, as for somebody who looks at one call.
    some = ids[:: max(1, len(ids) // ALONE)]
    times = sorted(one_by_one((t for few in batches(some, 10) for t in archive.traces(few).values()), rules))
    at = int(len(times) * 0.99)
    print(f"  one by one: median {times[len(times) // 2]:.2f} ms, p99 {times[at]:.2f} ms, worst {times[-1]:.2f} ms")
    spent: Counter[str] = Counter()
    clocked = tuple(replace(r, check=timed(r, spent)) for r in rules)
    for batch in batches(ids[:2000], TOGETHER):
        diagnose_all(list(archive.traces(batch).values()), clocked)
    whole = sum(spent.values())
    named = ", ".join(f"{rule} {100 * took / whole:.0f} %" for rule, took in spent.most_common(most))
    print(f"  most of the rules' time: {named}")
    archive.close()


def batches(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for at in range(0, len(ids), size):
        yield ids[at : at + size]


def one_by_one(traces: Iterator[CallTrace], rules: tuple[Rule, ...]) -> Iterator[float]:
    """Milliseconds for each call by itself."""
    for trace in traces:
        began = time.process_time_ns()
        diagnose(trace, rules)
        yield (time.process_time_ns() - began) / 1e6


def timed(rule: Rule, spent: Counter[str]) -> Callable[[Call], list[Finding]]:
    """The same check that adds its time up."""

    def check(call: Call) -> list[Finding]:
        began = time.perf_counter_ns()
        try:
            return list(rule.check(call))
        finally:
            spent[rule.name] += time.perf_counter_ns() - began

    return check


if __name__ == "__main__":
    main()
