"""A ladder as plain text for terminals and mails. Pure.

It counts in cells, as a terminal does: an ideograph fills two, a combining mark none.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from index.ladder import Ladder, Row

_COLOURS = {"request": "36", "provisional": "33", "success": "32", "redirect": "35", "failure": "31"}
_NARROWEST, _WIDEST = 12, 44
"""Cells from one lifeline to the next."""


@dataclass(frozen=True, slots=True)
class _Grid:
    """Where things stand."""

    at: tuple[int, ...]
    """Cell of each lifeline."""
    limit: int | None
    """Cells that a line may fill; None for as many as it needs."""
    number: int
    left: int
    """Widths of the number, and of number, time and delta together."""


def render_text(ladder: Ladder, width: int | None = None, color: bool = False) -> str:
    """The diagram; `width` in cells (default: as wide as the labels need, at least 80)."""
    if not ladder.rows:
        return f"{ladder.call_id}\n(no messages)\n"
    grid = _grid(ladder, width)
    # A Call-ID is there to be copied, so it is never cut.
    out = [*ladder.titles, "", _heads(ladder, grid), "".join(_lifelines(grid))]
    for r in ladder.rows:
        cells = _arrow(r, grid)
        left, right = "".join(cells[: grid.left]), "".join(cells[grid.left :]).rstrip()
        out.append(f"{left}\x1b[{_COLOURS[r.kind]}m{right}\x1b[0m" if color else left + right)
        out += [_under(text, grid) for text in r.notes]
    out.append("".join(_lifelines(grid)))
    return "\n".join(line.rstrip() for line in out) + "\n"


def _grid(ladder: Ladder, width: int | None) -> _Grid:
    rows, n = ladder.rows, max(2, len(ladder.columns))
    number = max(3, len(str(rows[-1].number)))
    left = number + 2 + max(len(r.time) for r in rows) + max(9, *(len(r.delta) + 1 for r in rows))
    longest = max([_width(_label(r)) + 6 for r in rows] + [_width(c.label) + 2 for c in ladder.columns])
    room = width - left - 14 if width else 60 - left
    pitch = max(_NARROWEST if width else min(longest, _WIDEST), room // (n - 1))
    at = tuple(left + 8 + i * pitch for i in range(n))
    return _Grid(at[: len(ladder.columns)], max(width, at[-1] + 4) if width else None, number, left)


def _cells(text: str, most: int | None = None) -> list[str]:
    """One string a cell; a wide character is followed by an empty one. More than `most` cells end with an ellipsis."""
    out: list[str] = []
    for c in text:
        if unicodedata.combining(c) or unicodedata.category(c) in ("Mn", "Me"):
            if out:
                out[-1 if out[-1] else -2] += c
            continue
        out += [c, ""] if unicodedata.east_asian_width(c) in "WF" else [c]
    if most is None or len(out) <= most:
        return out
    if most < 1:
        return []
    del out[most - 1 :]
    if out and unicodedata.east_asian_width(out[-1][:1] or " ") in "WF":
        out[-1] = " "  # half of a wide character
    return [*out, "…"]


def _width(text: str) -> int:
    return len(_cells(text))


def _label(r: Row) -> str:
    return r.label + (" (again)" if r.retransmission else "") + (f" (seen {r.seen} ×)" if r.seen > 1 else "")


def _heads(ladder: Ladder, grid: _Grid) -> str:
    line: list[str] = []
    pitch = grid.at[1] - grid.at[0] if len(grid.at) > 1 else None
    for x, column in zip(grid.at, ladder.columns, strict=True):
        text = _cells(column.label, None if pitch is None else pitch - 1)
        start = x - len(text) // 2
        if grid.limit is not None:
            start = min(start, grid.limit - len(text))
        start = max(start, len(line) + 1 if line else 0)
        if grid.limit is not None:
            text = _cells(column.label, min(len(text), grid.limit - start))
        line += [" "] * (start - len(line)) + text
    return "".join(line)


def _lifelines(grid: _Grid, prefix: str = "") -> list[str]:
    line = [*_cells(prefix), *" " * (grid.at[-1] + 1 - len(prefix))]
    for x in grid.at:
        line[x] = "│"
    return line


def _arrow(r: Row, grid: _Grid) -> list[str]:
    delta = grid.left - grid.number - 2 - len(r.time)
    line = _lifelines(grid, f"{r.number:>{grid.number}}  {r.time}{r.delta:>{delta}}")
    dash = "╌" if r.retransmission else "─"
    a, b = sorted((grid.at[r.source], grid.at[r.target]))
    if a == b:
        label = _cells(_label(r), None if grid.limit is None else grid.limit - a - 5)
        line[a + 1 : a + 5 + len(label)] = ["◄", dash, dash, " ", *label]
        return line
    inside = b - a - 2
    body = [dash, " ", *_cells(_label(r), inside - 4), " "]
    body += dash * (inside - len(body))
    line[a + 1 : b] = [*body, "►"] if r.target > r.source else ["◄", *body]
    return line


def _under(text: str, grid: _Grid) -> str:
    head = _lifelines(grid)[: grid.at[0] + 1]
    most = None if grid.limit is None else grid.limit - len(head) - 3
    return "".join([*head, *"   ", *_cells(text, most)])
