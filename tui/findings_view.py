"""What is wrong with one call, why we say so, and what to do.

    ┌──────────────────────────────────────────────────────────────────────────────┐
    │ Findings  a84b4c76e66710@pc33.example.org                                    │
    │ CRITICAL  488 Not Acceptable Here: no common codec (certain)                 │
    │   why   message 1: the offer has G729 only                                   │
    │           a=rtpmap:18 G729/8000                                              │
    │   do    allow PCMA on the trunk                                              │
    │   see   RFC 3264 section 6.1                                                 │
    │ ⏎ Message  n Next  p Previous  F2 Save  F1 Help  Esc Back                    │
    └──────────────────────────────────────────────────────────────────────────────┘

It shows what diagnosis says, in its order. It must not judge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.widgets import Footer, Static

from diagnose.desk import Desk
from diagnose.finding import Finding
from index.trace import CallTrace
from sip.text import printable
from tui.asking import AskingScreen
from tui.call_columns import SEVERITY_STYLE

if TYPE_CHECKING:
    from tui.app import SiptrailApp


def finding_text(finding: Finding) -> Text:
    """One finding as a block of lines."""
    style = SEVERITY_STYLE.get(finding.severity, "")
    text = Text.assemble((finding.severity.upper(), f"{style} reverse"), "  ", (printable(finding.headline), "bold"))
    text.append(f"  ({finding.confidence}, {finding.name})", "dim")
    for evidence in finding.evidence:
        where = f"message {evidence.message}: " if evidence.message is not None else ""
        text.append("\n  why   ", "cyan").append(where + printable(evidence.text))
        if evidence.line:
            text.append("\n          ").append(printable(evidence.line.strip()), "yellow")
    if finding.advice:
        text.append("\n  do    ", "green").append(printable(finding.advice))
    if finding.reference:
        text.append("\n  see   ", "dim").append(printable(finding.reference), "dim")
    return text


class FindingBlock(Static):
    """One finding; the current one has a bar at its left."""

    DEFAULT_CSS = """
    FindingBlock { padding: 0 1; margin: 0 0 1 0; border-left: blank; }
    FindingBlock.current { border-left: thick $accent; background: $boost; }
    """


class FindingList(VerticalScroll, inherit_bindings=False):
    """The blocks; the arrow keys are the screen's, which moves from finding to finding."""

    BINDINGS: ClassVar[list[Any]] = [
        Binding("pageup", "page_up", show=False),
        Binding("pagedown", "page_down", show=False),
        Binding("home", "scroll_home", show=False),
        Binding("end", "scroll_end", show=False),
    ]


class FindingsScreen(AskingScreen):
    """The findings of one call."""

    BINDINGS: ClassVar[list[Any]] = [
        Binding("enter,r,f6", "message", "Message", key_display="⏎"),
        Binding("n,down,j", "step(1)", "Next", key_display="n"),
        Binding("p,up,k", "step(-1)", "Previous", key_display="p"),
        Binding("f2,s", "save", "Save", key_display="F2"),
        Binding("f1,h,question_mark", "app.help", "Help", key_display="F1"),
        Binding("escape,q,d", "back", "Back", key_display="Esc"),
    ]
    app: SiptrailApp

    def __init__(self, desk: Desk, call_id: str) -> None:
        super().__init__(desk)
        self.call_id = call_id
        self.found: tuple[Finding, ...] = ()
        self.current = 0

    def compose(self) -> ComposeResult:
        yield Static(id="title")
        yield FindingList(id="page")
        yield Static(id="status")
        yield Footer(compact=True)

    def on_mount(self) -> None:
        title = Text.assemble((" Findings ", "bold reverse"), " ", printable(self.call_id))
        self.query_one("#title", Static).update(title)
        self.query_one("#page").focus()
        self.ask("findings", lambda: self.desk.findings(self.call_id), self.take)

    def take(self, found: tuple[Finding, ...]) -> None:
        self.found = found
        page = self.query_one("#page")
        if found:
            page.mount_all([FindingBlock(finding_text(finding)) for finding in found])
            self.call_after_refresh(self.action_step, 0)
        else:
            page.mount(Static(Text("\n  Nothing is wrong with this call, as far as its messages show.", "green")))

    def failed(self, topic: str, error: str) -> None:
        bar = self.query_one("#status", Static)
        bar.add_class("error")
        bar.update(Text(f" {error}"))

    def waiting_changed(self) -> None:
        bar = self.query_one("#status", Static)
        if self.is_waiting():
            bar.remove_class("error")
            bar.update(Text(" looking at the call, Esc goes back", "yellow"))
        elif not bar.has_class("error"):
            count = len(self.found)
            bar.update(Text(f" {count} finding{'' if count == 1 else 's'}"))

    def action_step(self, by: int) -> None:
        blocks = list(self.query(FindingBlock))
        if not blocks:
            return
        self.current = max(0, min(self.current + by, len(blocks) - 1))
        for number, block in enumerate(blocks):
            block.set_class(number == self.current, "current")
        self.query_one("#page", VerticalScroll).scroll_to_widget(blocks[self.current], animate=False)

    def action_message(self) -> None:
        """Open the message that the current finding rests on, with the offending line marked."""
        if not self.found:
            return
        evidence = next((e for e in self.found[self.current].evidence if e.message is not None), None)
        number, line = (evidence.message or 1, evidence.line) if evidence else (1, "")

        def show(trace: CallTrace) -> None:
            self.app.open_message((self.call_id,), trace, number, printable(line.strip()))

        self.ask("message", lambda: self.desk.trace(self.call_id), show)

    def action_save(self) -> None:
        self.app.open_save([self.call_id])

    def action_back(self) -> None:
        self.dismiss()
