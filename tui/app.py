"""The terminal program: which screens there are and how one leads to another.

It talks to a Desk and to nothing else, so it is the same program for a capture file and for a service.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any, ClassVar

from textual.app import App
from textual.binding import Binding

from diagnose.desk import Desk
from index.summary import CallSummary
from index.trace import CallTrace
from tui.asking import let_finish
from tui.call_flow import CallFlowScreen
from tui.call_list import CallListScreen
from tui.compare_view import CompareScreen
from tui.findings_view import FindingsScreen
from tui.help import HelpScreen
from tui.message_view import MessageScreen
from tui.save import SaveScreen

PATIENCE = 15.0
"""Seconds that questions still open get when the user has quit."""


class SiptrailApp(App[None]):
    """The call list, and whatever is opened from it."""

    CSS = """
    Screen { background: $background; }
    #title { height: 1; background: $panel; }
    #headline { height: 1; }
    #status { height: 1; background: $panel; color: $text; }
    #status.error { background: $error; color: $text; }
    #filter { border: none; height: 1; background: $boost; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[Any]] = [Binding("ctrl+c", "quit", show=False, priority=True)]

    colours: str = "kind"
    """What colours tell apart on the ladder: kind (request or response), transaction, off."""

    def __init__(self, desk: Desk, title: str, live: bool) -> None:
        super().__init__()
        self.desk, self.where, self.live = desk, title, live

    def on_mount(self) -> None:
        self.push_screen(CallListScreen(self.desk, self.where, self.live))

    def open_flow(self, calls: list[CallSummary]) -> None:
        """The ladder of these calls; several are drawn as one."""
        self.push_screen(CallFlowScreen(self.desk, tuple(call.call_id for call in calls)))

    def open_raw(self, calls: list[CallSummary]) -> None:
        """All messages of these calls as text."""
        self.push_screen(MessageScreen(self.desk, tuple(call.call_id for call in calls)))

    def open_message(self, call_ids: tuple[str, ...], trace: CallTrace, number: int, marked: str = "") -> None:
        """One message that was fetched already, with a line to mark."""
        self.push_screen(MessageScreen(self.desk, call_ids, trace, number, marked))

    def open_findings(self, call_id: str) -> None:
        """What is wrong with one call."""
        self.push_screen(FindingsScreen(self.desk, call_id))

    def open_compare(self, calls: list[CallSummary]) -> None:
        """What differs between two calls; the earlier one is A."""
        first, second = sorted(calls, key=lambda call: call.start)
        self.push_screen(CompareScreen(self.desk, (first.call_id, second.call_id)))

    def open_save(self, call_ids: list[str]) -> None:
        """Ask for a file name and write the original packets."""
        self.push_screen(SaveScreen(self.desk, call_ids))

    def action_help(self) -> None:
        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen())

    def action_colours(self) -> None:
        """The next way of colouring, on every screen."""
        modes = ("kind", "transaction", "off")
        self.colours = modes[(modes.index(self.colours) + 1) % len(modes)]
        for screen in self.screen_stack:
            for widget in screen.query("Lines"):
                widget.refresh()
        self.notify(f"colours: {self.colours}", timeout=2, markup=False)


def run_tui(desk: Desk, title: str, live: bool) -> None:
    """Run until the user quits; closing the desk is the caller's business."""
    SiptrailApp(desk, title, live).run()
    if not let_finish(0.5):
        print("waiting for the last answer; Ctrl-C ends at once", file=sys.stderr)
        with contextlib.suppress(KeyboardInterrupt):
            let_finish(PATIENCE)
