"""A rule's pair of calls. It owns the shape; the calls themselves are in `cases.py` and `cases_*.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from calls import Packet

Call = tuple[Packet, ...]


@dataclass(frozen=True)
class Case:
    """A rule's pair of calls, and what it must say about the first."""

    fires: Call
    near_miss: Call
    severity: str
    confidence: str
    headline: tuple[str, ...]
    """Values of this very call that its headline must name."""
    numbers: tuple[int | None, ...]
    """The messages of its evidence, in order."""
    tap: Mapping[str, Any] = field(default_factory=dict)
    """How the firing call was captured."""
    near_tap: Mapping[str, Any] | None = None
    """How the near miss was captured, where that is the difference."""
