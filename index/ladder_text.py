"""A ladder as plain text for terminals and mails. Pure."""

from __future__ import annotations

from index.ladder import Ladder, Row

_COLOURS = {"request": "36", "provisional": "33", "success": "32", "redirect": "35", "failure": "31"}
_LEFT = 24
"""Width of number, time and delta."""


def render_text(ladder: Ladder, width: int | None = None, color: bool = False) -> str:
    """The diagram; `width` in characters (default: as wide as the labels need, at least 80)."""
    if not ladder.rows:
        return f"{ladder.call_id}\n(no messages)\n"
    n = max(2, len(ladder.columns))
    longest = max([len(_label(r)) + 6 for r in ladder.rows] + [len(c.label) + 2 for c in ladder.columns])
    room = (
        max(12, ((width or 0) - _LEFT - 12) // (n - 1))
        if width
        else max(min(longest, 44), (80 - _LEFT - 12) // (n - 1))
    )
    at = [_LEFT + 8 + i * room for i in range(n)]
    out = [f"Call-ID {ladder.call_id}", "", _heads(ladder, at, room), _lifelines(at, n)]
    for r in ladder.rows:
        line = _arrow(r, at, n)
        if color:
            code = _COLOURS[r.kind]
            line = f"{line[:_LEFT]}\x1b[{code}m{line[_LEFT:]}\x1b[0m"
        out.append(line.rstrip())
        out += [_under(text, at, n) for text in (r.media, r.note) if text]
    out.append(_lifelines(at, n))
    return "\n".join(line.rstrip() for line in out) + "\n"


def _label(r: Row) -> str:
    return r.label + (" (again)" if r.retransmission else "") + (f" (seen {r.seen} ×)" if r.seen > 1 else "")


def _heads(ladder: Ladder, at: list[int], room: int) -> str:
    line = ""
    for i, column in enumerate(ladder.columns):
        text = column.label if len(column.label) <= room - 1 else column.label[: max(1, room - 2)] + "…"
        start = max(len(line) + (1 if line else 0), at[i] - len(text) // 2)
        line = line.ljust(start) + text
    return line


def _lifelines(at: list[int], n: int, prefix: str = "") -> str:
    line = list(prefix.ljust(at[-1] + 1))
    for x in at[:n]:
        line[x] = "│"
    return "".join(line)


def _arrow(r: Row, at: list[int], n: int) -> str:
    line = list(_lifelines(at, n, f"{r.number:>3}  {r.time}"[: _LEFT - 8].ljust(_LEFT - 8) + f"{r.delta:>8}"[-8:]))
    dash = "╌" if r.retransmission else "─"
    text = f" {_label(r)} "
    if r.source == r.target:
        tail = f"│◄{dash}{dash}{text.rstrip()}"
        return "".join(line[: at[r.source]]) + tail
    a, b = sorted((at[r.source], at[r.target]))
    inside = b - a - 1
    if len(text) > inside - 3:
        text = text[: max(1, inside - 5)] + "… "
    body = (dash + text).ljust(inside - 1, dash)
    line[a + 1 : b] = list((body + "►") if r.target > r.source else ("◄" + body))
    return "".join(line)


def _under(text: str, at: list[int], n: int) -> str:
    return _lifelines(at, n)[: at[0] + 1] + "   " + text
