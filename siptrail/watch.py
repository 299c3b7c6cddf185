"""Which calls are due for a look: INVITEs that failed, or that nobody answered. Time comes in with rows and caller."""

from __future__ import annotations

import threading
from collections import OrderedDict

import pyarrow.compute as pc

from index.columns import Rows

SETTLE_NS = 2_000_000_000
"""After a failure, time for another branch or another try to turn up."""
CHALLENGE_NS = 33_000_000_000
"""After 401/407: 64*T1 and a second, since credentials may come late."""
SILENCE_NS = 33_000_000_000
LIMIT = 500_000


class FailureWatch:
    """Collects candidates from capture threads; the alert thread takes those whose time has come."""

    def __init__(self) -> None:
        self._due: dict[str, int] = {}
        """Failed calls and when to look at them."""
        self._silent: dict[str, int] = {}
        """INVITEs without any response yet, oldest first."""
        self._done: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()
        self.overflow = 0

    def observe(self, rows: Rows) -> None:
        """Note every final failure of an INVITE, and every first INVITE until something comes back."""
        m = rows.messages
        mask = pc.and_(
            pc.equal(m["method"], "INVITE"),
            pc.or_(pc.greater(m["code"], 0), pc.invert(m["in_dialog"])),
        )
        some = m.select(["call_id", "code", "ts"]).filter(mask)
        if not some.num_rows:
            return
        due, silent = self._due, self._silent
        with self._lock:
            for call_id, code, ts in zip(*(c.to_pylist() for c in some.columns), strict=True):
                if code == 0:
                    if len(silent) < LIMIT:
                        silent.setdefault(call_id, ts + SILENCE_NS)
                    else:
                        self.overflow += call_id not in silent
                    continue
                silent.pop(call_id, None)
                if code >= 300:
                    when = ts + (CHALLENGE_NS if code in (401, 407) else SETTLE_NS)
                    if len(due) < LIMIT or call_id in due:
                        due[call_id] = when if code in (401, 407) else min(when, due.get(call_id, when))
                    else:
                        self.overflow += 1
                elif code >= 200:
                    due.pop(call_id, None)

    def due(self, now: int, limit: int = 500) -> list[str]:
        """Call-IDs whose time has come, each handed out once per verdict."""
        with self._lock:
            ready = [c for c, when in self._due.items() if when <= now][:limit]
            for call_id in ready:
                del self._due[call_id]
            # Entries stand in the order of their times, so the first that is not due ends the search.
            while self._silent and len(ready) < limit:
                call_id, when = next(iter(self._silent.items()))
                if when > now:
                    break
                del self._silent[call_id]
                ready.append(call_id)
        return [c for c in ready if c not in self._done]

    def done(self, call_id: str) -> None:
        """This call has been told about; later retransmissions of its failure are not news."""
        with self._lock:
            self._done[call_id] = None
            while len(self._done) > 100_000:
                self._done.popitem(last=False)

    def look_again(self, call_id: str, when: int) -> None:
        """The call is not settled yet."""
        with self._lock:
            self._due.setdefault(call_id, when)
