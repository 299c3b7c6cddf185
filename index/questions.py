"""What can be asked of many calls at once, and the answers. It loads no library: the command line names it at its
start, before the service gives up its rights, and a thread that a library starts keeps those that it was born with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from index.filter import Filter

PER = {
    "src": "src_ip",
    "dst": "dst_ip",
    "from": "from_user",
    "to": "to_user",
    "code": "coalesce(final_code::VARCHAR, 'none')",
    "none": "''",
}
"""What calls can be counted by, and its SQL over the columns of `index.rollup.CALLS`."""


REQUESTS_BY = {"dst": "dst_ip", "src": "src_ip"}
"""Requests that were sent again are counted by whom they go to, or who sends them (see `index.resends`)."""
REQUESTS_FEW, STORM = 20, 0.2
"""A share of fewer requests says nothing; a greater share within `WITHIN_NS` is no accident."""
WITHIN_NS = 300_000_000_000


@dataclass(frozen=True, slots=True)
class Question:
    """Calls to count."""

    among: Filter
    """Of these calls …"""
    where: Filter | None
    """… how many match this; None: all of them."""
    per: str
    """A key of `PER`."""
    since: int
    """Calls that began then or later (ns)."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What there was for one value of `per`."""

    value: str
    matching: int
    among: int
    first: int | None
    """Start of the first that matches (ns)."""
    last: int | None
    """Latest message of those that match."""
    examples: tuple[str, ...]
    """The newest that match."""
    others: tuple[str, ...]
    """The newest of all of them."""


@dataclass(frozen=True, slots=True)
class Start:
    """One call in the past."""

    value: str
    start: int
    matches: bool
    settled: int
    """When it was answered, or failed (ns)."""
    end: int


@dataclass(frozen=True, slots=True)
class Resends:
    """Requests of one host within one slot of time."""

    host: str
    slot: int
    """When the slot begins (ns)."""
    requests: int
    resent: int
    """How many of them were no first sending."""
    first: int | None
    last: int | None
    """Times of those (ns)."""
    examples: tuple[str, ...]
    """Call-IDs of the latest of them."""

    @property
    def share(self) -> float:
        """What part of the requests was sent again."""
        return self.resent / self.requests

    @property
    def storm(self) -> bool:
        """So many that it is no accident."""
        return self.requests >= REQUESTS_FEW and self.share > STORM
