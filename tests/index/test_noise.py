"""What stands outside of calls may go earlier than they do: by method, from every table, with nothing else."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from index import sorting
from index.archive import Archive
from index.check import check
from index.columns import HOUR_NS
from index.compaction import compact_all
from index.hours import data_files
from index.importing import import_file
from index.lake import Lake
from index.noise import Noise
from index.retention import Limits
from index.schema import PARTITIONED
from index.upkeep import Upkeep
from tests.index.stored import START, call, capture, frame, message, put, verdict

NOW = time.time_ns() + HOUR_NS
"""The files are not fresh any more."""
DAY_NS = 24 * HOUR_NS
LIMITS = Limits(1 << 62, shorter=(("OPTIONS", DAY_NS), ("REGISTER", 2 * DAY_NS)))
Packets = list[tuple[int, bytes]]


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    lake = Lake(tmp_path / "store")
    yield lake
    lake.close()


def alone(method: str, call_id: str, at: int = START, to_tag: bool = False) -> Packets:
    """A transaction outside of a dialog, or as if it were inside of one."""
    request = message(f"{method} sip:2002@b.example SIP/2.0", call_id, f"1 {method}")
    if not to_tag:
        request = request.replace(b";tag=2", b"")
    return [(at, frame(request)), (at + 10**6, frame(message("SIP/2.0 200 OK", call_id, f"1 {method}"), 10, 5))]


def store(lake: Lake, folder: Path, *calls: Packets, at: int | None = None) -> None:
    """Import these calls into the store: by default without a time of their own."""
    archive = Archive(lake, lambda: START)
    import_file(archive, str(capture(folder / "a.pcap", *calls)), "node", imported_at=at)


def ids(lake: Lake, table: str = "messages") -> dict[str, int]:
    rows = f"SELECT call_id, 1 AS n FROM lake.{table}"
    if table == "frames":
        rows += " UNION ALL SELECT call_id, frames FROM lake.packed"
    sql = f"SELECT call_id, sum(n)::INTEGER FROM ({rows}) GROUP BY call_id ORDER BY call_id"
    return dict(lake.cursor().execute(sql).fetchall())


def whole(lake: Lake, expected: dict[str, int]) -> None:
    """These Call-IDs with so many messages, in all tables, and nothing marked as deleted inside of a file."""
    assert ids(lake) == ids(lake, "frames") == expected
    assert set(ids(lake, "calls")) == set(expected) and set(ids(lake, "findings")) <= set(expected)
    assert {c.call_id: c.messages for c in Archive(lake, lambda: START).calls(None, 1000)} == expected
    assert check(lake, deep=True).faults == ()
    for table in PARTITIONED:
        found = lake.cursor().execute(f"SELECT delete_file FROM ducklake_list_files('lake', '{table}')").fetchall()
        assert {name for (name,) in found} <= {None}


def test_each_method_goes_when_its_time_has_passed(lake: Lake, tmp_path: Path) -> None:
    now = START + HOUR_NS + DAY_NS
    archive = put(lake, tmp_path / "c.pcap", call("call", START))
    store(lake, tmp_path, alone("OPTIONS", "ping"), alone("REGISTER", "phone"), alone("MESSAGE", "text"))
    archive.verdicts.remember([verdict("ping", START), verdict("phone", START)])
    archive.verdicts.keep()
    for path in (f.path for f in data_files(lake.cursor(), PARTITIONED)):
        os.utime(path, ns=(START, START))
    noise = Noise(lake)
    assert noise.plan(LIMITS, now) == [] == noise.remove(LIMITS, now, "node"), "not before its time"
    (planned,) = noise.plan(LIMITS, now + 1)
    assert (planned.slot.hour, planned.reason, planned.messages) == (10, "options", 2) and planned.size > 0
    assert planned.why == "OPTIONS outside of calls, older than 24 h"
    assert len(ids(lake)) == 4, "a plan removes nothing"
    (gone,) = noise.remove(LIMITS, now + 1, "node")
    assert (gone.slot, gone.reason, gone.messages) == (planned.slot, "options", 2)
    whole(lake, {"call": 3, "phone": 2, "text": 2})
    assert "phone" in ids(lake, "findings") and "ping" not in ids(lake, "findings")
    assert noise.plan(LIMITS, now + 2) == [] == noise.remove(LIMITS, now + 2, "node"), "once"
    (gone,) = noise.remove(LIMITS, now + DAY_NS + HOUR_NS, "node")
    assert gone.reason == "register"
    whole(lake, {"call": 3, "text": 2})
    counts = lake.counts()
    assert (counts["removed_messages_options"], counts["removed_messages_register"]) == (2, 2)
    assert counts["removed_bytes_options"] > 0


def test_what_belongs_to_a_call_stays_with_it(lake: Lake, tmp_path: Path) -> None:
    """Keep-alives inside a dialog, also in an hour that has nothing else of it; a Call-ID used in other ways, too."""
    store(
        lake,
        tmp_path,
        call("talk", START),
        alone("OPTIONS", "talk", START + 10**9),
        alone("OPTIONS", "long", START, to_tag=True),
        alone("OPTIONS", "mixed", START),
        alone("MESSAGE", "mixed", START + 10**9),
        alone("OPTIONS", "half")[1:],
        alone("OPTIONS", "ping"),
    )
    Noise(lake).remove(LIMITS, NOW, "node")
    whole(lake, {"talk": 5, "long": 2, "mixed": 4, "half": 1})
    assert Noise(lake).remove(LIMITS, NOW, "node") == [], "a new process finds nothing, either"


def test_an_import_counts_from_when_it_was_made(lake: Lake, tmp_path: Path) -> None:
    store(lake, tmp_path, alone("OPTIONS", "ping"), call("call", START), at=NOW - DAY_NS)
    assert Noise(lake).remove(LIMITS, NOW, "node") == []
    assert len(Noise(lake).remove(LIMITS, NOW + 1, "node")) == 1
    whole(lake, {"call": 3})


def test_an_hour_of_nothing_else_is_gone_altogether(lake: Lake, tmp_path: Path) -> None:
    store(lake, tmp_path, alone("OPTIONS", "ping"), at=START)
    assert len(Noise(lake).remove(LIMITS, NOW, "node")) == 1
    whole(lake, {})
    assert data_files(lake.cursor(), [*PARTITIONED, "imported", "captures"]) == []


def test_many_calls_in_many_files(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Call-IDs that are spread over pieces, groups and files, in order or not."""
    monkeypatch.setattr(sorting, "PIECE", 5)
    monkeypatch.setattr("index.noise.ID_BATCH", 3)
    kept: dict[str, int] = {}
    for n in range(3):
        calls = []
        for k in range(60):
            name = f"{os.urandom(3).hex()}-{n}-{k}"
            if k % 3:
                calls += [alone("OPTIONS" if k % 3 == 1 else "REGISTER", name, START + j * 10**9) for j in range(4)]
            else:
                calls.append(call(name, START))
                kept[name] = 3
        store(lake, tmp_path, *calls)
        if n == 1:
            compact_all(lake, NOW)
    gone = Noise(lake).remove(LIMITS, NOW, "node")
    assert {g.reason: g.messages for g in gone} == {"options": 3 * 20 * 8, "register": 3 * 20 * 8}
    whole(lake, dict(sorted(kept.items())))
    assert all(len([f for f in data_files(lake.cursor(), [t])]) == 1 for t in ("messages", "packed", "calls"))


def test_what_comes_meanwhile_stays_and_what_goes_meanwhile_is_not_brought_back(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(lake, tmp_path, alone("OPTIONS", "ping"), call("call", START))
    real, busy = sorting.sort_files, [True]

    def slow(*given: object, **more: object) -> sorting.Sorted:
        done = real(*given, **more)  # type: ignore[arg-type]
        if busy.pop() if busy else False:
            store(lake, tmp_path, alone("OPTIONS", "late"), call("late-call", START))
        return done

    monkeypatch.setattr("index.noise.sort_files", slow)
    noise = Noise(lake)
    noise.remove(LIMITS, NOW, "node")
    whole(lake, {"call": 3, "late": 2, "late-call": 3})
    noise.remove(LIMITS, NOW, "node")
    whole(lake, {"call": 3, "late-call": 3})

    store(lake, tmp_path, alone("OPTIONS", "ping"))

    def gone(*given: object, **more: object) -> sorting.Sorted:
        done = real(*given, **more)  # type: ignore[arg-type]
        Upkeep(lake, Limits(0), "node").retain(NOW + HOUR_NS)
        return done

    monkeypatch.setattr("index.noise.sort_files", gone)
    assert noise.remove(LIMITS, NOW, "node") == []
    whole(lake, {})


def test_upkeep_does_it_and_says_so(lake: Lake, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store(lake, tmp_path, alone("OPTIONS", "ping"), call("call", START), call("old", START - 100 * DAY_NS))
    upkeep = Upkeep(lake, Limits(NOW - START + DAY_NS, shorter=LIMITS.shorter), "node")
    assert sorted(r.reason for r in upkeep.plan(NOW)) == ["age", "options"]
    with caplog.at_level("INFO", "siptrail"):
        upkeep.round(NOW)
    assert "removed 2026-01-05 10:00 (2 messages" in caplog.text and "OPTIONS outside of calls" in caplog.text
    whole(lake, {"call": 3})
