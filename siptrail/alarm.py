"""Judges calls that failed and feeds the alert book: one failure a call, however many legs it had.

It owns when a call is judged, how much of that is done in a round, and how long it waits for other legs. Time comes in
from its caller; capture waits for nothing of this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from prometheus_client import CollectorRegistry, Gauge

from alerts.book import AlertBook
from alerts.classify import FAILURES, failure_of
from alerts.event import Notice
from alerts.session import FAILED, UNDER_WAY, Session, session_of
from diagnose.finding import Finding
from diagnose.local import LocalDesk
from index.legs import CallLegs
from index.summary import CallSummary
from siptrail.watch import CHALLENGE_NS, FailureWatch

LOOK_BACK_NS = 6 * 3_600_000_000_000
"""A call that failed now began at most so long ago."""
LIKELY_NS = 300_000_000_000
"""Nearly all of them did so within this time."""
DIAGNOSED = 10
"""Failed calls that are diagnosed in one round."""
LINKED = 200
"""Failed calls whose other legs are looked for in one round."""
LATE_NS = 30_000_000_000
"""A call that has waited so long for its turn is judged by itself."""
OTHERS_NS = 200_000_000_000
"""So long after its failure it waits for other legs of the same call; no call is set up for longer (Timer C)."""
SOON_NS = 2_000_000_000
FRESH_NS = 30_000_000_000
"""For so long a cause is taken to hold for all failures of the same source, peer, code and reason."""
MOST_CAUSES = 1000
NO_CAUSE: tuple[int, tuple[Finding, ...]] = (0, ())
Kind = tuple[str, str, int | None, str | None]


class Alarm:
    """`round` is called again and again by one thread."""

    def __init__(
        self, desk: LocalDesk, watch: FailureWatch, book: AlertBook, expect: Callable[[str, int], None]
    ) -> None:
        self._desk, self._watch, self._book, self._expect = desk, watch, book, expect
        self._causes: dict[Kind, tuple[int, tuple[Finding, ...]]] = {}
        """What failures of a kind come from, and when that was found out (ns)."""
        self.alone = 0
        """Failures that were judged without a look for other legs, because too many waited."""

    def metrics(self, registry: CollectorRegistry) -> None:
        """Counters for Prometheus."""
        what = "Failed calls that were judged without a look for their other legs, because too many waited"
        Gauge("siptrail_alerts_unlinked", what, registry=registry).set_function(lambda: self.alone)

    def round(self, now: int) -> list[Notice]:
        """Judge what is due; the notices to send."""
        archive = self._desk.archive
        calls = archive.calls_of(self._watch.due(now), now - LOOK_BACK_NS, now - LIKELY_NS)
        for call in calls:
            if call.state == "challenged":
                self._watch.look_again(call.call_id, call.end + CHALLENGE_NS)
        failed = sorted((c for c in calls if c.state in FAILURES and c.method == "INVITE"), key=lambda c: c.end)
        sessions = self._sessions(failed, now)
        self._diagnose([s.speaker for s in sessions], now)
        notices = []
        for session in sessions:
            for member in session.members:
                self._watch.done(member.call_id)
            event = failure_of(session.speaker, self._causes.get(_kind(session.speaker), NO_CAUSE)[1])
            if event is None:
                continue
            self._expect(session.speaker.call_id, now)
            notices += self._book.feed(replace(event, headline=_all_ways(event.headline, session.in_vain)), now)
        return notices

    def _sessions(self, failed: Sequence[CallSummary], now: int) -> list[Session]:
        """The calls, each once, that failed for good with all their legs."""
        some, rest = failed[:LINKED], failed[LINKED:]
        legs = self._legs(some, now)
        out, seen = [], set[str]()
        for call in rest:
            if now - call.end < LATE_NS:
                self._watch.look_again(call.call_id, now)
            else:
                self.alone += 1
                some = [*some, call]
        for call in some:
            if call.call_id in seen:
                continue
            session = session_of(call, legs.get(call.call_id))
            if session.outcome == UNDER_WAY and now - call.end < OTHERS_NS:
                # Each time half as long again as it has waited, so that much waiting makes little work.
                self._watch.look_again(call.call_id, now + max(SOON_NS, (now - call.end) // 2))
                seen.add(call.call_id)
                continue
            seen |= {c.call_id for c in session.members}
            if session.outcome in (FAILED, UNDER_WAY):
                out.append(session)
            else:
                for member in session.members:
                    if member.state in FAILURES:
                        self._watch.done(member.call_id)
        return out

    def _legs(self, failed: Sequence[CallSummary], now: int) -> dict[str, CallLegs]:
        if not failed:
            return {}
        families = self._desk.families
        low, high = min(c.start for c in failed), max(c.end for c in failed)
        found = families.of([c.call_id for c in failed], (low, high))
        return families.legs(found, max(low - OTHERS_NS, now - LOOK_BACK_NS))

    def _diagnose(self, calls: Sequence[CallSummary], now: int) -> None:
        """In a flood of failures one tells the cause for all that look the same."""
        kinds = {_kind(c): c for c in calls}
        unknown = {k: c for k, c in kinds.items() if self._causes.get(k, NO_CAUSE)[0] < now - FRESH_NS}
        some = dict(list(unknown.items())[:DIAGNOSED])
        found = self._desk.diagnosed(list(some.values()))
        for kind, call in some.items():
            self._causes.pop(kind, None)
            self._causes[kind] = now, found.get(call.call_id, ())
        while len(self._causes) > MOST_CAUSES:
            self._causes.pop(next(iter(self._causes)))


def _kind(call: CallSummary) -> Kind:
    # By source, too: what a scanner's calls come from says nothing about those of customers.
    return call.src.rpartition(":")[0], call.dst, call.final_code, call.final_reason


def _all_ways(headline: str, in_vain: Sequence[CallSummary]) -> str:
    """The headline, with every way that was tried in vain."""
    if len(in_vain) < 2:
        return headline
    ways = ", ".join(f"{c.dst.rpartition(':')[0].strip('[]')} ({c.final_code or 'no answer'})" for c in in_vain)
    return f"{headline.rstrip('.')}; {len(in_vain)} ways were tried: {ways}"
