"""A long list of one-line rows with a cursor: the call list and the ladder are drawn with it.

Rows are drawn only when they are on the screen, so a refresh of 100,000 rows costs what 40 rows cost.
It knows nothing of calls; it must not ask a Desk.
"""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

CURSOR = Style(color="white", bgcolor="#1f4e79", bold=True)
HEAD = Style(bgcolor="#2b2b2b", bold=True)


class Lines(ScrollView, can_focus=True):
    """Subclasses say how many rows there are and what each one looks like."""

    DEFAULT_CSS = "Lines { height: 1fr; scrollbar-size-horizontal: 0; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup,ctrl+b", "page(-1)", show=False),
        Binding("pagedown,ctrl+f", "page(1)", show=False),
        Binding("home,g", "jump(0)", show=False),
        Binding("end,G", "jump(-1)", show=False),
        Binding("left", "slide(-8)", show=False),
        Binding("right", "slide(8)", show=False),
    ]

    cursor: int = 0
    touched: bool = False
    """The user has moved the cursor."""

    class Moved(Message):
        """The cursor is on another row."""

        def __init__(self, row: int) -> None:
            super().__init__()
            self.row = row

    class Chosen(Message):
        """Enter, or a double click."""

        def __init__(self, row: int) -> None:
            super().__init__()
            self.row = row

    def row_count(self) -> int:
        """How many rows there are."""
        raise NotImplementedError

    def row_text(self, row: int) -> Text:
        """One row, one line."""
        raise NotImplementedError

    def head_text(self) -> Text:
        """The line that stays on top."""
        raise NotImplementedError

    def row_width(self) -> int:
        """Cells that the widest row takes; it scrolls sideways when the screen has fewer."""
        raise NotImplementedError

    def rows_changed(self, cursor: int | None = None) -> None:
        """Draw again after the rows changed; `cursor` is where the row under the cursor went.

        That row stays on the same line of the screen. A view that shows the top goes on showing it as long
        as the cursor is still on the screen, so that new rows appear where the user looks.
        """
        count = self.row_count()
        self.virtual_size = Size(self.row_width(), count + 1)
        if cursor is not None and cursor != self.cursor:
            moved, top = cursor - self.cursor, int(self.scroll_y)
            self.cursor = cursor
            if top > 0 or cursor >= self.page_rows():
                self.scroll_to(y=max(0, top + moved), animate=False, force=True)
        self.cursor = max(0, min(self.cursor, count - 1))
        self.refresh()

    def page_width(self) -> int:
        """Cells of a row that fit on the screen."""
        return max(1, self.scrollable_content_region.width)

    def page_rows(self) -> int:
        """Rows that fit on the screen."""
        return max(1, self.scrollable_content_region.height - 1)

    def move_to(self, row: int) -> None:
        """Put the cursor on a row and bring that row into view."""
        row = max(0, min(row, self.row_count() - 1))
        top, page = int(self.scroll_y), self.page_rows()
        if row < top:
            self.scroll_to(y=row, animate=False, force=True)
        elif row >= top + page:
            self.scroll_to(y=row - page + 1, animate=False, force=True)
        if row != self.cursor:
            self.cursor = row
            self.post_message(self.Moved(row))
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Line 0 is the head; the others are the rows that the scroll position shows."""
        width, left = self.size.width, int(self.scroll_x)
        row = y - 1 + int(self.scroll_y)
        over: Style | None = None
        if y == 0:
            text, over = self.head_text(), HEAD
        elif 0 <= row < self.row_count():
            text, over = self.row_text(row), CURSOR if row == self.cursor else None
        else:
            return Strip.blank(width, self.rich_style)
        text.end = ""
        strip = Strip(text.render(self.app.console)).crop_extend(left, left + width, None)
        return Strip(Segment.apply_style(strip, self.rich_style, over), width)

    def action_move(self, by: int) -> None:
        self.touched = True
        self.move_to(self.cursor + by)

    def action_page(self, pages: int) -> None:
        self.touched = True
        self.move_to(self.cursor + pages * self.page_rows())

    def action_jump(self, row: int) -> None:
        self.touched = True
        self.move_to(row if row >= 0 else self.row_count() - 1)

    def action_slide(self, by: int) -> None:
        self.scroll_to(x=max(0, self.scroll_x + by), animate=False)

    def action_choose(self) -> None:
        if self.row_count():
            self.touched = True
            self.post_message(self.Chosen(self.cursor))

    def on_click(self, event: events.Click) -> None:
        """A click moves the cursor, a double click chooses."""
        row = event.y - 1 + int(self.scroll_y)
        if event.y > 0 and row < self.row_count():
            self.touched = True
            self.move_to(row)
            if event.chain == 2:
                self.action_choose()

    def on_resize(self) -> None:
        """The cursor stays visible when the window becomes smaller."""
        self.virtual_size = Size(self.row_width(), self.row_count() + 1)
        self.scroll_to_region(Region(0, self.cursor, 1, 2), animate=False, force=True)
