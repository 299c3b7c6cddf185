"""Asks for a file name and writes the original packets of a call, or of each selected call.

    ┌ Save packets ────────────────────────────────────┐
    │ a84b4c76e66710.pcap                              │
    │ 1 call · Enter saves · Esc cancels               │
    └──────────────────────────────────────────────────┘

It writes the bytes that the Desk gives it, unchanged, and never replaces a file without a second Enter.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from diagnose.desk import Desk
from sip.errors import SiptrailError
from sip.text import printable
from tui.asking import AskingScreen


def suggested_name(call_id: str) -> str:
    """A file name that every file system takes, from a Call-ID that may hold anything."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", call_id.partition("@")[0]).strip("._-")[:60]
    return f"{safe or 'call'}.pcap"


def targets(name: str, count: int) -> list[Path]:
    """One file a call: with several calls, a number goes before the suffix."""
    path = Path(name).expanduser()
    if count == 1:
        return [path]
    return [path.with_name(f"{path.stem}-{number}{path.suffix}") for number in range(1, count + 1)]


def write_new(path: Path, data: bytes, replace: bool) -> None:
    """Write a file; without `replace`, one that appeared meanwhile is left alone."""
    try:
        with open(path, "wb" if replace else "xb") as file:
            file.write(data)
    except OSError as problem:
        reason = os.strerror(problem.errno or 0)
        raise SiptrailError(f"cannot write {path.name}: {reason} (folder {path.parent})") from problem


class SaveScreen(AskingScreen, ModalScreen[None]):
    """The dialog; it stays open until the file is written or Esc is pressed."""

    DEFAULT_CSS = """
    SaveScreen { align: center middle; }
    SaveScreen > Vertical {
        width: 90%; max-width: 90; height: auto; border: round $accent; padding: 0 1; background: $surface;
        border-title-color: $accent;
    }
    SaveScreen Input { border: none; height: 1; background: $boost; }
    SaveScreen .error { color: $text-error; }
    """
    BINDINGS: ClassVar[list[Any]] = [
        Binding("escape", "back", "Cancel", key_display="Esc"),
        Binding("f1", "app.help", "Help", key_display="F1"),
    ]

    def __init__(self, desk: Desk, call_ids: list[str]) -> None:
        super().__init__(desk)
        self.call_ids = call_ids
        self.agreed = ""
        """The name whose replacement the next Enter agrees to."""

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = "Save packets"
            yield Input(suggested_name(self.call_ids[0]), id="name", compact=True)
            yield Static(id="say")

    def on_mount(self) -> None:
        self.query_one("#name").focus()
        count = len(self.call_ids)
        what = "1 call" if count == 1 else f"{count} calls, one file each (name-1, name-2, …)"
        self.say(f"{what} · Enter saves · Esc cancels")

    def say(self, text: str, error: bool = False) -> None:
        line = self.query_one("#say", Static)
        line.set_class(error, "error")
        line.update(Text(text))

    def on_input_changed(self) -> None:
        self.agreed = ""

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Write, after asking about files that are there."""
        name = event.value.strip()
        if not name or self.is_waiting():
            return
        paths = targets(name, len(self.call_ids))
        there = [path for path in paths if path.exists()]
        if there and self.agreed != name:
            self.agreed = name
            self.say(f"{printable(str(there[0]))} exists. Enter again replaces it, Esc cancels", error=True)
            return
        desk, call_ids, replace = self.desk, self.call_ids, self.agreed == name

        def save() -> str:
            size = 0
            for path, call_id in zip(paths, call_ids, strict=True):
                data = desk.pcap(call_id)
                write_new(path, data, replace)
                size += len(data)
            where = str(paths[0]) if len(paths) == 1 else f"{paths[0]} … {paths[-1].name}"
            return f"{size:,} bytes in {where}"

        self.say("saving, Esc cancels")
        self.ask("save", save, self.saved)

    def saved(self, what: str) -> None:
        self.app.notify(printable(what), title="Saved", timeout=4, markup=False)
        self.dismiss()

    def failed(self, topic: str, error: str) -> None:
        self.say(error, error=True)

    def action_back(self) -> None:
        self.dismiss()
