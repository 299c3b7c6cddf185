"""The call flow: one column an address, one arrow a message, and the message at the cursor.

    ┌──────────────────────────────────────────────────────────────────────────────┐
    │ Call flow  a84b4c76e66710@pc33.example.org                                   │
    │ CRITICAL 488 Not Acceptable Here: no common codec            d shows the rest│
    │   Time (UTC)        Δ    192.0.2.1:5060          192.0.2.9:5060              │
    │   10:00:01.204                 │────── INVITE (SDP) ─────▶│                  │
    │   10:00:01.219  +0.015         │◀── 488 Not Acceptable ───│                  │
    │──────────────────────────────────────────────────────────────────────────────│
    │ INVITE sip:bob@example.org SIP/2.0          (on a wide screen: at the right) │
    │ Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1                              │
    │ ⏎ Raw  d Findings  t Preview  x Legs  c Colours  F2 Save  F1 Help  Esc Back          │
    └──────────────────────────────────────────────────────────────────────────────┘

Owns which message is at the cursor. The rows come from index.ladder; it must not order or join messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, VerticalScroll
from textual.widgets import Footer, Static

from diagnose.desk import Desk
from diagnose.finding import Finding
from index.legs import CallLegs
from index.trace import CallTrace
from sip.text import printable
from tui.asking import AskingScreen
from tui.call_columns import SEVERITY_STYLE
from tui.ladder_lines import LadderLines
from tui.lines import Lines
from tui.merging import findings_of, traces_of
from tui.sip_text import body_text, heading

if TYPE_CHECKING:
    from tui.app import SiptrailApp

WIDE = 140
"""From this many columns on, the preview is beside the ladder, if that leaves it room."""
BESIDE = 70
"""Columns of the preview there."""


class CallFlowScreen(AskingScreen):
    """The ladder of one call, or of several merged ones."""

    DEFAULT_CSS = """
    CallFlowScreen #both { layout: vertical; height: 1fr; }
    CallFlowScreen #preview { height: 1fr; width: 1fr; border-top: solid $panel-lighten-2; padding: 0 1; }
    CallFlowScreen #ladder { width: 1fr; }
    CallFlowScreen.beside #both { layout: horizontal; }
    CallFlowScreen.beside #preview { border-top: none; border-left: solid $panel-lighten-2; width: 70; height: 1fr; }
    CallFlowScreen.bare #preview { display: none; }
    """
    BINDINGS: ClassVar[list[Any]] = [
        Binding("enter,r,f6", "raw", "Raw", key_display="⏎"),
        Binding("d", "findings", "Findings"),
        Binding("t", "preview", "Preview"),
        Binding("x,f4", "legs", "Legs", key_display="x"),
        Binding("c", "app.colours", "Colours"),
        Binding("f2,s", "save", "Save", key_display="F2"),
        Binding("f1,h,question_mark", "app.help", "Help", key_display="F1"),
        Binding("escape,q", "back", "Back", key_display="Esc"),
        Binding("w", "side", show=False),
        Binding("f5,ctrl+l", "reload", show=False),
    ]
    app: SiptrailApp

    def __init__(self, desk: Desk, call_ids: tuple[str, ...]) -> None:
        super().__init__(desk)
        self.call_ids = self.asked = call_ids
        """The calls that are drawn, and those that the user chose."""
        self.trace: CallTrace | None = None
        self.beside: bool | None = None
        """Where the user put the preview; None: as the width has it."""
        self.error = ""
        self.headline = Text(" looking at the call, Esc goes back", "yellow")

    def compose(self) -> ComposeResult:
        yield Static(id="title")
        yield Static(id="headline")
        with Container(id="both"):
            yield LadderLines()
            with VerticalScroll(id="preview", can_focus=False):
                yield Static(id="message")
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.ladder = self.query_one(LadderLines)
        self.ladder.focus()
        self.action_reload()

    def action_reload(self) -> None:
        """Ask again: a live call has more messages by now."""
        self.error = ""
        title = Text.assemble((" Call flow ", "bold reverse"), no_wrap=True, overflow="ellipsis")
        self.query_one("#title", Static).update(title.append(" " + printable("  +  ".join(self.call_ids))))
        desk, call_ids = self.desk, self.call_ids
        self.ask("messages", lambda: traces_of(desk, call_ids), self.take)
        self.ask("findings", lambda: findings_of(desk, call_ids), self.take_findings)

    def take(self, trace: CallTrace) -> None:
        self.trace = trace
        self.ladder.show(trace)
        self.place(self.size.width)
        self.show_preview()

    def take_findings(self, found: tuple[Finding, ...]) -> None:
        line = Text(" ", no_wrap=True, overflow="ellipsis")
        if found:
            worst = found[0]
            style = SEVERITY_STYLE.get(worst.severity, "")
            line.append(worst.severity.upper(), f"{style} reverse").append(" " + printable(worst.headline), style)
            line.append(f"  (+{len(found) - 1}, d shows all)" if len(found) > 1 else "  (d shows why)", "dim")
        else:
            line.append("nothing wrong found", "green")
        self.headline = line

    def failed(self, topic: str, error: str) -> None:
        self.error = error

    def waiting_changed(self) -> None:
        """An error stays, whichever answer came last."""
        error = Text(f" {self.error}", "bold red", no_wrap=True, overflow="ellipsis")
        self.query_one("#headline", Static).update(error if self.error else self.headline)

    def on_resize(self, event: events.Resize) -> None:
        self.place(event.size.width)

    def place(self, width: int) -> None:
        """Put the preview beside the ladder, or below it where that shows more of the addresses."""
        room = width >= WIDE and self.ladder.narrowest_width() <= width - BESIDE
        self.set_class(self.beside if self.beside is not None else room, "beside")

    def on_lines_moved(self, moved: Lines.Moved) -> None:
        self.show_preview()

    def show_preview(self) -> None:
        number = self.ladder.number()
        if self.trace is None or number is None:
            return
        message = self.trace.messages[number - 1]
        text = heading(message, number, len(self.trace.messages)).append("\n").append(body_text(message))
        text.no_wrap = False
        self.query_one("#message", Static).update(text)
        self.query_one("#preview").scroll_home(animate=False)

    # Keys

    def on_lines_chosen(self) -> None:
        self.action_raw()

    def action_raw(self) -> None:
        number = self.ladder.number()
        if self.trace is not None and number is not None:
            self.app.open_message(self.call_ids, self.trace, number)

    def action_findings(self) -> None:
        number = self.ladder.number()
        here = self.trace.messages[number - 1].sip.call_id if self.trace is not None and number is not None else ""
        self.app.open_findings(here if here in self.call_ids else self.call_ids[0])

    def action_legs(self) -> None:
        """Draw the other legs of the call with it, or the chosen ones alone again."""
        if self.call_ids != self.asked:
            self.call_ids = self.asked
            self.action_reload()
            return
        desk, call_id = self.desk, self.asked[0]
        self.ask("legs", lambda: desk.legs(call_id), self.take_legs)

    def take_legs(self, legs: CallLegs) -> None:
        others = tuple(c for c in legs.sure if c not in self.asked)
        doubtful = len(legs.calls) - len(legs.sure)
        if others:
            self.call_ids = tuple(c.call_id for c in legs.calls if c.call_id in {*self.asked, *legs.sure})
            self.action_reload()
        text = "" if others else "No other leg of this call was found. "
        if doubtful:
            text += f"{doubtful} more may be one, but that is not sure: siptrail legs CALL-ID tells which and why."
        if text:
            self.app.notify(text, timeout=6, markup=False)

    def action_preview(self) -> None:
        self.toggle_class("bare")

    def action_side(self) -> None:
        self.beside = not self.has_class("beside")
        self.place(self.size.width)

    def action_save(self) -> None:
        self.app.open_save(list(self.call_ids))

    def action_back(self) -> None:
        """Leaving is also how waiting is stopped: the answer finds nobody."""
        self.dismiss()
