"""A week of a carrier's traffic in one store, and how long questions take: `python benchmarks/week.py`.

Owns: a store with `--messages` spread over 168 hours (each hour is generated traffic with Call-IDs, tags and times of
its own, stored as hours that were put in order are: one file a table), and the times of the questions that people ask.
The last line repeats the figures as JSON. `--keep FOLDER` leaves the store there, and uses the one that is there.
`--beside` asks the same of a plain DuckDB table that has the same messages and frames as they came in, and of
`tshark -Y` over the capture of one of the hours, which is what someone reads who knows when it was.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

HERE = Path(__file__).parent
HOURS = 168
HOUR_NS = 3_600_000_000_000
FIRST_NS = 1_767_571_200_000_000_000  # 2026-01-05 00:00:00 UTC
KINDS = 4
"""Different generated captures that hours are made of in turn."""
DIGITS = b"0123456789abcdefghijklmnopqrstuvwxyz"
MARK = 6
"""Where in a Call-ID its hour stands: not in front, where it would tell files apart for nothing."""
LOOK_UPS = 60
PEER, CUSTOMER = "203.0.113.20", "198.51.100.14"


def hour_rows(captures: list[Path], hour: int) -> list[Any]:
    """The rows of an hour, as capture hands them on."""
    import numpy as np

    from capture.pipeline import Decoder
    from capture.scan import CALL_ID
    from capture.sources.pcapfile import PcapFile
    from index.columns import to_rows

    blocks = [m for b in PcapFile(str(captures[hour % KINDS])).blocks() for m in Decoder().feed(b)]
    first, span = int(blocks[0].ts[0]), int(blocks[-1].ts[-1] - blocks[0].ts[0]) + 1
    mark = np.array([DIGITS[hour // 36], DIGITS[hour % 36]], np.uint8)
    rows = []
    for n, block in enumerate(blocks):
        at = block.slices[CALL_ID][:, 0]
        block.data[at[:, None] + MARK + np.arange(2)] = mark
        # The hour's traffic is spread over all of it.
        shifted = ((block.ts - first) * ((HOUR_NS - 1) / span)).astype(np.int64) + FIRST_NS + hour * HOUR_NS
        block.ts[:] = shifted
        block.frame_ts[:] = shifted
        block.seq[:] = (hour << 32) + (n << 17) + np.arange(len(block))
        rows.append(to_rows(block, "node"))
    return rows


def fill(archive: Any, captures: list[Path], hours: int) -> list[str]:
    """Stores the hours; returns some Call-IDs of each."""
    from index.batches import sorted_batch

    some, pick = [], random.Random(7)
    began = time.monotonic()
    for hour in range(hours):
        rows = hour_rows(captures, hour)
        ids = rows[len(rows) // 2].messages["call_id"].dictionary
        some += [ids[pick.randrange(len(ids))].as_py() for _ in range(3)]
        store_in_order(archive.lake, sorted_batch(rows), hour)
        if hour % 12 == 11:
            print(f"{hour + 1} hours, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return some


def store_in_order(lake: Any, batch: Any, hour: int) -> None:
    """An hour in the form that the service gives it once it is over, without the detour by fresh files."""
    from index.hours import Slot
    from index.rollup import ADDED
    from index.schema import IN_FILES, shaped
    from index.sorting import write_in_order

    slot = Slot(f"2026-01-{5 + hour // 24:02d}", hour % 24)
    messages, frames, calls = (
        shaped(plain(rows), IN_FILES[table])
        for table, rows in (("messages", batch.messages), ("frames", batch.frames), ("calls", batch.calls))
    )
    calls = duckdb.sql(ADDED.format(source="calls")).to_arrow_table()
    calls = shaped(calls, IN_FILES["calls"])
    with lake.change() as change:
        for table, into, rows in (
            ("messages", "messages", messages), ("frames", "packed", frames), ("calls", "calls", calls),
        ):  # fmt: skip
            folder = lake.folder_of(into) / f"day={slot.day}" / f"hour={slot.hour}"
            pieces = (rows.slice(at, 10_000) for at in range(0, rows.num_rows, 10_000))
            files = write_in_order(table, pieces, folder, lake.folder / "temp").files
            change.add(into, files)
            if table == "messages":
                for path in files:
                    lake.call_hours.note(path, rows["call_id"].combine_chunks())


def plain(rows: Any) -> Any:
    """Texts as themselves, not as numbers of a dictionary."""
    import pyarrow as pa

    columns = [c.cast(c.type.value_type) if pa.types.is_dictionary(c.type) else c for c in rows.columns]
    return pa.table(columns, names=rows.column_names)


def captures_of(folder: Path, messages: int) -> list[Path]:
    """The generated captures, made once."""
    out = []
    for seed in range(KINDS):
        path = folder / f"kind{seed}.pcap"
        if not path.exists():
            options = ["--messages", str(messages), "--seed", str(seed + 1), "-o", str(path)]
            subprocess.run([sys.executable, str(HERE / "generate.py"), *options], check=True, stdout=subprocess.DEVNULL)
        out.append(path)
    return out


def times(count: int, ask: Callable[[int], Any]) -> list[float]:
    """Milliseconds of each of `count` questions, the fastest first."""
    out = []
    for n in range(count):
        began = time.perf_counter()
        ask(n)
        out.append(1000 * (time.perf_counter() - began))
    return sorted(out)


def told(taken: list[float]) -> str:
    """Median, p95 and worst in words."""
    return ", ".join(f"{name} {value:,.0f} ms" for name, value in figures(taken).items())


def figures(taken: list[float]) -> dict[str, float]:
    return {"median": taken[len(taken) // 2], "p95": taken[int(len(taken) * 0.95)], "worst": taken[-1]}


def forget_files() -> bool:
    """The kernel's copies of files go (as root), so that the next reader is a cold one."""
    try:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3\n")
    except OSError:
        return False
    return True


def memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def ask(store: Path, ids: list[str], hours: int) -> dict[str, Any]:
    """All questions to the store, printed one by one."""
    from index.archive import Archive
    from index.filter import parse_filter
    from index.lake import Lake
    from index.leg_search import families_of

    now = FIRST_NS + hours * HOUR_NS
    out: dict[str, Any] = {}

    def say(name: str, taken: list[float]) -> None:
        print(f"{name:<64}{told(taken)}", flush=True)
        out[name] = {
            "median_ms": taken[len(taken) // 2],
            "p95_ms": taken[int(len(taken) * 0.95)],
            "worst_ms": taken[-1],
        }

    pick = random.Random(3)
    wanted = [ids[pick.randrange(len(ids))] for _ in range(LOOK_UPS)]
    # The libraries are in memory, as in a service; what is cold is the store.
    archive = Archive(Lake(store), lambda: now)
    archive.trace(ids[0])
    archive.close()
    if forget_files():
        cold = []
        for call_id in wanted[:5]:
            forget_files()
            archive = Archive(Lake(store), lambda: now)
            cold += times(1, lambda n, a=archive, c=call_id: a.trace(c))
            archive.close()
        say("messages of a call by Call-ID, files cold, store just opened", sorted(cold))
    archive = Archive(Lake(store), lambda: now)
    try:
        first = times(LOOK_UPS, lambda n: archive.trace(wanted[n]))
        say("messages of a call by Call-ID, no time given, most files cold", first)
        say("messages of a call by Call-ID, no time given", times(LOOK_UPS, lambda n: archive.trace(wanted[n])))
        say("its frames, as for a pcap", times(LOOK_UPS, lambda n: archive.frames([wanted[n]])))
        say("a call as lists show it, by Call-ID", times(LOOK_UPS, lambda n: archive.call(wanted[n])))
        say("legs of a call", times(15, lambda n: families_of(archive, [wanted[n]])))
        for text in ("", "state:failed", f"dst:{PEER}", "code:503", "from:4416* talk:>60s", "codec:G729 pdd:>2s"):
            where = parse_filter(f"{text} since:1h".strip(), now)
            say(f"newest 100 calls, {text or 'all'}, last hour", times(7, lambda n, w=where: archive.calls(w, 100)))
        for text in ("code:499", "talk:>3h", "messages:>50"):  # which match nothing
            for span, count in (("1h", 7), ("7d", 2)):
                where = parse_filter(f"{text} since:{span}", now)
                assert not archive.calls(where, 1)
                say(f"{text} since:{span}, nothing found", times(count, lambda n, w=where: archive.calls(w, 100)))
        where = parse_filter(f"state:failed dst:{PEER} since:7d", now)
        say("newest 100 failed calls of one peer over 7 days", times(7, lambda n: archive.calls(where, 100)))
        where = parse_filter(f"state:failed src:{CUSTOMER} since:7d", now)
        say("newest 100 failed calls of one customer over 7 days", times(7, lambda n: archive.calls(where, 100)))
        say("all failed calls of one customer over 7 days", times(2, lambda n: archive.calls(where, 100_000)))
        out["memory_mb"] = memory_mb()
        print(f"memory of the process that asked: {memory_mb():,.0f} MB at most")
    finally:
        archive.close()
    return out


def commit_times(store: Path, captures: list[Path], hours: int) -> dict[str, float]:
    """Milliseconds of commits of 5,000 messages, as a recording service makes them, to a store of this size."""
    from index.batches import sorted_batch
    from index.columns import Rows
    from index.lake import Lake

    rows = hour_rows(captures, hours)[0]
    batches = [sorted_batch([Rows(*(x.slice(n * 5000, 5000) for x in (rows.messages, rows.frames)))]) for n in range(3)]
    lake = Lake(store)
    try:
        taken = times(15, lambda n: lake.commit(batches[n % 3], [], None, lambda commit: commit()))
        last = f"day = DATE '2026-01-{5 + hours // 24:02d}' AND hour = {hours % 24}"
        with lake.change() as change:
            for table in ("messages", "frames", "calls"):
                change.delete(table, last)
    finally:
        lake.close()
    print(f"{'a commit of 5,000 messages':<64}{told(taken)}", flush=True)
    return figures(taken)


def plain_table(path: Path, captures: list[Path], hours: int) -> None:
    """A table of one's own in a DuckDB file: the same columns, and the frame, in the order in which they came."""
    import pyarrow as pa

    began = time.monotonic()
    con = duckdb.connect(str(path), config={"memory_limit": "2GB", "threads": 2})
    for hour in range(hours):
        batches = hour_rows(captures, hour)
        rows = pa.Table.from_batches([r.messages for r in batches]).append_column(
            "frame", pa.chunked_array([r.frames["frame"] for r in batches])
        )
        con.register("rows", rows)
        con.execute("INSERT INTO messages SELECT * FROM rows" if hour else "CREATE TABLE messages AS FROM rows")
        con.unregister("rows")
        if hour % 12 == 11:
            print(f"plain table: {hour + 1} hours, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    con.close()


def ask_plain(path: Path, ids: list[str], hours: int) -> dict[str, Any]:
    """The questions that need no more than messages, to the plain table. Of calls it has none: they are grouped."""
    out: dict[str, Any] = {}
    now = FIRST_NS + hours * HOUR_NS
    pick = random.Random(3)
    wanted = [ids[pick.randrange(len(ids))] for _ in range(LOOK_UPS)]

    def say(name: str, taken: list[float]) -> None:
        print(f"{'plain table: ' + name:<64}{told(taken)}", flush=True)
        out[name] = figures(taken)

    con = duckdb.connect(str(path), read_only=True, config={"memory_limit": "2GB", "threads": 2})
    one = "SELECT * EXCLUDE (frame) FROM messages WHERE call_id = ?"
    if forget_files():
        say("messages of a call by Call-ID, files cold", times(1, lambda n: con.execute(one, [wanted[0]]).fetchall()))
    say("messages of a call by Call-ID, no time given", times(7, lambda n: con.execute(one, [wanted[n]]).fetchall()))
    frames = "SELECT ts, frame FROM messages WHERE call_id = ?"
    say("its frames, as for a pcap", times(7, lambda n: con.execute(frames, [wanted[n]]).fetchall()))
    failed = (
        "SELECT call_id, min(ts) AS start, max(code) AS code FROM messages WHERE {where} GROUP BY call_id "
        "HAVING max(code) FILTER (method = 'INVITE') >= 300 ORDER BY start DESC LIMIT 100"
    )
    last = failed.format(where=f"ts >= {now - HOUR_NS}")
    say("newest 100 calls, state:failed, last hour", times(7, lambda n: con.execute(last).fetchall()))
    week = failed.format(where=f"(dst_ip = '{PEER}' OR src_ip = '{PEER}')")
    say("newest 100 failed calls of one peer over 7 days", times(3, lambda n: con.execute(week).fetchall()))
    con.close()
    return out


def ask_tshark(capture: Path, hours: int) -> dict[str, float]:
    """A display filter on a Call-ID over the capture of one hour, in ms."""
    if shutil.which("tshark") is None:
        print("tshark is not installed")
        return {}
    first = ["tshark", "-r", str(capture), "-c", "1", "-T", "fields", "-e", "sip.Call-ID"]
    call_id = subprocess.run(first, capture_output=True, text=True, check=True).stdout.strip()
    command = ["tshark", "-r", str(capture), "-Y", f'sip.Call-ID == "{call_id}"']
    taken = times(2, lambda n: subprocess.run(command, stdout=subprocess.DEVNULL, check=True))
    name = f"tshark -Y over the capture of 1 of {hours} hours"
    print(f"{name:<64}{told(taken)}", flush=True)
    return figures(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--hours", type=int, default=HOURS)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--beside", action="store_true")
    chosen = parser.parse_args()
    folder = chosen.keep or Path(tempfile.mkdtemp(prefix="siptrail-week-"))
    folder.mkdir(parents=True, exist_ok=True)
    store, names = folder / "store", folder / "call-ids.json"
    try:
        if not names.exists():
            from index.archive import Archive
            from index.lake import Lake

            captures = captures_of(folder, chosen.messages // chosen.hours)
            archive = Archive(Lake(store), time.time_ns)
            began = time.monotonic()
            try:
                ids = fill(archive, captures, chosen.hours)
            finally:
                archive.close()
            names.write_text(json.dumps(ids))
            print(f"stored in {time.monotonic() - began:,.0f} s, with {memory_mb():,.0f} MB of memory at most")
        count = chosen.messages // chosen.hours * chosen.hours
        size = sum(p.stat().st_size for p in store.rglob("*") if p.is_file())
        print(f"{count:,} messages in {chosen.hours} hours: {size / 1e6:,.0f} MB, {size / count:.0f} bytes a message")
        ids, captures = json.loads(names.read_text()), captures_of(folder, chosen.messages // chosen.hours)
        told_all: dict[str, Any] = {"messages": count, "hours": chosen.hours, "bytes": size}
        told_all["questions"] = ask(store, ids, chosen.hours)
        told_all["commit"] = commit_times(store, captures, chosen.hours)
        if chosen.beside:
            table = folder / "plain.duckdb"
            if not table.exists():
                made = folder / "plain-being-made.duckdb"
                made.unlink(missing_ok=True)
                plain_table(made, captures, chosen.hours)
                made.rename(table)
            told_all["plain_bytes"] = table.stat().st_size
            print(f"plain table: {told_all['plain_bytes'] / 1e6:,.0f} MB", flush=True)
            told_all["plain"] = ask_plain(table, ids, chosen.hours)
            told_all["tshark"] = ask_tshark(captures[0], chosen.hours)
        print(json.dumps(told_all))
    finally:
        if chosen.keep is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
