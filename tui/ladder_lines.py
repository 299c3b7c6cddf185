"""The ladder drawn in a terminal: one line a row, columns as far apart as the screen allows.

The layout comes from index.ladder; only the drawing is decided here.
"""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from index.ladder import Ladder, Row, layout
from index.trace import CallTrace
from sip.text import printable
from tui.lines import Lines
from tui.sip_text import code_style

TRANSACTION_STYLES = ("cyan", "yellow", "green", "magenta", "blue", "red")
MARGIN = 24
"""Time and time since the row before."""
NARROWEST, WIDEST = 24, 44
"""Cells between two columns."""


def beside(record: Row) -> str:
    """What is written to the right of a row: how often it was sent or seen, why, and its media."""
    again, seen = "again" if record.retransmission else "", f"seen {record.seen} ×" if record.seen > 1 else ""
    return printable(" · ".join(part for part in (again, seen, record.note, record.media) if part))


class LadderLines(Lines):
    """The ladder of one trace."""

    DEFAULT_CSS = "LadderLines { height: 1fr; }"

    def __init__(self) -> None:
        super().__init__(id="ladder")
        self.ladder: Ladder | None = None
        self.trace: CallTrace | None = None
        self.turns: dict[str, int] = {}

    def show(self, trace: CallTrace) -> None:
        """Draw this trace; the cursor stays where it is when it is the same call with more messages."""
        self.trace, self.ladder = trace, layout(trace)
        # A transaction of the eye: one CSeq of one call, so that an ACK has its INVITE's colour.
        keys = dict.fromkeys(f"{m.sip.call_id} {m.sip.cseq}" for m in trace.messages)
        self.turns = {key: turn for turn, key in enumerate(keys)}
        self.rows_changed()

    def number(self) -> int | None:
        """1-based number of the message at the cursor."""
        return self.ladder.rows[self.cursor].number if self.ladder is not None and self.ladder.rows else None

    def row_count(self) -> int:
        return len(self.ladder.rows) if self.ladder is not None else 0

    def pitch(self) -> int:
        """Cells from one column to the next."""
        count = max(2, len(self.ladder.columns) if self.ladder is not None else 2)
        return max(NARROWEST, min(WIDEST, (self.page_width() - MARGIN - NARROWEST) // (count - 1)))

    def row_width(self) -> int:
        count = max(2, len(self.ladder.columns) if self.ladder is not None else 2)
        rows = self.ladder.rows if self.ladder is not None else ()
        notes = max((cell_len(beside(row)) for row in rows), default=0)
        return self.column_at(count - 1) + 3 + notes

    def narrowest_width(self) -> int:
        """Cells that all columns need at least, without the notes at their right."""
        return MARGIN + NARROWEST * max(2, len(self.ladder.columns) if self.ladder is not None else 2)

    def column_at(self, column: int) -> int:
        """Where a column's line is."""
        return MARGIN + NARROWEST // 2 + column * self.pitch()

    def head_text(self) -> Text:
        line = "  Time (UTC)         Δ  "
        for index, column in enumerate(self.ladder.columns if self.ladder is not None else ()):
            label = set_cell_size(printable(column.label), min(cell_len(printable(column.label)), self.pitch() - 2))
            line = line.ljust(max(0, self.column_at(index) - cell_len(label) // 2)) + label
        return Text(line)

    def row_text(self, row: int) -> Text:
        assert self.ladder is not None
        record = self.ladder.rows[row]
        text = Text(f"  {record.time} {record.delta if row else '':>8} ", "dim")
        cells = [" "] * (self.column_at(len(self.ladder.columns) - 1) - MARGIN + 1)
        for index in range(len(self.ladder.columns)):
            cells[self.column_at(index) - MARGIN] = "│"
        first, last = sorted((record.source, record.target))
        start, end = self.column_at(first) - MARGIN, self.column_at(last) - MARGIN
        if first == last:
            drawn = f"↺ {printable(record.label)} "
            end = start + 1 + cell_len(drawn)
        else:
            drawn = self.arrow(record, end - start - 1)
        text.append("".join(cells[: start + 1]), "dim").append(drawn, self.style(record))
        return text.append("".join(cells[end:]) + "  " + beside(record), "dim")

    @staticmethod
    def arrow(record: Row, space: int) -> str:
        """The label inside its arrow; a retransmission is drawn with a broken line."""
        label = printable(record.label)
        if cell_len(label) > space - 5:
            label = set_cell_size(label, space - 6).rstrip() + "…"
        line = "┄" if record.retransmission else "─"
        rest = space - cell_len(label) - 3
        left, right = line * (rest // 2), line * (rest - rest // 2)
        return f"{left} {label} {right}▶" if record.target > record.source else f"◀{left} {label} {right}"

    def style(self, record: Row) -> str:
        """The colour of one row, as the user has chosen."""
        mode = getattr(self.app, "colours", "off")
        if mode == "off" or self.trace is None:
            return ""
        sip = self.trace.messages[record.number - 1].sip
        if mode == "transaction":
            turn = self.turns.get(f"{sip.call_id} {sip.cseq}", 0)
            return TRANSACTION_STYLES[turn % len(TRANSACTION_STYLES)]
        return code_style(sip.code) or "bold yellow"
