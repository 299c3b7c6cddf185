"""Counters of notices by rule and action on /metrics, for alarms on alarms. No options.

Failures themselves are always counted there, with or without this sink.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alerts.event import Notice
from alerts.metrics import NOTICES
from alerts.sink import Sink


class PrometheusSink:
    """Adds up."""

    def send(self, notice: Notice) -> None:
        NOTICES.labels(notice.rule, notice.action).inc()


def open_sink(config: Mapping[str, Any]) -> Sink:
    """The sink; it has no options."""
    return PrometheusSink()
