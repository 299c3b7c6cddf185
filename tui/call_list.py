"""The list of calls, newest first, as sngrep shows it.

    ┌──────────────────────────────────────────────────────────────────────────────┐
    │ siptrail  capture.pcap                                                       │
    │ Filter: state:failed                              (only while it is open)    │
    │   Time (UTC)   Method   From      To        State      Result       Msgs  …  │
    │   10:00:01.204 INVITE   alice     bob       completed  200 OK          7     │
    │ * 10:00:00.900 INVITE   carol     dave      failed     488 Not Acc…    3     │
    │                                                                              │
    │ 488 Not Acceptable Here: no common codec          (of the cursor's call) │
    │ 2 calls · 1 selected · 10 messages · 0 lost · reading 43 %                   │
    │ ⏎ Flow  d Findings  r Raw  F2 Save  F7 Filter  F5 Refresh  p Pause  F1 Help  │
    └──────────────────────────────────────────────────────────────────────────────┘

Owns which calls are shown, the filter, and the refresh. It must not parse messages or filters.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Footer, Input, Static

from diagnose.desk import Desk
from index.summary import CallPage, CallSummary, Stats, rfc3339
from sip.text import printable
from tui import call_columns
from tui.asking import AskingScreen
from tui.call_table import CallTable
from tui.lines import Lines

if TYPE_CHECKING:
    from tui.app import SiptrailApp

FIRST = 30
"""Calls of the first answer: a screen full, because diagnosing them takes the desk longer than finding them."""
PAGE = 200
"""Calls asked for at a time."""
REFRESH_MOST = 1000
"""Calls that a refresh asks for again; older ones that were scrolled to are kept as they are."""


FILTER_ERROR = re.compile(r"filter: (.*) at character (\d+) of ")
"""What a filter that cannot be read is answered with, in-process and over HTTP alike."""


def with_caret(error: str, text: str) -> str:
    """The error in one line: a filter's own text with a mark where it is wrong, then what is wrong."""
    place = FILTER_ERROR.match(error)
    if place is None:
        return error
    at = int(place[2]) - 1
    return printable(f"{text[:at]}▲{text[at:]}   {place[1]}")


class FilterBox(Input):
    """Where a filter is typed; the footer then shows only the keys that are not text."""

    BINDINGS: ClassVar[list[Any]] = [
        Binding("enter", "submit", "Apply", key_display="⏎"),
        Binding("escape", "screen.back", "Close", key_display="Esc"),
    ]

    def __init__(self) -> None:
        super().__init__(placeholder="filter; empty shows all calls", id="filter", compact=True, select_on_focus=False)


class CallListScreen(AskingScreen):
    """Calls, filter, refresh."""

    TITLE = "calls"
    BINDINGS: ClassVar[list[Any]] = [
        Binding("enter", "flow", "Flow", key_display="⏎"),
        Binding("d", "findings", "Findings"),
        Binding("r,f6", "raw", "Raw"),
        Binding("f2,s", "save", "Save", key_display="F2"),
        Binding("f7,slash,f3", "filter", "Filter", key_display="F7"),
        Binding("space", "choose", "Select", key_display="␣"),
        Binding("p", "pause", "Pause"),
        Binding("v", "compare", "Compare", show=False),
        Binding("f1,h,question_mark", "app.help", "Help", key_display="F1"),
        Binding("q", "quit", "Quit"),
        Binding("f5,ctrl+l", "refresh", show=False),
        Binding("c", "app.colours", show=False),
        Binding("escape", "back", show=False),
    ]
    app: SiptrailApp

    def __init__(self, desk: Desk, title: str, live: bool) -> None:
        super().__init__(desk)
        self.where, self.live = title, live
        self.filter = ""
        self.paused = False
        self.share: float | None = None
        self.next: str | None = None
        self.searched: int | None = None
        """Texts were looked for in calls since then (ns)."""
        self.looked: float | None = None
        """Share of the time asked for in which they were looked for."""
        self.stats: Stats | None = None
        self.matched: int | None = None
        self.error = ""
        self.leaving = False
        """Esc was pressed once with nothing to close."""
        self.changing = False
        """The last refresh brought something new: headlines of a file's calls come bit by bit."""
        self.submitted = False
        """The filter was typed just now and not yet answered."""

    def compose(self) -> ComposeResult:
        yield Static(id="title")
        yield FilterBox()
        yield CallTable()
        yield Static(id="headline")
        yield Static(id="status")
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.table = self.query_one(CallTable)
        self.query_one("#filter").display = False
        self.table.focus()
        self.show_title()
        self.refresh_calls()
        self.set_interval(1.0, self.tick)

    # Fetching

    def tick(self) -> None:
        """Every second: how far the file is, and the newest calls when something can have changed."""
        if not self.is_waiting("progress"):
            self.ask("progress", self.desk.progress, self.take_progress)
        if (self.live or self.share is not None or self.changing) and not self.paused and self.app.screen is self:
            self.refresh_calls(only_if_idle=True)

    def refresh_calls(self, only_if_idle: bool = False) -> None:
        """Ask for the newest calls again."""
        # To look into messages again each second would never end; F5 or another filter begins anew.
        if only_if_idle and (self.is_waiting("calls", "more") or re.search(r"\btext:", self.filter, re.IGNORECASE)):
            return
        desk, wanted = self.desk, self.filter
        limit = max(PAGE, min(len(self.table.calls), REFRESH_MOST)) if self.table.calls else FIRST

        def question() -> tuple[CallPage, float | None]:
            progress = desk.progress()  # before the calls: a load that ends in between is asked about once more
            return desk.calls(wanted, limit), progress

        self.stop_waiting("more")
        self.ask("calls", question, self.take_calls)
        if not self.is_waiting("stats"):
            self.ask("stats", desk.stats, self.take_stats)

    def take_stats(self, stats: Stats) -> None:
        self.stats = stats

    def take_calls(self, answer: tuple[CallPage, float | None]) -> None:
        """Put the newest calls on top of the older ones that were already fetched."""
        page, self.share = answer
        fresh, old = list(page.calls), self.table.calls
        self.changing = old[: len(fresh)] != fresh
        if page.searched is not None:
            # Texts are looked for page by page; to begin again each second would never end.
            self.searched, self.next, self.looked = page.searched, page.next, page.progress
            self.table.replace(fresh)
            self.matched, self.error, self.submitted = None, "", False
            self.search_on()
            return
        self.searched = None
        if page.next is not None and fresh and len(old) > len(fresh):
            ids, last = {call.call_id for call in fresh}, fresh[-1].start
            self.table.replace(fresh + [call for call in old if call.start <= last and call.call_id not in ids])
        else:
            self.next = page.next
            self.table.replace(fresh)
        self.matched, self.error, self.submitted = page.matched, "", False
        if page.next is not None and not old and len(fresh) <= FIRST:
            self.refresh_calls()

    def take_progress(self, progress: float | None) -> None:
        if self.share is not None and progress is None and not self.paused:
            self.refresh_calls()  # the file has just been read to its end
        self.share = progress

    def take_more(self, page: CallPage) -> None:
        """Older calls, under the ones that are there."""
        known = {call.call_id for call in self.table.calls}
        self.next = page.next
        self.table.replace(self.table.calls + [call for call in page.calls if call.call_id not in known])
        if self.searched is not None:
            self.searched, self.looked = page.searched, page.progress
            self.search_on()

    def search_on(self) -> None:
        """Look for the filter's texts in older calls, until the screen is full."""
        if self.next is not None and self.searched is not None and len(self.table.calls) < PAGE:
            desk, wanted, before = self.desk, self.filter, self.next
            self.ask("more", lambda: desk.calls(wanted, PAGE, before), self.take_more)

    def on_lines_moved(self, moved: Lines.Moved) -> None:
        """Fetch older calls before the cursor gets to the end."""
        self.leaving = False
        self.show_headline()
        if self.next and moved.row >= len(self.table.calls) - PAGE // 4 and not self.is_waiting("calls", "more"):
            desk, wanted, before = self.desk, self.filter, self.next
            self.ask("more", lambda: desk.calls(wanted, PAGE, before), self.take_more)

    def failed(self, topic: str, error: str) -> None:
        """The error stays in the status line until an answer comes; a filter that was just typed can be mended."""
        if topic in ("calls", "more"):
            self.error = with_caret(error, self.filter)
        if topic == "calls" and self.submitted:
            self.submitted = False
            self.action_filter()
            if place := FILTER_ERROR.match(error):
                self.query_one(FilterBox).cursor_position = int(place[2]) - 1

    # Showing

    def show_title(self) -> None:
        text = Text.assemble((" siptrail ", "bold reverse"), " ", printable(self.where))
        text.append("  live" if self.live and not self.paused else "", "green")
        text.append("  paused" if self.paused else "", "yellow")
        if self.filter:
            text.append("  filter: ", "dim").append(printable(self.filter), "cyan")
        self.query_one("#title", Static).update(text)

    def waiting_changed(self) -> None:
        if not self.is_mounted:
            return
        bar = self.query_one("#status", Static)
        bar.set_class(bool(self.error), "error")
        bar.update(Text(f" {self.error}", no_wrap=True, overflow="ellipsis") if self.error else self.status())
        self.show_headline()

    def show_headline(self) -> None:
        """What is wrong with the call at the cursor, or which call it is."""
        calls, line = self.table.calls, Text(" ", no_wrap=True, overflow="ellipsis")
        if calls:
            call = calls[self.table.cursor]
            if call.headline:
                line.append(printable(call.headline), call_columns.SEVERITY_STYLE.get(call.severity, ""))
            else:
                line.append(f"{printable(call.src)} → {printable(call.dst)}  {printable(call.call_id)}", "dim")
        self.query_one("#headline", Static).update(line)

    def status(self) -> Text:
        """One line: calls shown, messages, what was lost, what is being waited for."""
        shown = len(self.table.calls)
        of = f" of {self.matched}" if self.matched is not None and self.matched > shown else "+" if self.next else ""
        parts = [f"{shown}{of} call{'' if shown == 1 and not of else 's'}"]
        if self.table.chosen:
            parts.append(f"{len(self.table.chosen)} selected" + (", v compares" if len(self.table.chosen) == 2 else ""))
        text = Text(" ")
        if self.stats is not None:
            lost = self.stats.kernel_drops + self.stats.queue_drops
            parts.append(f"{self.stats.messages} messages")
            text.append(" · ".join(parts)).append(" · ").append(f"{lost} lost", "bold red" if lost else "")
            for name, count in (("incomplete", self.stats.fragments_lost), ("unreadable", self.stats.unreadable)):
                if count:
                    text.append(f" · {count} {name}", "bold red")
        else:
            text.append(" · ".join(parts))
        if self.searched is not None:
            share = "" if self.looked is None else f" ({self.looked:.0%})"
            text.append(f" · looked at calls since {rfc3339(self.searched)[:16]}Z{share}", "yellow")
            text.append(", Esc stops" if self.is_waiting("calls", "more") else "", "yellow")
        if self.share is not None:
            text.append(f" · reading {self.share:.0%}", "yellow")
        elif self.is_waiting("calls", "more") and not self.live:
            text.append(" · searching, Esc stops", "yellow")
        if self.leaving:
            text.append(" · Esc again quits", "yellow")
        if not shown and not self.is_waiting("calls") and self.share is None:
            text.append(" · no call matches, F7 changes the filter" if self.filter else " · no calls yet", "yellow")
        return text

    # Keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a filter is typed, only closing it and the help are keys of this screen."""
        return action in ("back", "app.help") or not isinstance(self.focused, FilterBox)

    def picked(self) -> list[CallSummary]:
        """The selected calls, else the one under the cursor."""
        if self.table.chosen:
            return list(self.table.chosen.values())
        return [self.table.calls[self.table.cursor]] if self.table.calls else []

    def on_lines_chosen(self) -> None:
        if calls := self.picked():
            self.app.open_flow(calls)

    def action_flow(self) -> None:
        self.on_lines_chosen()

    def action_raw(self) -> None:
        if calls := self.picked():
            self.app.open_raw(calls)

    def action_findings(self) -> None:
        if self.table.calls:
            self.app.open_findings(self.table.calls[self.table.cursor].call_id)

    def action_compare(self) -> None:
        if len(self.table.chosen) == 2:
            self.app.open_compare(list(self.table.chosen.values()))
        else:
            self.notify("select two calls with Space, then v compares them", timeout=4, markup=False)

    def action_save(self) -> None:
        if calls := self.picked():
            self.app.open_save([call.call_id for call in calls])

    def action_choose(self) -> None:
        if self.table.calls:
            call = self.table.calls[self.table.cursor]
            if self.table.chosen.pop(call.call_id, None) is None:
                self.table.chosen[call.call_id] = call
            self.table.action_move(1)
            self.table.refresh()
            self.waiting_changed()

    def action_pause(self) -> None:
        self.paused = not self.paused
        self.show_title()

    def action_refresh(self) -> None:
        self.refresh_calls()

    def action_filter(self) -> None:
        box = self.query_one(FilterBox)
        box.display, box.value = True, self.filter
        box.cursor_position = len(self.filter)
        box.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Apply the filter; the list is emptied because its calls need not match."""
        if event.value.strip() != self.filter or self.error:
            self.filter, self.next, self.error, self.submitted = event.value.strip(), None, "", True
            self.table.calls, self.table.cursor, self.table.touched = [], 0, False
            self.table.chosen.clear()
            self.table.rows_changed()
            self.refresh_calls()
        self.close_filter()

    def close_filter(self) -> None:
        self.query_one("#filter").display = False
        self.table.focus()
        self.show_title()

    def action_back(self) -> None:
        """Esc closes the filter, else stops waiting, else (twice) quits."""
        if self.query_one("#filter").display:
            self.close_filter()
        elif not self.stop_waiting("calls", "more"):
            if self.leaving:
                self.app.exit()
            self.leaving = True
            self.waiting_changed()

    def action_quit(self) -> None:
        self.app.exit()
