"""Notices as lines of the log. Options: `level` (default "warning"; a close is always "info")."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from alerts.event import Notice
from alerts.sink import Sink
from index.summary import rfc3339
from sip.errors import SiptrailError
from sip.text import printable

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

log = logging.getLogger("siptrail.alerts")


class LogSink:
    """One line a notice."""

    def __init__(self, level: int) -> None:
        self.level = level

    def send(self, notice: Notice) -> None:
        level = logging.INFO if notice.action == "close" else self.level
        log.log(level, "%s", line(notice))


def line(notice: Notice) -> str:
    """The notice in one printable line."""
    examples = ", ".join(notice.call_ids)
    return printable(
        f"alert {notice.action}: {notice.headline} [{notice.rule}, peer {notice.peer}, code {notice.code or 'none'}, "
        f"{notice.count} since {rfc3339(notice.first)}, for example {examples}]"
    )


def open_sink(config: Mapping[str, Any]) -> Sink:
    """The sink with these options."""
    level = str(config.get("level", "warning"))
    if level not in LEVELS:
        raise SiptrailError(f"alert sink log: level {level!r} is not one of {', '.join(LEVELS)}")
    return LogSink(LEVELS[level])
