"""What a sink is, and how one is found: every module of alerts.sinks is a sink under its module name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any, Protocol

import alerts.sinks
from alerts.event import Notice


class Sink(Protocol):
    """Where notices go. Each sink has its own thread, so `send` may block.

    A module of alerts.sinks offers `open_sink(config: Mapping[str, Any]) -> Sink`.
    """

    def send(self, notice: Notice) -> None:
        """Deliver it, or raise: `Refused` when trying again is useless, anything else to be called again later."""
        ...


class Refused(Exception):
    """The receiver will never take this notice."""


def sink_names() -> list[str]:
    """The public names of all sinks."""
    return sorted(m.name for m in pkgutil.iter_modules(alerts.sinks.__path__))


def open_named(name: str, config: Mapping[str, Any]) -> Sink:
    """Load the module and open its sink."""
    sink: Sink = importlib.import_module(f"alerts.sinks.{name}").open_sink(config)
    return sink
