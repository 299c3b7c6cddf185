"""A ladder as a self-contained SVG, for the web page, tickets and customers. Pure."""

from __future__ import annotations

from html import escape

from index.ladder import Ladder, Row

COLOURS = {
    "request": "#0b6bcb",
    "provisional": "#9a6700",
    "success": "#1a7f37",
    "redirect": "#8250df",
    "failure": "#cf222e",
}
GREY = "#57606a"
LEFT, GAP, TOP, STEP, NOTE = 210, 250, 84, 42, 15
LETTER = 0.62
"""Width of a letter of a monospaced font, in its size."""
FOOT = "dashed: sent again · times UTC"
MANY_LETTERS = {"call-id": 128, "column": 34, "label": 44, "note": 90}


def render_svg(ladder: Ladder) -> str:
    """The diagram on a light background, 250 units between parties."""
    at = [LEFT + 60 + i * GAP for i in range(max(1, len(ladder.columns)))]
    notes = sum(len(r.notes) for r in ladder.rows)
    top = TOP + STEP // 2 * (len(ladder.titles) - 1)
    height = top + len(ladder.rows) * STEP + notes * NOTE + 70
    out = [_marker(kind, colour) for kind, colour in COLOURS.items()]
    out.append("</defs>")
    for n, title in enumerate(ladder.titles):
        out.append(_text(14, 24 + STEP // 2 * n, _cut(title, "call-id"), bold=True))
    for x, column in zip(at, ladder.columns, strict=False):
        out.append(_text(x, top - 26, _cut(column.label, "column"), middle=True, bold=True))
        out.append(f'<line x1="{x}" y1="{top - 16}" x2="{x}" y2="{height - 44}" stroke="#8c959f"/>')
    y = top
    for r in ladder.rows:
        y += STEP - 14
        out += _message(r, at[r.source], at[r.target], y)
        for note in r.notes:
            y += NOTE
            out.append(_text(min(at[r.source], at[r.target]) + 8, y, _cut(note, "note"), GREY, size=11))
        y += 14
    out += _legend(height)
    width = _width(ladder, at)
    return "\n".join([*_frame(width, height), *out, "</svg>"]) + "\n"


def _frame(width: int, height: int) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="ui-monospace, DejaVu Sans Mono, monospace" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        "<defs>",
    ]


def _width(ladder: Ladder, at: list[int]) -> int:
    """Room for the longest text; what stands outside of the picture is not drawn."""
    legend = 34 + sum(40 + 9 * len(kind) for kind in COLOURS) + len(FOOT) * 12 * LETTER
    needs = [at[-1] + 190.0, legend, *(30 + len(_cut(title, "call-id")) * 13 * LETTER for title in ladder.titles)]
    for r in ladder.rows:
        x = min(at[r.source], at[r.target])
        needs += [x + 24 + len(_cut(note, "note")) * 11 * LETTER for note in r.notes]
        if r.source == r.target:
            needs.append(x + 60 + len(_cut(_label(r), "label")) * 13 * LETTER)
    return int(max(needs))


def _label(r: Row) -> str:
    return r.label + (" (again)" if r.retransmission else "") + (f" (seen {r.seen} ×)" if r.seen > 1 else "")


def _message(r: Row, x1: int, x2: int, y: int) -> list[str]:
    colour = COLOURS[r.kind]
    dashed = ' stroke-dasharray="5 4"' if r.retransmission else ""
    pen = f'stroke="{colour}" stroke-width="1.5"{dashed} marker-end="url(#to-{r.kind})"/>'
    when = _text(14, y + 4, f"{r.number:>3} {r.time} {r.delta}", GREY)
    label = _cut(_label(r), "label")
    if x1 == x2:
        return [
            when,
            f'<path d="M{x1},{y} h40 v10 h-38" fill="none" {pen}',
            _text(x1 + 46, y + 8, label, colour),
        ]
    return [
        when,
        f'<line x1="{x1}" y1="{y}" x2="{x2}" y2="{y}" {pen}',
        _text((x1 + x2) // 2, y - 5, label, colour, middle=True),
    ]


def _marker(kind: str, colour: str) -> str:
    return (
        f'<marker id="to-{kind}" markerWidth="9" markerHeight="8" refX="8" refY="4" orient="auto">'
        f'<path d="M0,0 L9,4 L0,8 z" fill="{colour}"/></marker>'
    )


def _legend(height: int) -> list[str]:
    out, x = [], 14
    for kind, colour in COLOURS.items():
        out.append(f'<rect x="{x}" y="{height - 26}" width="12" height="12" fill="{colour}"/>')
        out.append(_text(x + 18, height - 15, kind, size=12))
        x += 40 + 9 * len(kind)
    return [*out, _text(x + 10, height - 15, FOOT, GREY, size=12)]


def _text(x: int, y: int, text: str, colour: str = "", size: int = 0, middle: bool = False, bold: bool = False) -> str:
    """The one place where text is written, and escaped."""
    look = (' text-anchor="middle"' if middle else "") + (' font-weight="bold"' if bold else "")
    look += (f' fill="{colour}"' if colour else "") + (f' font-size="{size}"' if size else "")
    return f'<text x="{x}" y="{y}"{look}>{escape(text)}</text>'


def _cut(text: str, what: str) -> str:
    limit = MANY_LETTERS[what]
    return text if len(text) <= limit else text[: limit - 1] + "…"
