"""The columns of the call list: one row a column (title, width, what it shows)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.cells import set_cell_size
from rich.text import Text

from index.ladder import DAY_NS, clock
from index.summary import CallSummary
from sip.text import printable
from tui.sip_text import code_style

SEVERITY_STYLE = {"critical": "bold red", "error": "red", "warning": "yellow", "info": "cyan", "": ""}
STATE_STYLE = {
    "in-call": "green",
    "completed": "green",
    "ok": "green",
    "calling": "cyan",
    "ringing": "cyan",
    "pending": "cyan",
    "failed": "red",
    "unanswered": "red",
    "busy": "magenta",
    "no-answer": "magenta",
    "declined": "magenta",
    "cancelled": "magenta",
    "redirected": "yellow",
    "challenged": "yellow",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the list."""

    title: str
    width: int
    show: Callable[[CallSummary], str]
    style: Callable[[CallSummary], str] = lambda call: ""
    right: bool = False


def seconds(ms: float | None) -> str:
    """A length of time; empty when it did not happen."""
    if ms is None:
        return ""
    if ms < 10_000:
        return f"{ms / 1000:.2f}s"
    minutes, rest = divmod(round(ms / 1000), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


def moment(ns: int) -> str:
    """The time of a call that began today, with milliseconds; of others the day too."""
    if ns // DAY_NS == time.time_ns() // DAY_NS:
        return clock(ns)
    return f"{datetime.fromtimestamp(ns // 1_000_000_000, UTC):%m-%d %H:%M:%S}"


def result(call: CallSummary) -> str:
    """Final code with its reason."""
    return "" if call.final_code is None else f"{call.final_code} {call.final_reason or ''}".rstrip()


def _result_style(call: CallSummary) -> str:
    return code_style(call.final_code or 0)


COLUMNS = (
    Column("Time (UTC)", 14, lambda call: moment(call.start)),
    Column("Method", 9, lambda call: call.method),
    Column("From", 14, lambda call: call.from_user),
    Column("To", 14, lambda call: call.to_user),
    Column("State", 10, lambda call: call.state, lambda call: STATE_STYLE.get(call.state, "")),
    Column("Result", 12, result, _result_style),
    Column("Msgs", 4, lambda call: str(call.messages), right=True),
    Column("PDD", 6, lambda call: seconds(call.pdd_ms), right=True),
    Column("Talk", 7, lambda call: seconds(call.talk_ms), right=True),
    Column("Source", 21, lambda call: call.src),
    Column("Destination", 21, lambda call: call.dst),
    Column("What is wrong", 60, lambda call: call.headline, lambda call: SEVERITY_STYLE.get(call.severity, "")),
)
NARROW = (14, 8, 9, 9, 10, 11, 4, 6, 7, 21, 21, 60)
"""Widths on a screen of fewer than 100 columns: what an 80-column terminal shows first is who, state and result."""
MEDIUM = (14, 8, 13, 13, 10, 11, 4, 6, 7, 21, 21, 60)
"""Widths below 140 columns: a number in full."""


def widths(screen: int) -> tuple[int, ...]:
    """Width of each column on a screen of this width; the last one takes what is left."""
    fixed = NARROW if screen < 100 else MEDIUM if screen < 140 else tuple(column.width for column in COLUMNS)
    used = sum(fixed[:-1]) + len(fixed) + 1
    return (*fixed[:-1], max(fixed[-1], screen - used - 1))


def head(sizes: tuple[int, ...]) -> Text:
    """The titles."""
    return Text("  " + " ".join(_fit(c.title, size, c.right) for c, size in zip(COLUMNS, sizes, strict=True)))


def row(call: CallSummary, sizes: tuple[int, ...], chosen: bool, colours: bool) -> Text:
    """One call, one line."""
    text = Text("* " if chosen else "  ", style="bold" if chosen else "")
    for column, size in zip(COLUMNS, sizes, strict=True):
        text.append(_fit(printable(column.show(call)), size, column.right), column.style(call) if colours else "")
        text.append(" ")
    return text


def _fit(text: str, size: int, right: bool) -> str:
    if right and len(text) < size:
        text = text.rjust(size)
    fitted = set_cell_size(text, size)
    return fitted if fitted.rstrip() == text.rstrip() else set_cell_size(text, size - 1) + "…"
