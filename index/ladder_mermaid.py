"""A ladder as a Mermaid sequence diagram, for wikis and tickets. Pure."""

from __future__ import annotations

from index.ladder import Ladder


def _safe(text: str) -> str:
    # Mermaid reads #, ; and markup: entity codes show them literally.
    return "".join(c if c.isalnum() or c in " .,()/+-_@:[]|=!?'*" else f"#{ord(c)};" for c in text)


def render_mermaid(ladder: Ladder) -> str:
    """`sequenceDiagram` text."""
    out = ["sequenceDiagram", *(f"  %% {_safe(title)}" for title in ladder.titles), "  autonumber"]
    out += [f"  participant p{i} as {_safe(c.label)}" for i, c in enumerate(ladder.columns)]
    for r in ladder.rows:
        arrow = "-->>" if r.kind != "request" or r.retransmission else "->>"
        marks = (" (again)" if r.retransmission else "") + (f" (seen {r.seen} x)" if r.seen > 1 else "")
        out.append(f"  p{r.source}{arrow}p{r.target}: {_safe(r.label + marks)}")
        if r.notes:
            over = f"p{r.source}" if r.source == r.target else f"p{r.source},p{r.target}"
            out.append(f"  Note over {over}: {_safe('; '.join(r.notes))}")
    return "\n".join(out) + "\n"
