"""Diagnoses calls in the background: those that failed, and those where something odd was on the wire.

It owns which calls it looks at and how much of the machine it may take. What it finds out goes to the store through the
desk; all other calls are diagnosed when somebody asks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

import numpy as np
import pyarrow as pa
from prometheus_client import CollectorRegistry, Gauge

from capture.flags import RESENT, TRUNCATED
from index.columns import Rows
from index.summary import CallSummary

SETTLE_NS = 2_000_000_000
"""After what made a call interesting, time for the ACK and for another branch."""
SILENCE_NS = 34_000_000_000
"""After this nothing that is missing still comes (64*T1): the last look."""
OTHERS_NS = 240_000_000_000
"""So long other legs of the same call are waited for: until then they have failed, or been answered."""
TOGETHER = 100
"""Calls that are diagnosed at a time."""
MOST = 50_000
"""Calls that wait; more are left to whoever asks for them."""
LOOK_BACK_NS = 600_000_000_000
SHARES = ((3_000, 0.5), (20_000, 0.2))
BUSY_SHARE = 0.05
"""Share of the time that it works at most, while no more messages a second than these come in; beyond the last, capture
goes first."""
USUAL = (401, 407, 487)
"""Failures that most calls get over: challenges, and what follows a CANCEL."""
ODD = RESENT | TRUNCATED
"""Flags of a message that make its call worth a look."""


class Analyst:
    """Collects candidates from capture threads; `work` takes those whose time has come."""

    def __init__(
        self,
        calls_of: Callable[[Sequence[str], int], list[CallSummary]],
        diagnose: Callable[[list[CallSummary]], object],
        unsettled: Callable[[Iterable[str]], set[str]] = lambda call_ids: set(),
    ) -> None:
        """`unsettled`: those of some diagnosed calls of which other legs may still tell something else."""
        self._calls_of, self._diagnose, self._unsettled = calls_of, diagnose, unsettled
        self._due: tuple[dict[str, tuple[int, bool]], dict[str, tuple[int, bool]]] = {}, {}
        """By Call-ID: when to look, and whether that is the last look; in the order of entry. First the calls that
        nobody has looked at, then those that are looked at once more, so that these never delay the others."""
        self._lock = threading.Lock()
        self._messages = 0
        self.busy = False
        """More messages come in than this machine can spare much time beside."""
        self.left = 0
        """Calls that were not looked at, because too many waited."""
        self.done = 0
        """Calls that were diagnosed."""

    def observe(self, rows: Rows) -> None:
        """Note the calls of final failures and of odd messages."""
        m = rows.messages
        code, flags = m["code"].to_numpy(), m["flags"].to_numpy()
        telling = np.flatnonzero(((code >= 400) & ~np.isin(code, USUAL)) | ((flags & ODD) != 0))
        with self._lock:
            self._messages += len(code)
            if not len(telling):
                return
            # Each call once, by its first message that tells something.
            ids = m["call_id"]
            calls, first = np.unique(ids.indices.to_numpy()[telling], return_index=True)
            names = ids.dictionary.take(pa.array(calls)).to_pylist()
            for call_id, at in zip(names, m["ts"].to_numpy()[telling[first]].tolist(), strict=True):
                self._enter(call_id, at + SETTLE_NS, False)

    def expect(self, call_id: str, at: int) -> None:
        """Look at this call, too: nobody answered it."""
        with self._lock:
            self._enter(call_id, at, True)

    def _enter(self, call_id: str, when: int, last: bool, again: bool = False) -> None:
        if any(call_id in due for due in self._due):
            return
        if sum(map(len, self._due)) >= MOST:
            self.left += 1
            return
        self._due[again][call_id] = when, last

    def waiting(self) -> int:
        """Calls that wait for a look."""
        with self._lock:
            return sum(map(len, self._due))

    def metrics(self) -> CollectorRegistry:
        """The same for Prometheus."""
        registry = CollectorRegistry()
        what = "Calls diagnosed in the background", "Calls left undiagnosed because too many waited", "Calls that wait"
        Gauge("siptrail_diagnosis_done", what[0], registry=registry).set_function(lambda: self.done)
        Gauge("siptrail_diagnosis_left", what[1], registry=registry).set_function(lambda: self.left)
        Gauge("siptrail_diagnosis_waiting", what[2], registry=registry).set_function(self.waiting)
        return registry

    def look(self, now: int) -> int:
        """Diagnose some of the calls that are due; returns how many."""
        with self._lock:
            ready: dict[str, bool] = {}
            for due in self._due:
                some = ((call_id, last) for call_id, (when, last) in due.items() if when <= now)
                found = dict(islice(some, TOGETHER - len(ready)))
                for call_id in found:
                    del due[call_id]
                ready |= found
        calls = self._calls_of(list(ready), now - LOOK_BACK_NS) if ready else []
        if calls:
            self._diagnose(calls)
        waits = self._unsettled(ready)
        with self._lock:
            self.done += len(calls)
            for call in calls:
                if call.call_id in waits and now - call.end < OTHERS_NS:
                    # Each time half as long again as it has waited: a leg may ring for a minute.
                    self._enter(call.call_id, now + max(SETTLE_NS, (now - call.end) // 2), False, again=True)
                elif not ready[call.call_id]:
                    # What is still missing then will not come any more.
                    self._enter(call.call_id, call.end + SILENCE_NS, True, again=True)
        return len(calls)

    def work(self, stop: threading.Event) -> None:
        """Look at what is due until `stop`, for a share of the time."""
        before = time.monotonic()
        while not stop.wait(0.5):
            with self._lock:
                rate = self._messages / max(time.monotonic() - before, 0.1)
                self._messages = 0
            before = time.monotonic()
            share = next((share for most, share in SHARES if rate <= most), BUSY_SHARE)
            self.busy = share == BUSY_SHARE
            while not stop.is_set() and self._turn(share, stop):
                pass

    def _turn(self, share: float, stop: threading.Event) -> bool:
        began = time.monotonic()
        some = self.look(time.time_ns())
        if some:
            stop.wait((time.monotonic() - began) * (1 / share - 1))
        return some == TOGETHER
