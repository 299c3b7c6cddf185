"""The hand-over type of diagnosis: what is wrong, how sure we are, why we say so, what to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

SEVERITIES = ("critical", "error", "warning", "info")
"""Worst first: the call failed or has no audio; it will fail or be cut; a risk; context."""
CONFIDENCES = ("certain", "likely", "possible")


def public_name(module: str) -> str:
    """A rule's public name: its module's name with dashes. The file's name is the one place where it is written."""
    return module.rpartition(".")[2].replace("_", "-")


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
    """Lower is told first: the capture itself 0, unreachable 10, capacity 20, authentication 30, routing 40, codecs 50,
    NAT 60, ACK, BYE and timers 70, media 80, context 90."""

    def to_json(self) -> dict[str, Any]:
        """JSON object of the public contract."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Finding:
        """The reverse of `to_json`; unknown keys of a newer service are ignored."""
        values = _known(cls, record)
        values["evidence"] = tuple(Evidence(**_known(Evidence, e)) for e in record["evidence"])
        return cls(**values)


def _known(kind: type, record: dict[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(kind)}
    return {k: v for k, v in record.items() if k in names}
