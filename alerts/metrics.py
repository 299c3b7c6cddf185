"""Prometheus counters of notices: how many were made, and what became of them at each sink."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter

REGISTRY = CollectorRegistry()
"""Its own, so that two servers in one process do not register the same name twice."""

NOTICES = Counter("siptrail_alert_notices", "Notices by rule and action", ["rule", "action"], registry=REGISTRY)
DELIVERIES = Counter(
    "siptrail_alert_deliveries",
    "Notices by sink and outcome (sent, dropped, failed)",
    ["sink", "outcome"],
    registry=REGISTRY,
)
