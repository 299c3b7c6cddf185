"""A ladder as a self-contained SVG, for the web page, tickets and customers. Pure."""

from __future__ import annotations

from html import escape

from index.ladder import Ladder

COLOURS = {
    "request": "#0b6bcb",
    "provisional": "#9a6700",
    "success": "#1a7f37",
    "redirect": "#8250df",
    "failure": "#cf222e",
}
LEFT, GAP, TOP, STEP = 210, 250, 84, 42


def render_svg(ladder: Ladder) -> str:
    """The diagram on a light background, 250 units between parties."""
    n = max(1, len(ladder.columns))
    at = [LEFT + 60 + i * GAP for i in range(n)]
    notes = sum(1 for r in ladder.rows for x in (r.media, r.note) if x)
    height = TOP + len(ladder.rows) * STEP + notes * 15 + 70
    width = at[-1] + 190
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="ui-monospace, DejaVu Sans Mono, monospace" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        "<defs>",
    ]
    out += [
        f'<marker id="to-{k}" markerWidth="9" markerHeight="8" refX="8" refY="4" orient="auto"><path d="M0,0 L9,4 L0,8 z" fill="{c}"/></marker>'
        for k, c in COLOURS.items()
    ]
    out += ["</defs>", f'<text x="14" y="24" font-weight="bold">Call-ID {_text(ladder.call_id, 120)}</text>']
    for x, column in zip(at, ladder.columns, strict=False):
        out.append(
            f'<text x="{x}" y="{TOP - 26}" text-anchor="middle" font-weight="bold">{_text(column.label, 34)}</text>'
        )
        out.append(f'<line x1="{x}" y1="{TOP - 16}" x2="{x}" y2="{height - 44}" stroke="#8c959f"/>')
    y = TOP
    for r in ladder.rows:
        y += STEP - 14
        colour, x1, x2 = COLOURS[r.kind], at[r.source], at[r.target]
        dashed = ' stroke-dasharray="5 4"' if r.retransmission else ""
        out.append(f'<text x="14" y="{y + 4}" fill="#57606a">{r.number:>3} {r.time} {escape(r.delta)}</text>')
        marks = (" (again)" if r.retransmission else "") + (f" (seen {r.seen} ×)" if r.seen > 1 else "")
        if x1 == x2:
            out.append(
                f'<path d="M{x1},{y} h40 v10 h-38" fill="none" stroke="{colour}" stroke-width="1.5"{dashed} marker-end="url(#to-{r.kind})"/>'
            )
            out.append(f'<text x="{x1 + 46}" y="{y + 8}" fill="{colour}">{_text(r.label + marks, 60)}</text>')
        else:
            out.append(
                f'<line x1="{x1}" y1="{y}" x2="{x2}" y2="{y}" stroke="{colour}" stroke-width="1.5"{dashed} marker-end="url(#to-{r.kind})"/>'
            )
            out.append(
                f'<text x="{(x1 + x2) / 2}" y="{y - 5}" text-anchor="middle" fill="{colour}">{_text(r.label + marks, 60)}</text>'
            )
        for extra in (r.media, r.note):
            if extra:
                y += 15
                out.append(
                    f'<text x="{min(x1, x2) + 8}" y="{y}" fill="#57606a" font-size="11">{_text(extra, 90)}</text>'
                )
        y += 14
    x = 14
    for k, c in COLOURS.items():
        out.append(
            f'<rect x="{x}" y="{height - 26}" width="12" height="12" fill="{c}"/><text x="{x + 18}" y="{height - 15}" font-size="12">{k}</text>'
        )
        x += 40 + 9 * len(k)
    out.append(
        f'<text x="{x + 10}" y="{height - 15}" font-size="12" fill="#57606a">dashed: sent again · times UTC</text>'
    )
    return "\n".join([*out, "</svg>"]) + "\n"


def _text(text: str, limit: int) -> str:
    return escape(text if len(text) <= limit else text[: limit - 1] + "…")
