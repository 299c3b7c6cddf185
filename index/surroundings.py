"""What went on around a call: how long this tap listened, and which hosts it heard being answered.

Rules that reason from silence rest on this. It reads partial call rows only, never messages.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping

import duckdb
import numpy as np

from index.columns import HOUR_NS, SANE
from index.rows import first_row
from index.trace import CallTrace

STEP_NS = 1_000_000_000
"""Activity is known in steps of this."""
MOST_STEPS = 1_000_000
"""Of a longer time there is no list of all steps."""
LONGEST_PAUSE = 120
"""Steps without any packet after which a store cannot tell whether somebody was listening."""
AROUND_NS = 600_000_000_000
"""How far from a call a packet to a host may be, to show that this direction is visible."""
MINUTE_NS = 60_000_000_000


class Surroundings:
    """The other calls near some calls that lie between two times (ns)."""

    def __init__(
        self,
        cur: duckdb.DuckDBPyConnection,
        calls: Callable[[int, int], str],
        low: int,
        high: int,
        one_capture: bool = False,
    ) -> None:
        """`calls`: tells SQL of partial rows from one time (ns) to another. `one_capture`: all rows are of one capture
        that was never interrupted."""
        self._cur, self._calls, self._low, self._high = cur, calls, low, high
        self._whole: tuple[int, int] | None = None
        self._steps: list[int] | None = None
        if one_capture:
            self._whole = first_row(cur.execute(f"SELECT min(first_ts), max(last_ts) FROM ({calls(*SANE)})"))

    def _activity(self) -> list[int]:
        """Steps in which there was any packet, an hour around. Live calls need none of this."""
        if self._steps is None:
            low, high = self._low - HOUR_NS, self._high + HOUR_NS
            rows = self._calls(low, high)
            near = f"SELECT first_ts, last_ts FROM ({rows}) WHERE last_ts >= {low} AND first_ts <= {high}"
            first, last = low // STEP_NS, high // STEP_NS
            if last - first > MOST_STEPS:
                found = self._cur.execute(
                    f"WITH near AS ({near}) SELECT DISTINCT first_ts // {STEP_NS} FROM near "
                    f"UNION SELECT DISTINCT last_ts // {STEP_NS} FROM near"
                ).fetchall()
                self._steps = sorted(int(step) for (step,) in found)
                return self._steps
            # A bit for each step: one pass over the rows, and nothing to sort.
            bits = ", ".join(
                f"bitstring_agg(({ts} // {STEP_NS})::BIGINT, {first}, {last}) "
                f"FILTER (WHERE {ts} BETWEEN {first * STEP_NS} AND {last * STEP_NS})::VARCHAR"
                for ts in ("first_ts", "last_ts")
            )
            row = first_row(self._cur.execute(f"SELECT {bits} FROM ({near})")) or ()
            marks = [np.frombuffer(text.encode(), np.uint8) == ord("1") for text in row if text is not None]
            here = np.logical_or.reduce(marks) if marks else np.zeros(0, bool)
            self._steps = [int(step) for step in np.flatnonzero(here) + first]
        return self._steps

    def listened(self, start: int, end: int) -> tuple[int, int]:
        """Since when and until when packets kept coming around a call: to a longer pause, or an hour at most."""
        if self._whole is not None:
            return min(self._whole[0], start), max(self._whole[1], end)
        steps = self._activity()
        first = bisect_right(steps, start // STEP_NS) - 1
        while first > 0 and steps[first] - steps[first - 1] <= LONGEST_PAUSE:
            first -= 1
        last = bisect_left(steps, end // STEP_NS)
        while last < len(steps) - 1 and steps[last + 1] - steps[last] <= LONGEST_PAUSE:
            last += 1
        since = steps[first] * STEP_NS if 0 <= first < len(steps) else start
        # Of the last step only its beginning is certain.
        until = steps[last] * STEP_NS if 0 <= last < len(steps) else end
        return min(since, start), max(until, end)

    def heard(self, traces: Mapping[str, CallTrace]) -> dict[str, frozenset[str]]:
        """By Call-ID: hosts that something was sent to, in the call itself or in other calls around it."""
        senders = {c: {m.src.ip for m in t.messages} for c, t in traces.items()}
        own = {c: {m.dst.ip for m in t.messages} for c, t in traces.items()}
        asked = sorted({ip for c in traces for ip in senders[c] - own[c]})
        seen: dict[str, list[tuple[int, int]]] = {}
        if asked:
            low, high = self._low - AROUND_NS, self._high + AROUND_NS
            rows = self._cur.execute(
                f"WITH near AS (SELECT * FROM ({self._calls(low, high)}) WHERE last_ts >= ? AND first_ts <= ?), "
                f"minutes AS (SELECT *, first_ts // {MINUTE_NS} AS low, last_ts // {MINUTE_NS} AS high FROM near) "
                "SELECT DISTINCT dst_ip, low, high FROM minutes WHERE list_contains(?, dst_ip) "
                "UNION SELECT DISTINCT src_ip, low, high FROM minutes WHERE list_contains(?, src_ip) "
                "AND coalesce(trying_ts, ring_ts, answer_ts, fail_ts, side_final_ts) IS NOT NULL",
                [low, high, asked, asked],
            ).fetchall()
            for ip, low, high in rows:
                seen.setdefault(ip, []).append((low * MINUTE_NS, high * MINUTE_NS))
        out: dict[str, frozenset[str]] = {}
        for call_id, trace in traces.items():
            start, end = trace.messages[0].ts - AROUND_NS, trace.messages[-1].ts + AROUND_NS
            known = {
                ip
                for ip in senders[call_id] - own[call_id]
                if any(low <= end and high >= start - MINUTE_NS for low, high in seen.get(ip, ()))
            }
            out[call_id] = frozenset(own[call_id] | known)
        return out
