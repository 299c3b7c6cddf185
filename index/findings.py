"""What diagnosis said of calls, kept so that nobody works it out again: in memory first, then in the lake.

It owns the rows and who of several verdicts on a call holds: the latest. What a finding says is diagnosis' own and
stands here as it was written (JSON). Nothing wrong is a verdict, too.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb
import pyarrow as pa

from index.columns import DAY_NS, HOUR_NS, SANE
from index.lake import Lake
from index.parquet import write_partitions
from index.schema import SHAPES

MOST_NAMES = 1_000_000
"""Names held for `finding:` in filters; beyond it the oldest go."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What rules said of a call at one time."""

    call_id: str
    start: int
    """First message of the call, ns."""
    messages: int
    """How many it had."""
    at: int
    """When this was said, in capture time, ns."""
    rules: str
    """Which rules said it; others may say otherwise."""
    findings: tuple[tuple[str, str, str], ...]
    """(name, severity, JSON), headline first."""


class Verdicts:
    """The verdicts on all calls. Any thread may use it."""

    def __init__(self, lake: Lake | None) -> None:
        self._lake = lake
        self._lock = threading.Lock()
        self._fresh: dict[str, Verdict] = {}
        """Not in the lake yet; all there are where there is no lake."""
        self._names = 0
        self._kept: list[Verdict] = []
        """In the lake since a moment ago: whoever reads an older snapshot still finds them here."""

    def remember(self, verdicts: Iterable[Verdict]) -> None:
        """These hold from now on."""
        with self._lock:
            for v in verdicts:
                before = self._fresh.pop(v.call_id, None)
                self._names += len(v.findings) - (len(before.findings) if before else 0)
                self._fresh[v.call_id] = v
            while self._names > MOST_NAMES:
                oldest = self._fresh.pop(next(iter(self._fresh)))
                self._names -= len(oldest.findings)

    def keep(self) -> int:
        """Move them to the lake; returns how many."""
        if self._lake is None or self._lake.read_only:
            return 0
        with self._lock:
            for v in self._kept:
                if self._fresh.get(v.call_id) is v:
                    del self._fresh[v.call_id]
                    self._names -= len(v.findings)
            self._kept = []
            moving = list(self._fresh.values())
        if not moving:
            return 0
        with self._lake.change() as change:
            files = write_partitions(_table(moving), self._lake.folder_of("findings"))
            change.own(files)
            self._lake.place.put(files)
            change.add("findings", files)
        with self._lock:
            self._kept = moving
        return len(moving)

    def of(self, cur: duckdb.DuckDBPyConnection, starts: Mapping[str, int]) -> list[Verdict]:
        """The latest verdict on each of these calls, given with their first times; no entry where there is none."""
        with self._lock:
            found = {c: self._fresh[c] for c in starts if c in self._fresh}
        missing = [c for c in starts if c not in found]
        if self._lake is None or not missing:
            return list(found.values())
        hours = sorted({_sane(starts[c]) // HOUR_NS for c in missing})
        cur.register("asked", pa.table({"call_id": pa.array(missing, pa.string())}))
        cur.execute("CREATE OR REPLACE TEMP TABLE wanted_findings AS SELECT call_id FROM asked")
        rows = cur.execute(
            "SELECT f.* EXCLUDE (day, hour) FROM lake.findings f JOIN wanted_findings USING (call_id) "
            f"WHERE {' OR '.join(_hour(h) for h in hours)} ORDER BY call_id, stamp, place"
        ).fetchall()
        for call_id, start, messages, stamp, rules, place, name, severity, record in rows:
            before = found.get(call_id)
            said = ((name, severity, record),) if name else ()
            if place and before is not None:
                said = (*before.findings, *said)
            found[call_id] = Verdict(call_id, start, messages, stamp, rules, said)
        return list(found.values())

    def show(self, cur: duckdb.DuckDBPyConnection) -> None:
        """Give the connection `findings` (call_id, name), for filters."""
        with self._lock:
            fresh = [(c, name) for c, v in self._fresh.items() for name, _, _ in v.findings or (("", "", ""),)]
        ids, names = (pa.array([p[k] for p in fresh], pa.string()) for k in (0, 1))
        cur.register("fresh_arrow", pa.table({"call_id": ids, "name": names}))
        cur.execute("CREATE OR REPLACE TEMP TABLE fresh_findings AS SELECT * FROM fresh_arrow")
        kept = (
            " UNION ALL SELECT call_id, name FROM lake.findings "
            "WHERE call_id NOT IN (SELECT call_id FROM fresh_findings) "
            "QUALIFY stamp = max(stamp) OVER (PARTITION BY call_id)"
        )
        cur.execute(
            "CREATE OR REPLACE TEMP VIEW findings AS SELECT call_id, name "
            f"FROM (SELECT call_id, name FROM fresh_findings{kept if self._lake else ''}) WHERE name <> ''"
        )


def _hour(hour: int) -> str:
    day = datetime.fromtimestamp(hour * 3600, UTC).date()
    return f"(day = DATE '{day}' AND hour = {hour % 24})"


def _sane(ns: int) -> int:
    return min(max(ns, SANE[0]), SANE[1])


def _table(verdicts: Iterable[Verdict]) -> pa.Table:
    rows = []
    for v in sorted(verdicts, key=lambda v: (_sane(v.start) // HOUR_NS, v.call_id)):
        day, hour = divmod(_sane(v.start), DAY_NS)
        for place, (name, severity, record) in enumerate(v.findings or (("", "", ""),)):
            rows.append(
                (day, hour // HOUR_NS, v.call_id, v.start, v.messages, v.at, v.rules, place, name, severity, record)
            )
    shape = SHAPES["findings"]
    columns = list(zip(*rows, strict=True))
    days = pa.array(columns[0], pa.int32()).cast(pa.date32())
    return pa.table(
        [days, *(pa.array(c, f.type) for c, f in zip(columns[1:], list(shape)[1:], strict=True))], schema=shape
    )
