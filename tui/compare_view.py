"""What differs between two calls, the most telling first.

    ┌──────────────────────────────────────────────────────────────────────────────┐
    │ Compare  good@example.org  +  bad@example.org                                │
    │ A  good@example.org                                                          │
    │    200 OK, 7 messages                                                        │
    │ What differs, the most telling first                                         │
    │   1  final response to INVITE  [host 2 to 1; message A 4, B 3]               │
    │        A  200 OK                                                             │
    │        B  488 Not Acceptable Here                                            │
    │ x Exchange  ↑↓ Scroll  F2 Save  F1 Help  Esc Back                            │
    └──────────────────────────────────────────────────────────────────────────────┘

It shows what diagnose.compare says. It must not compare.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.widgets import Footer, Static

from diagnose.compare import Comparison, compare
from diagnose.compare_text import render
from diagnose.desk import Desk
from sip.text import printable
from tui.asking import AskingScreen

if TYPE_CHECKING:
    from tui.app import SiptrailApp


class CompareScreen(AskingScreen):
    """Two calls, A and B."""

    BINDINGS: ClassVar[list[Any]] = [
        Binding("x", "exchange", "Exchange"),
        Binding("f2,s", "save", "Save", key_display="F2"),
        Binding("f1,h,question_mark", "app.help", "Help", key_display="F1"),
        Binding("escape,q,v", "back", "Back", key_display="Esc"),
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
        Binding("f5,ctrl+l", "reload", show=False),
    ]
    app: SiptrailApp

    def __init__(self, desk: Desk, call_ids: tuple[str, str]) -> None:
        super().__init__(desk)
        self.call_ids = call_ids

    def compose(self) -> ComposeResult:
        yield Static(id="title")
        with VerticalScroll(id="page"):
            yield Static(id="comparison")
        yield Static(id="status")
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.query_one("#page").focus()
        self.action_reload()

    def action_reload(self) -> None:
        """Ask again: a live call has more messages by now."""
        title = Text.assemble((" Compare ", "bold reverse"), no_wrap=True, overflow="ellipsis")
        self.query_one("#title", Static).update(title.append(" " + printable("  +  ".join(self.call_ids))))
        desk, (first, second) = self.desk, self.call_ids
        self.ask("comparison", lambda: compare(desk.trace(first), desk.trace(second)), self.take)

    def take(self, found: Comparison) -> None:
        self.query_one("#comparison", Static).update(coloured(render(found)))

    def failed(self, topic: str, error: str) -> None:
        bar = self.query_one("#status", Static)
        bar.add_class("error")
        bar.update(Text(f" {error}"))

    def waiting_changed(self) -> None:
        bar = self.query_one("#status", Static)
        if self.is_waiting():
            bar.remove_class("error")
            bar.update(Text(" looking at both calls, Esc goes back", "yellow"))
        elif not bar.has_class("error"):
            bar.update(Text(" A is the call on the left, B the one on the right"))

    def action_exchange(self) -> None:
        """Let A be B."""
        self.call_ids = (self.call_ids[1], self.call_ids[0])
        self.action_reload()

    def action_scroll(self, by: int) -> None:
        self.query_one("#page", VerticalScroll).scroll_relative(y=by, animate=False)

    def action_save(self) -> None:
        self.app.open_save(list(self.call_ids))

    def action_back(self) -> None:
        self.dismiss()


def coloured(text: str) -> Text:
    """Lines of A green, those of B yellow, steps that differ bold."""
    out = Text()
    for line in text.split("\n"):
        style = {"       A  ": "green", "       B  ": "yellow"}.get(line[:10], "")
        out.append(line + "\n", style or ("bold" if line[:2] in ("! ", "≠ ") else ""))
    return out
