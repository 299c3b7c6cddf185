"""Which calls are due for a look: INVITEs that failed, or that nobody answered. Time comes in with rows and caller."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

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
        methods, ids, ts = m["method"], m["call_id"], m["ts"].to_numpy()
        invites = methods.indices.to_numpy() == pc.index(methods.dictionary, "INVITE").as_py()
        code, call = m["code"].to_numpy(), ids.indices.to_numpy()
        answers = np.flatnonzero(invites & (code > 0))
        asked = np.flatnonzero(invites & (code == 0) & ~m["in_dialog"].to_numpy(zero_copy_only=False))
        last = np.full(len(ids.dictionary), -1, np.int64)
        last[call[answers]] = answers  # of several, the last one stays
        asked = asked[asked > last[call[asked]]]
        finals = answers[code[answers] >= 200]
        due, silent = self._due, self._silent
        with self._lock:
            if silent:
                for call_id in ids.dictionary.take(pa.array(np.flatnonzero(last >= 0))).to_pylist():
                    silent.pop(call_id, None)
            for call_id, at in zip(_texts(ids, asked), ts[asked].tolist(), strict=True):
                if len(silent) < LIMIT:
                    silent.setdefault(call_id, at + SILENCE_NS)
                else:
                    self.overflow += call_id not in silent
            for call_id, final, at in zip(_texts(ids, finals), code[finals].tolist(), ts[finals].tolist(), strict=True):
                if final < 300:
                    due.pop(call_id, None)
                    continue
                when = at + (CHALLENGE_NS if final in (401, 407) else SETTLE_NS)
                if len(due) < LIMIT or call_id in due:
                    due[call_id] = when if final in (401, 407) else min(when, due.get(call_id, when))
                else:
                    self.overflow += 1

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


def _texts(column: pa.DictionaryArray, rows: NDArray[np.int64]) -> list[str]:
    return column.take(pa.array(rows)).to_pylist()  # type: ignore[no-any-return]
