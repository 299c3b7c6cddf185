"""A ladder as JSON, for other tools. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from index.ladder import Ladder
from index.summary import rfc3339


def render_json(ladder: Ladder) -> dict[str, Any]:
    """Columns and rows; each row's `ts` is RFC 3339."""
    record = asdict(ladder)
    record["columns"] = list(record["columns"])
    record["rows"] = [{**row, "ts": rfc3339(row["ts"])} for row in record["rows"]]
    return record
