"""The keys, one table for all screens.

┌ Keys ────────────────────────────────────────────┐
│ Call list                                        │
│   Enter          call flow of the call …         │
│   F7 / F3        filter the list                 │
│                                       Esc closes │
└──────────────────────────────────────────────────┘
"""

from __future__ import annotations

from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

KEYS = (
    ("Everywhere", ""),
    ("F1 h ?", "this help"),
    ("Esc q", "back; in the call list q quits, and Esc stops waiting or (twice) quits"),
    ("↑ ↓ PgUp PgDn", "move (also Home End j k g G Ctrl-B Ctrl-F); ← → scroll sideways"),
    ("c", "colours: by request and response, by transaction, off"),
    ("F2 s", "save the original packets as a pcap file"),
    ("Ctrl-C", "quit"),
    ("Call list", ""),
    ("Enter", "call flow of the call, or of all selected calls in one ladder"),
    ("Space", "select or unselect"),
    ("F7 F3 /", "filter; an empty filter shows all calls"),
    ("d", "findings: what is wrong, why, what to do"),
    ("r F6", "messages as text"),
    ("v", "what differs between two selected calls (there x exchanges them)"),
    ("p", "pause or resume the live list"),
    ("F5 Ctrl-L", "refresh (nothing is cleared: calls are in the store)"),
    ("Call flow", ""),
    ("Enter r F6", "the whole message"),
    ("x F4", "draw the other legs of the call with it (beyond a switch), or not"),
    ("t", "show or hide the message preview"),
    ("w", "preview beside or below the ladder"),
    ("d", "findings"),
    ("Message", ""),
    ("n p", "next and previous message (also → and ←)"),
    ("Findings", ""),
    ("Enter", "the message that the finding rests on"),
)


def key_table() -> Table:
    """The table as two columns."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(min_width=16, max_width=22)
    for keys, meaning in KEYS:
        if meaning:
            table.add_row(Text(f"  {keys}", "bold cyan"), Text(meaning))
        else:
            table.add_row(Text(keys, "bold underline"), Text())
    return table


class HelpScreen(ModalScreen[None]):
    """The keys, over the screen they belong to."""

    DEFAULT_CSS = """
    HelpScreen { align: center middle; }
    HelpScreen > VerticalScroll {
        width: 90%; max-width: 100; height: auto; max-height: 90%;
        border: round $accent; border-title-color: $accent; padding: 0 1; background: $surface;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,f1,h,question_mark,enter", "dismiss(None)", "Close", key_display="Esc"),
    ]

    def compose(self) -> ComposeResult:
        with VerticalScroll() as box:
            box.border_title, box.border_subtitle = "Keys", "Esc closes"
            yield Static(key_table())
