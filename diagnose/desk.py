"""The one set of questions that every face asks: the command line, the terminal UI and the HTTP API.

`Desk` is answered in-process by `diagnose.local.LocalDesk` (a store or a capture file) and over HTTP by
`api.client.HttpDesk`; a face never knows which one it talks to. All methods may block: faces call
them from worker threads. Errors are `sip.errors.SiptrailError` (NotFound, Unreachable, or wrong use).
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from diagnose.finding import Finding
from index.legs import CallLegs
from index.questions import Resends, Start
from index.summary import CallPage, CallSummary, Stats
from index.trace import CallTrace
from index.traces import merged


class Desk(Protocol):
    """Questions about recorded calls."""

    def calls(self, filter: str = "", limit: int = 100, before: str | None = None) -> CallPage:
        """Newest calls first that match the filter language (empty: all)."""
        ...

    def call(self, call_id: str) -> CallSummary:
        """One call; NotFound when no message carries this Call-ID."""
        ...

    def trace(self, call_id: str) -> CallTrace:
        """All its messages, parsed."""
        ...

    def findings(self, call_id: str, legs: bool = True) -> tuple[Finding, ...]:
        """What is wrong with it, headline first; with `legs`, where it failed, also what its other legs tell."""
        ...

    def legs(self, call_id: str) -> CallLegs:
        """The other Call-IDs of the same call, through switches that give each leg one of its own, and why."""
        ...

    def pcap(self, call_id: str, legs: bool = False) -> bytes:
        """Its original frames as a capture file (pcap with nanoseconds; pcapng when link types differ); with `legs`
        those of all legs that are its own beyond doubt."""
        ...

    def stats(self) -> Stats:
        """Counters of what was seen and what was lost."""
        ...

    def progress(self) -> float | None:
        """Share (0..1) of a file that has been read so far; None when nothing is being loaded."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


@runtime_checkable
class CountingDesk(Protocol):
    """A desk that also tells of every single call what alert rules count."""

    def starts(self, filter: str, of: str | None, per: str, since: int, until: int) -> list[Start]:
        """Calls that began between these times (ns) and match `of`, or `filter` where there is none, oldest first."""
        ...

    def stats(self) -> Stats:
        """As every desk."""
        ...


@runtime_checkable
class ResendDesk(Protocol):
    """A desk that also tells which hosts are sent the same requests again and again."""

    def resends(self, since: int, until: int, step: int, per: str) -> list[Resends]:
        """By host and slot of `step` ns, between these times (ns); `per`: a key of `index.questions.REQUESTS_BY`."""
        ...


def headline_of(desk: Desk, call_id: str) -> str:
    """The one sentence to read first, and how bad it is; '' when nothing is wrong."""
    found = desk.findings(call_id)
    return f"{found[0].severity.upper()}  {found[0].headline}" if found else ""


def trace_of(desk: Desk, call_id: str, legs: bool = False) -> CallTrace:
    """A call's messages; with `legs` those of all legs that are its own beyond doubt, as one trace."""
    if not legs:
        return desk.trace(call_id)
    return merged([desk.trace(one) for one in desk.legs(call_id).sure])
