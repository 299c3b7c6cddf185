"""The rows of the call list: which calls were fetched, which are selected, where the cursor goes when they change."""

from __future__ import annotations

from rich.text import Text

from index.summary import CallSummary
from tui import call_columns
from tui.lines import Lines


class CallTable(Lines):
    """The calls that were fetched so far."""

    DEFAULT_CSS = "CallTable { height: 1fr; }"

    def __init__(self) -> None:
        super().__init__(id="calls")
        self.calls: list[CallSummary] = []
        self.chosen: dict[str, CallSummary] = {}
        self.colours = True

    def row_count(self) -> int:
        return len(self.calls)

    def row_text(self, row: int) -> Text:
        call = self.calls[row]
        return call_columns.row(call, call_columns.widths(self.page_width()), call.call_id in self.chosen, self.colours)

    def head_text(self) -> Text:
        return call_columns.head(call_columns.widths(self.page_width()))

    def row_width(self) -> int:
        return sum(call_columns.widths(self.page_width())) + len(call_columns.COLUMNS) + 2

    def replace(self, calls: list[CallSummary]) -> None:
        """Show these calls with the cursor on the call it was on."""
        under = self.calls[self.cursor].call_id if self.touched and self.calls else None
        self.calls = calls
        place = next((i for i, call in enumerate(calls) if call.call_id == under), None) if under is not None else None
        self.rows_changed(place)
