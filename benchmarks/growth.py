"""How times grow with the store: `python benchmarks/growth.py week-1.txt week-10.txt week-100.txt -o docs/growth.svg`.

Owns: the outputs of `week.py` for stores of several sizes (their last line, JSON), as a table on standard output and as
a drawing with two logarithmic axes. Must not: measure anything.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 760, 420, 70, 20, 300, 50
ROWS = (
    ("messages of a call by Call-ID", "questions", "messages of a call by Call-ID, no time given", "#1f77b4"),
    ("its frames, as for a pcap", "questions", "its frames, as for a pcap", "#17becf"),
    ("newest 100 failed calls of the last hour", "questions", "newest 100 calls, state:failed, last hour", "#2ca02c"),
    (
        "newest 100 failed calls of one peer, 7 days", "questions",
        "newest 100 failed calls of one peer over 7 days", "#9467bd",
    ),
    ("legs of a call", "questions", "legs of a call", "#e377c2"),
    ("a commit of 5,000 messages", "commit", None, "#7f7f7f"),
    ("plain table: messages of a call", "plain", "messages of a call by Call-ID, no time given", "#d62728"),
    (
        "plain table: failed calls of one peer, 7 days", "plain",
        "newest 100 failed calls of one peer over 7 days", "#ff7f0e",
    ),
    ("tshark -Y over one of 168 hours", "tshark", None, "#8c564b"),
)  # fmt: skip
"""What is drawn: its name, and where `week.py` says it."""


def median(record: dict[str, Any], part: str, name: str | None) -> float | None:
    """Milliseconds; None where that was not measured."""
    found = record.get(part, {})
    found = found.get(name, {}) if name else found
    return found.get("median_ms", found.get("median"))


def table(records: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = ["| Median, ms | " + " | ".join(f"{r['messages']:,.0f}" for r in records) + " |"]
    lines.append("|---|" + "---:|" * len(records))
    for name, part, key, _ in ROWS:
        values = [median(r, part, key) for r in records]
        lines.append(f"| {name} | " + " | ".join("" if v is None else f"{v:,.0f}" for v in values) + " |")
    memory = [f"{r['questions'].get('memory_mb', 0):,.0f} MB" for r in records]
    lines.append(f"| memory of the process that asks | {' | '.join(memory)} |")
    for name, key in (("the store", "bytes"), ("the plain table", "plain_bytes")):
        lines.append(f"| {name} | " + " | ".join(f"{r[key] / 1e6:,.0f} MB" if key in r else "" for r in records) + " |")
    return "\n".join(lines)


def drawing(records: list[dict[str, Any]]) -> str:
    """SVG."""
    sizes = [math.log10(r["messages"]) for r in records]
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    low, top = 0.0, 5.0

    def x(size: float) -> float:
        return LEFT + wide * (size - min(sizes)) / max(max(sizes) - min(sizes), 1e-9)

    def y(ms: float) -> float:
        return TOP + high * (1 - (math.log10(max(ms, 1.0)) - low) / (top - low))

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for power, text in enumerate(("1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s")):
        at = y(10.0**power)
        out.append(f'<line x1="{LEFT}" y1="{at:.0f}" x2="{LEFT + wide}" y2="{at:.0f}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 8}" y="{at + 4:.0f}" text-anchor="end">{text}</text>')
    for size, record in zip(sizes, records, strict=True):
        words = f"{record['messages'] / 1e6:,.0f} million"
        out.append(f'<text x="{x(size):.0f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{words}</text>')
    out.append(f'<text x="{LEFT + wide / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">messages in 168 hours</text>')
    named: list[tuple[float, str, str]] = []
    for name, part, key, colour in ROWS:
        points = [(x(s), y(v)) for s, r in zip(sizes, records, strict=True) if (v := median(r, part, key)) is not None]
        if not points:
            continue
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in points]
        named.append((points[-1][1], name, colour))
    last = -math.inf
    for at, name, colour in sorted(named):  # names keep clear of each other
        last = max(at, last + 15)
        out.append(f'<text x="{LEFT + wide + 10}" y="{last + 4:.0f}" fill="{colour}">{name}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("-o", "--out", type=Path)
    chosen = parser.parse_args()
    lines = [[line for line in path.read_text().splitlines() if line.startswith("{")] for path in chosen.files]
    records = sorted((json.loads(found[-1]) for found in lines if found), key=lambda r: r["messages"])
    print(table(records))
    if chosen.out is not None:
        chosen.out.write_text(drawing(records))


if __name__ == "__main__":
    main()
