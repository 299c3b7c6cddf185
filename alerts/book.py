"""The alerts that are open: equal failures become one alert that opens, counts and closes.

Sans-IO: time comes in as an argument and notices go out as return values. One lock, because the API lists from its
own threads.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from alerts.event import FailureEvent, Notice, Reading
from index.summary import rfc3339

MINUTE_NS = 60_000_000_000
EXAMPLES = 3
LIMIT = 10_000
"""Alerts open at once; beyond it, peers are lumped together, so that spoofed addresses cannot fill the memory."""
CLOSED_KEPT = 200
OTHER = "other peers"

Key = tuple[str, str, str]
"""Rule, peer, code (or the finding's name where there was no response)."""


@dataclass(slots=True)
class _Alert:
    key: Key
    event: FailureEvent
    """The first one."""
    headline: str
    last: int
    heard: int
    """Our clock at the latest event."""
    told: int
    """Our clock at the latest notice."""
    count: int = 1
    told_count: int = 1
    call_ids: list[str] = field(default_factory=list)
    of: int | None = None
    kept: bool = False
    """A rule's last look kept it open: it closes after a look that does not, however long that takes to come."""


class AlertBook:
    """Opens one alert per (rule, peer, code or finding); closes it after `quiet_ns` without a failure.

    While it is open, at most one update per `cooldown_ns`.
    """

    def __init__(
        self, quiet_ns: int = 5 * MINUTE_NS, cooldown_ns: int = MINUTE_NS, base_url: str = "", limit: int = LIMIT
    ) -> None:
        self.quiet_ns = quiet_ns
        self.cooldown_ns = cooldown_ns
        self.base_url = base_url
        self.limit = limit
        self._open: dict[Key, _Alert] = {}
        self._closed: deque[dict[str, Any]] = deque(maxlen=CLOSED_KEPT)
        self._failures: Counter[Key] = Counter()
        self._lock = threading.Lock()

    def feed(self, event: FailureEvent, now_ns: int) -> list[Notice]:
        """Take one failure; the notices to send because of it."""
        with self._lock:
            key = self._key(event)
            room = key in self._failures or len(self._failures) < self.limit
            self._failures[key if room else (key[0], OTHER, key[2])] += 1
            alert = self._open.get(key)
            if alert is None:
                alert = _Alert(key, event, event.headline, event.ts, now_ns, now_ns, call_ids=[event.call_id])
                self._open[key] = alert
                return [self._notice("open", alert)]
            alert.count += 1
            alert.last = max(alert.last, event.ts)
            alert.heard = now_ns
            if len(alert.call_ids) < EXAMPLES and event.call_id not in alert.call_ids:
                alert.call_ids.append(event.call_id)
            return self._due(alert, now_ns)

    def read(self, reading: Reading, now_ns: int) -> list[Notice]:
        """Take what a rule of the user's own counted; the notices to send because of it. What is open and is not
        read of any more closes like all others. An alert keeps its highest count."""
        with self._lock:
            key = (reading.rule, reading.peer, str(reading.code or ""))
            if key not in self._open and len(self._open) >= self.limit:
                key = (reading.rule, OTHER, "")
            alert = self._open.get(key)
            if alert is None:
                if not reading.opens:
                    return []
                first = FailureEvent(reading.first, key[1], reading.code, "", "", reading.headline, "")
                alert = _Alert(key, first, reading.headline, reading.last, now_ns, now_ns, reading.count)
                alert.told_count, alert.of, alert.call_ids = reading.count, reading.of, list(reading.call_ids)
                alert.kept = True
                self._open[key] = alert
                return [self._notice("open", alert)]
            alert.last = max(alert.last, reading.last)
            alert.heard = now_ns
            if reading.count > alert.count:
                alert.count, alert.of, alert.headline = reading.count, reading.of, reading.headline
                alert.call_ids = list(reading.call_ids)
            return self._due(alert, now_ns)

    def looked(self, rule: str, now_ns: int) -> None:
        """All that the rule counted was read at this time; what it did not speak of goes quiet."""
        with self._lock:
            for alert in self._open.values():
                if alert.key[0] == rule:
                    alert.kept = alert.heard == now_ns

    def hold(self, rule: str, now_ns: int) -> None:
        """Nothing is known of this rule for the time being: what it opened stays open."""
        with self._lock:
            for alert in self._open.values():
                if alert.key[0] == rule:
                    alert.heard = now_ns

    def tick(self, now_ns: int) -> list[Notice]:
        """Time has passed: updates that waited for the cooldown, and alerts that have gone quiet."""
        notices: list[Notice] = []
        with self._lock:
            for alert in list(self._open.values()):
                if alert.kept or now_ns - alert.heard < self.quiet_ns:
                    notices += self._due(alert, now_ns)
                    continue
                del self._open[alert.key]
                notice = self._notice("close", alert)
                self._closed.appendleft(_listed(notice, "closed", now_ns))
                notices.append(notice)
        return notices

    def alerts(self) -> list[dict[str, Any]]:
        """For the API: open alerts, latest failure first, then the ones that closed recently."""
        with self._lock:
            alerts = sorted(self._open.values(), key=lambda a: -a.last)
            return [_listed(self._notice("update", a), "open", None) for a in alerts] + list(self._closed)

    def failures(self) -> dict[Key, int]:
        """Failures by (rule, peer, code or finding) since the start; for counters."""
        with self._lock:
            return dict(self._failures)

    def open_count(self) -> int:
        """Alerts that are open now."""
        with self._lock:
            return len(self._open)

    def _key(self, event: FailureEvent) -> Key:
        if event.code is not None:
            key = ("invite-failed", event.peer, str(event.code))
        else:
            key = ("invite-unanswered", event.peer, event.finding or "none")
        full = key not in self._open and len(self._open) >= self.limit
        return (key[0], OTHER, key[2]) if full else key

    def _due(self, alert: _Alert, now_ns: int) -> list[Notice]:
        if alert.count == alert.told_count or now_ns - alert.told < self.cooldown_ns:
            return []
        alert.told, alert.told_count = now_ns, alert.count
        return [self._notice("update", alert)]

    def _notice(self, action: str, alert: _Alert) -> Notice:
        first = alert.event
        rule, peer, _ = alert.key
        return Notice(
            action,
            rule,
            peer,
            first.code,
            first.finding,
            alert.headline,
            alert.count,
            first.ts,
            alert.last,
            tuple(alert.call_ids),
            self.base_url,
            alert.of,
        )


def _listed(notice: Notice, state: str, closed: int | None) -> dict[str, Any]:
    record = notice.to_json()
    del record["action"]
    return {"state": state, **record, "closed": rfc3339(closed) if closed is not None else None}
