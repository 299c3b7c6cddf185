"""The hand-over type of diagnosis: what is wrong, how sure we are, why we say so, what to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

SEVERITIES = ("critical", "error", "warning", "info")
"""Worst first. critical: the call failed or has no audio; error: it will fail or be cut; warning: risk; info: context."""
CONFIDENCES = ("certain", "likely", "possible")


@dataclass(frozen=True, slots=True)
class Evidence:
    """One fact that a finding rests on."""

    message: int | None
    """1-based number of the message in the call's trace; None when the fact is about the call as a whole."""
    text: str
    """The fact in words, with the two compared values where there are two."""
    line: str = ""
    """The offending line of the message, as it was on the wire."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One diagnosis of one call."""

    name: str
    """Public name: the rule's module name with dashes."""
    severity: str
    confidence: str
    headline: str
    """One sentence with the call's own values in it."""
    evidence: tuple[Evidence, ...]
    advice: str
    """What to do."""
    reference: str
    """RFC and section."""
    precedence: int = 50
    """Lower is told first: CAP 0, unreachable 10, capacity 20, auth 30, routing 40, codec 50, NAT 60, ACK/BYE/timers 70, info 90."""

    def to_json(self) -> dict[str, Any]:
        """JSON object of the public contract."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Finding:
        """The reverse of `to_json`."""
        return cls(**{**record, "evidence": tuple(Evidence(**e) for e in record["evidence"])})
