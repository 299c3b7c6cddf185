"""A comparison of two calls as lines for a terminal, 80 columns wide. What the wire said is made printable."""

from __future__ import annotations

import textwrap

from diagnose.compare import Comparison, Difference, Moment, Pair, Side
from sip.text import printable

WIDTH = 80
MOST = 40
"""Differences that are told one by one."""
LONGEST = 300
"""Characters of a value that are shown; --json has all."""


def render(c: Comparison) -> str:
    """The two calls, what differs, and the steps side by side."""
    out = [*_side("A", c.first), *_side("B", c.second), ""]
    if not c.differences:
        out.append("Nothing differs but tags, branches, times, ports and the hosts' own addresses.")
    else:
        out.append("What differs, the most telling first")
        for n, d in enumerate(c.differences[:MOST], 1):
            out += _difference(n, d)
        if len(c.differences) > MOST:
            out.append(f"  … and {len(c.differences) - MOST} more; --json has all")
    out += ["", f"  {'A':<36} {'B'}", *(_pair(p) for p in c.steps)]
    if c.cut:
        out.append(f"  … a call is longer; its first {len(c.steps)} steps are compared")
    return "\n".join(out)


def _side(letter: str, side: Side) -> list[str]:
    return [
        *_wrapped(f"{letter}  ", printable(side.call_id)),
        *_wrapped("   ", f"{printable(side.outcome)}, {side.messages} messages"),
        *_wrapped("   ", "hosts " + ", ".join(f"{n} {ip}" for n, ip in enumerate(side.hosts, 1))),
    ]


def _difference(n: int, d: Difference) -> list[str]:
    places = [f"{side} {number}" for side, number in zip("AB", d.numbers, strict=True) if number is not None]
    more = f", {d.times} times" if d.times > 1 else ""
    head = f"{printable(d.what)}  [{printable(d.where)}; message {', '.join(places)}{more}]"
    return [
        *_wrapped(f"{n:3}  ", head),
        *_wrapped("       A  ", _short(d.first)),
        *_wrapped("       B  ", _short(d.second)),
    ]


def _short(text: str) -> str:
    return printable(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")


def _pair(p: Pair) -> str:
    mark = "  " if p.equal else "≠ " if p.first and p.second else "! "
    return f"{mark}{_moment(p.first)} {_moment(p.second)}".rstrip()


def _moment(m: Moment | None) -> str:
    if m is None:
        return "-".ljust(36)
    again = f" ×{m.copies}" if m.copies > 1 else ""
    tail = f" {m.source}→{m.target}{again}"
    text = printable(m.text)
    room = 36 - 5 - len(tail)
    text = text if len(text) <= room else text[: room - 1] + "…"
    return f"{m.number:>4} {text}{tail}".ljust(36)


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False)
