"""Small builders that every rule uses to word its findings."""

from __future__ import annotations

from diagnose.call import Step
from diagnose.finding import Evidence


def fact(step: Step | None, text: str, line: str = "") -> Evidence:
    """A fact about one message (None: about the call)."""
    return Evidence(step.number if step else None, text, line)


def listed(items: list[str]) -> str:
    """'a, b and c'."""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1] if items else "nothing"


def seconds(ns: int) -> str:
    """'1.5 s', and '8 ms' of what is next to nothing."""
    return f"{ns / 1e9:.1f} s" if not 0 < abs(ns) < 50_000_000 else f"{ns / 1e6:.0f} ms"
