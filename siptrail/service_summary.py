"""An import's result as JSON: the same words from the command line and from the service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diagnose.local import flat
from index.importing import ImportResult
from index.summary import tls_record


def summary(result: ImportResult) -> dict[str, Any]:
    """File name, messages, damage, first and last time (ns), the decoder's counters, and the TLS table."""
    return {
        "file": Path(result.file).name,
        "messages": result.messages,
        "damage": result.damage,
        "first": result.first,
        "last": result.last,
        **flat(result.counters),
        "tls": [tls_record(peer) for peer in result.tls],
    }
