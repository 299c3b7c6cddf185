"""What Prometheus sees: the desk's counters, failures by peer, and this process.

Label values come from small closed sets or are capped, since methods and addresses come from the wire.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from alerts.book import AlertBook
from alerts.metrics import REGISTRY as NOTICE_REGISTRY
from diagnose.desk import Desk
from index.summary import Stats
from sip.errors import SiptrailError
from sip.standalone import STANDALONE

Interfaces = Callable[[], list[dict[str, Any]]]
"""What each recorded interface has seen: its name, whether it is recording, and counts."""
METHODS = frozenset(
    (
        "INVITE",
        "ACK",
        "BYE",
        "CANCEL",
        "REGISTER",
        "OPTIONS",
        "PRACK",
        "SUBSCRIBE",
        "NOTIFY",
        "PUBLISH",
        "INFO",
        "REFER",
        "MESSAGE",
        "UPDATE",
    )
)
COUNTERS = {
    "packets": "Packets seen",
    "not_sip": "Packets that carried no SIP",
    "kernel_drops": "Packets the kernel dropped because the ring was full",
    "queue_drops": "Packets dropped because the store could not keep up",
    "unreadable": "Frames that could not be decoded",
    "fragments_lost": "IP fragments whose rest never came",
    "stream_gaps": "Holes in TCP streams",
    "keepalives": "Packets that only keep a binding open",
    "encrypted": "Packets of TLS connections on SIP ports",
    "decrypted": "Messages of such packets that were read with TLS keys",
    "tunnels_too_deep": "Packets nested too deeply in tunnels",
    "evicted": "Streams and datagrams given up because too much was held",
}
"""Field of Stats: help text. They only ever grow."""


def _counted(stats: Stats) -> Iterable[Metric]:
    for name, text in COUNTERS.items():
        yield CounterMetricFamily(f"siptrail_{name}", text, value=getattr(stats, name))
    yield from removed(stats.removed or {})
    # What is stored shrinks when old hours go, so these are gauges.
    yield GaugeMetricFamily("siptrail_stored_messages", "SIP messages in the store", value=stats.messages)
    yield GaugeMetricFamily("siptrail_stored_calls", "Call-IDs in the store", value=stats.call_ids)
    methods = GaugeMetricFamily("siptrail_stored_requests", "Requests in the store by method", labels=["method"])
    for method, count in known(stats.methods).items():
        methods.add_metric([method], count)
    yield methods
    finals = GaugeMetricFamily(
        "siptrail_stored_final_responses", "Final responses in the store", labels=["method", "code"]
    )
    for (method, code), count in finals_by(stats.finals).items():
        finals.add_metric([method, code], count)
    yield finals


class DeskCollector(Collector):
    """Asks the desk and the alert book at every scrape."""

    def __init__(self, desk: Desk, alerts: AlertBook | None, interfaces: Interfaces | None = None) -> None:
        self.desk = desk
        self.alerts = alerts
        self.interfaces = interfaces
        self._lock = threading.Lock()
        self._stats: Stats | None = None
        self._good_until = 0.0

    def describe(self) -> Iterable[Metric]:
        """Nothing: naming the metrics must not ask the desk while the server starts."""
        return []

    def collect(self) -> Iterable[Metric]:
        stats = self._recent_stats()
        if stats is not None:
            yield from _counted(stats)
        if self.alerts is not None:
            failures = CounterMetricFamily(
                "siptrail_invite_failures", "INVITEs that failed for good", labels=["rule", "peer", "code"]
            )
            for key, count in self.alerts.failures().items():
                failures.add_metric(list(key), count)
            yield failures
            yield GaugeMetricFamily("siptrail_alerts_open", "Alerts that are open", value=self.alerts.open_count())
        yield from self._of_interfaces()

    def _recent_stats(self) -> Stats | None:
        """Counting a large store takes a while; scrapes may take a sixth of the time at most."""
        with self._lock:
            began = time.monotonic()
            if self._stats is None or began > self._good_until:
                try:
                    self._stats = self.desk.stats()
                except SiptrailError:
                    # The store is out of reach: the rest is wanted all the more, and the last counts stand.
                    if self._stats is None:
                        return None
                ended = time.monotonic()
                self._good_until = ended + 5 * (ended - began)
            return self._stats

    def _of_interfaces(self) -> Iterable[Metric]:
        if self.interfaces is None:
            return
        found = self.interfaces()
        recording = GaugeMetricFamily(
            "siptrail_interface_recording", "Whether the interface is there and read", labels=["interface"]
        )
        for one in found:
            recording.add_metric([one["name"]], float(one["recording"]))
        yield recording
        for name in sorted({name for one in found for name in one} - {"name", "recording"}):
            text = COUNTERS.get(name, f"{name.replace('_', ' ').capitalize()} on the interface")
            family = CounterMetricFamily(f"siptrail_interface_{name}", text, labels=["interface"])
            for one in found:
                if name in one:
                    family.add_metric([one["name"]], one[name])
            yield family


def removed(counts: Mapping[str, int]) -> Iterable[Metric]:
    """What retention removed, by reason; of a method that is kept shorter, no whole hours go."""
    for what in ("hours", "messages", "bytes"):
        family = CounterMetricFamily(f"siptrail_removed_{what}", f"Removed by retention: {what}", labels=["reason"])
        methods = () if what == "hours" else tuple(method.lower() for method in STANDALONE)
        for reason in ("age", "budget", "disk", *methods):
            family.add_metric([reason], counts.get(f"{what} {reason}", 0))
        yield family


def known(by_method: Mapping[str, int]) -> dict[str, int]:
    """Methods that are not in the RFCs are added up as `other`."""
    out: Counter[str] = Counter()
    for method, count in by_method.items():
        out[method if method in METHODS else "other"] += count
    return dict(out)


def finals_by(finals: Mapping[str, int]) -> dict[tuple[str, str], int]:
    """{"INVITE 486": 3} as {("INVITE", "486"): 3}, bounded in the same way."""
    out: Counter[tuple[str, str]] = Counter()
    for key, count in finals.items():
        method, _, code = key.rpartition(" ")
        valid = len(code) == 3 and code.isascii() and code.isdigit()
        out[method if method in METHODS else "other", code if valid else "other"] += count
    return dict(out)


def build_registry(
    desk: Desk, alerts: AlertBook | None, registry: CollectorRegistry | None, interfaces: Interfaces | None = None
) -> CollectorRegistry:
    """The registry of one server."""
    registry = registry if registry is not None else CollectorRegistry()
    registry.register(DeskCollector(desk, alerts, interfaces))
    ProcessCollector(registry=registry)
    return registry


def exposition(registry: CollectorRegistry) -> bytes:
    """The text format."""
    return generate_latest(registry) + generate_latest(NOTICE_REGISTRY)
