"""An import's result as JSON: the same words from the command line and from the service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diagnose.local import flat
from index.importing import ImportResult


def summary(result: ImportResult) -> dict[str, Any]:
    """File name, messages, damage, first and last time (ns), and the decoder's counters."""
    return {
        "file": Path(result.file).name,
        "messages": result.messages,
        "damage": result.damage,
        "first": result.first,
        "last": result.last,
        **flat(result.counters),
    }
