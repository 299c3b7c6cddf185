"""Notices to sinks: one bounded queue and one thread a sink, so that a sink that is down holds nothing up.

It owns retries, and the counts of what was sent, dropped and given up.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tenacity import (
    RetryError,
    Retrying,
    retry_if_not_exception_type,
    sleep_using_event,
    stop_after_delay,
    stop_when_event_set,
    wait_exponential,
)

from alerts.event import Notice
from alerts.metrics import DELIVERIES
from alerts.sink import Refused, Sink, open_named, sink_names
from sip.errors import SiptrailError
from sip.text import printable

log = logging.getLogger("siptrail.alerts")

QUEUE = 1000
RETRY_FOR = 3600.0
"""Seconds until a notice is given up."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0


class Dispatcher:
    """Opens the sinks of `sinks` (name to options); `send` never blocks and never raises."""

    def __init__(
        self,
        sinks: Mapping[str, Mapping[str, Any]],
        queue_size: int = QUEUE,
        retry_for: float = RETRY_FOR,
        first_wait: float = FIRST_WAIT,
    ) -> None:
        known = sink_names()
        unknown = [name for name in sinks if name not in known]
        if unknown:
            raise SiptrailError(f"there is no alert sink {unknown[0]!r}; there are {', '.join(known)}")
        self._runs: list[_Run] = []
        for name, config in sinks.items():
            try:
                sink = open_named(name, config)
            except Exception as error:
                log.error("alert sink %s is not used: %s", name, one_line(error))
                continue
            self._runs.append(_Run(name, sink, queue_size, retry_for, first_wait))

    def send(self, notice: Notice) -> None:
        """Hand it to every sink; what does not fit a sink's queue is counted as dropped."""
        for run in self._runs:
            run.put(notice)

    def counts(self) -> dict[str, dict[str, int]]:
        """By sink: sent, dropped (queue full), failed (given up)."""
        return {run.name: dict(run.counts) for run in self._runs}

    def close(self, patience: float = 5.0) -> None:
        """Let every sink finish what is queued, for at most `patience` seconds."""
        for run in self._runs:
            run.finish()
        for run in self._runs:
            run.join(patience)


class _Run:
    """One sink with its queue and thread."""

    def __init__(self, name: str, sink: Sink, size: int, retry_for: float, first_wait: float) -> None:
        self.name = name
        self.sink = sink
        self.counts: Counter[str] = Counter(sent=0, dropped=0, failed=0)
        self._queue: queue.Queue[Notice | None] = queue.Queue(size)
        self._finishing = threading.Event()
        self._stop = threading.Event()
        self._retrying = Retrying(
            retry=retry_if_not_exception_type(Refused),
            wait=wait_exponential(first_wait, max=LONGEST_WAIT),
            stop=stop_after_delay(retry_for) | stop_when_event_set(self._stop),
            sleep=sleep_using_event(self._stop),
        )
        self._thread = threading.Thread(target=self._work, name=f"sink-{name}", daemon=True)
        self._thread.start()

    def put(self, notice: Notice) -> None:
        try:
            self._queue.put_nowait(notice)
        except queue.Full:
            self._count("dropped")

    def finish(self) -> None:
        self._finishing.set()

    def join(self, patience: float) -> None:
        self._thread.join(patience)
        self._stop.set()
        self._thread.join(1.0)

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                notice = self._queue.get(timeout=0.2)
            except queue.Empty:
                if self._finishing.is_set():
                    return
                continue
            if notice is not None:
                self._deliver(notice)

    def _deliver(self, notice: Notice) -> None:
        try:
            self._retrying(self._send, notice)
        except RetryError as error:
            self._count("failed")
            why = one_line(error.last_attempt.exception())
            log.error("alert sink %s: gave up on %s: %s", self.name, printable(notice.id), why)
        except Refused as error:
            self._count("failed")
            log.error("alert sink %s: %s; it will not be tried again", self.name, one_line(error))
        else:
            self._count("sent")

    def _send(self, notice: Notice) -> None:
        try:
            self.sink.send(notice)
        except Refused:
            raise
        except Exception as error:
            log.warning("alert sink %s: %s; trying again", self.name, one_line(error))
            raise

    def _count(self, outcome: str) -> None:
        self.counts[outcome] += 1
        DELIVERIES.labels(self.name, outcome).inc()


def one_line(error: BaseException | None) -> str:
    """An error's text fit for the log."""
    return printable(" ".join(str(error).split())[:300]) or type(error).__name__
