"""Several calls in one trace, for a ladder that shows both legs of a call that the user selected."""

from __future__ import annotations

from diagnose.desk import Desk
from diagnose.finding import Finding
from index.trace import CallTrace


def traces_of(desk: Desk, call_ids: tuple[str, ...]) -> CallTrace:
    """Ask for each call; messages are in the order of the wire."""
    return merged([desk.trace(call_id) for call_id in call_ids])


def findings_of(desk: Desk, call_ids: tuple[str, ...]) -> tuple[Finding, ...]:
    """The findings of all these calls, call by call."""
    return tuple(finding for call_id in call_ids for finding in desk.findings(call_id))


def merged(traces: list[CallTrace]) -> CallTrace:
    """One trace with all messages; a single one is left as it is."""
    if len(traces) == 1:
        return traces[0]
    return CallTrace(
        call_id=" + ".join(trace.call_id for trace in traces),
        messages=tuple(sorted((m for trace in traces for m in trace.messages), key=lambda m: (m.ts, m.seq))),
        capture_start=min(trace.capture_start for trace in traces),
        capture_end=max(trace.capture_end for trace in traces),
        heard=frozenset().union(*(trace.heard for trace in traces)),
        losses=tuple(dict.fromkeys(loss for trace in traces for loss in trace.losses)),
    )
