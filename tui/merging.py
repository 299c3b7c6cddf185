"""Several calls in one trace, for a ladder that shows both legs of a call that the user selected."""

from __future__ import annotations

from diagnose.desk import Desk
from diagnose.finding import Finding
from index.trace import CallTrace
from index.traces import merged


def traces_of(desk: Desk, call_ids: tuple[str, ...]) -> CallTrace:
    """Ask for each call; messages are in the order of the wire."""
    return merged([desk.trace(call_id) for call_id in call_ids])


def findings_of(desk: Desk, call_ids: tuple[str, ...]) -> tuple[Finding, ...]:
    """The findings of all these calls, call by call."""
    return tuple(finding for call_id in call_ids for finding in desk.findings(call_id))
