"""An import's result as JSON: the same words from the command line and from the service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from index.captures import Known
from index.importing import ImportResult, flat
from index.summary import rfc3339, tls_record


def summary(result: ImportResult | Known, path: str) -> dict[str, Any]:
    """File name, messages, damage, first and last time (ns), the decoder's counters, the TLS table;
    `already`: when the same content was imported before, where it was and nothing was done."""
    if isinstance(result, Known):
        empty = ImportResult(path)
        earlier = {"name": result.name, "at": rfc3339(result.stamp), "messages": result.messages}
        return summary(empty, path) | {"already": earlier}
    return {
        "file": Path(result.file).name,
        "messages": result.messages,
        "damage": result.damage,
        "first": result.first,
        "last": result.last,
        "already": None,
        **flat(result.counters),
        "tls": [tls_record(peer) for peer in result.tls],
    }
