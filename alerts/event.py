"""The hand-over types of alerts: a failed INVITE, or what a rule counted, on its way in; a notice on its way out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from alerts.links import call_url
from index.summary import rfc3339


@dataclass(frozen=True, slots=True)
class FailureEvent:
    """One INVITE that failed for good."""

    ts: int
    """Nanoseconds since the epoch: when the call's last message was on the wire."""
    peer: str
    """IP address that the INVITE was sent to."""
    code: int | None
    """Final response; None when there was none."""
    reason: str
    call_id: str
    headline: str
    """One sentence."""
    finding: str
    """Public name of the finding that explains it; empty when there is none."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a rule of the user's own counted for one value, where that opens an alert or keeps one open."""

    rule: str
    peer: str
    code: int | None
    opens: bool
    """False: it only keeps open what is open."""
    count: int
    of: int | None
    headline: str
    first: int
    last: int
    call_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Notice:
    """What a sink is told. It holds no header of any message, so no credentials can be in it."""

    action: str
    """open, update or close."""
    rule: str
    peer: str
    """IP address; of a rule of the user's own the value that it counts by."""
    code: int | None
    finding: str
    headline: str
    count: int
    first: int
    """Time of the first failure (ns)."""
    last: int
    call_ids: tuple[str, ...]
    """Three of them."""
    base_url: str = ""
    of: int | None = None
    """How many calls a rule of the user's own counted in all; None where it compares with nothing."""

    @property
    def id(self) -> str:
        """The same in the open, update and close notices of one alert."""
        return f"{self.rule}/{self.peer}/{self.code or self.finding or 'none'}/{self.first}"

    def to_json(self) -> dict[str, Any]:
        """JSON object of the public contract."""
        return {
            "id": self.id,
            "action": self.action,
            "rule": self.rule,
            "peer": self.peer,
            "code": self.code,
            "finding": self.finding,
            "headline": self.headline,
            "count": self.count,
            "of": self.of,
            "first": rfc3339(self.first),
            "last": rfc3339(self.last),
            "examples": [
                {
                    "call_id": call_id,
                    "ladder": call_url(self.base_url, call_id, "ladder.svg"),
                    "pcap": call_url(self.base_url, call_id, "pcap"),
                }
                for call_id in self.call_ids
            ],
        }
