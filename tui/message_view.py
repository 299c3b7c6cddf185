"""The whole message as it was on the wire, with its SDP.

    ┌──────────────────────────────────────────────────────────────────────────────┐
    │ 1/7 10:00:01.204 192.0.2.1:5060 → 192.0.2.9:5060 UDP                         │
    │ INVITE sip:bob@example.org SIP/2.0                                           │
    │ Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1                              │
    │ …                                                                            │
    │ n Next  p Previous  d Findings  F2 Save  F1 Help  Esc Back                   │
    └──────────────────────────────────────────────────────────────────────────────┘

Owns which message is shown. It must not change or shorten a message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.widgets import Footer, Static

from diagnose.desk import Desk
from index.trace import CallTrace
from tui.asking import AskingScreen
from tui.merging import traces_of
from tui.sip_text import body_text, heading

if TYPE_CHECKING:
    from tui.app import SiptrailApp


class MessageScreen(AskingScreen):
    """One message at a time of one call, or of several merged ones."""

    BINDINGS: ClassVar[list[Any]] = [
        Binding("n,right", "step(1)", "Next"),
        Binding("p,left", "step(-1)", "Previous"),
        Binding("d", "findings", "Findings"),
        Binding("f2,s", "save", "Save", key_display="F2"),
        Binding("f1,h,question_mark", "app.help", "Help", key_display="F1"),
        Binding("escape,q,r,f6", "back", "Back", key_display="Esc"),
        Binding("c", "app.colours", show=False),
    ]
    app: SiptrailApp

    def __init__(
        self, desk: Desk, call_ids: tuple[str, ...], trace: CallTrace | None = None, number: int = 1, marked: str = ""
    ) -> None:
        super().__init__(desk)
        self.call_ids, self.trace, self.number, self.marked = call_ids, trace, number, marked

    def compose(self) -> ComposeResult:
        yield Static(id="title")
        with VerticalScroll(id="page"):
            yield Static(id="message")
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.query_one("#page").focus()
        if self.trace is None:
            self.query_one("#title", Static).update(Text(" reading the call, Esc goes back", "yellow"))
            desk, call_ids = self.desk, self.call_ids
            self.ask("messages", lambda: traces_of(desk, call_ids), self.take)
        else:
            self.show_message()

    def take(self, trace: CallTrace) -> None:
        self.trace = trace
        self.show_message()

    def failed(self, topic: str, error: str) -> None:
        self.query_one("#title", Static).update(Text(f" {error}", "bold red"))

    def show_message(self) -> None:
        if self.trace is None or not self.trace.messages:
            return
        count = len(self.trace.messages)
        self.number = max(1, min(self.number, count))
        message = self.trace.messages[self.number - 1]
        self.query_one("#title", Static).update(heading(message, self.number, count))
        self.query_one("#message", Static).update(body_text(message, self.marked))
        self.query_one("#page").scroll_home(animate=False)

    def action_step(self, by: int) -> None:
        self.number += by
        self.show_message()

    def action_findings(self) -> None:
        self.app.open_findings(self.call_ids[0])

    def action_save(self) -> None:
        self.app.open_save(list(self.call_ids))

    def action_back(self) -> None:
        self.dismiss()
