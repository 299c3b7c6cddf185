"""The desk in this process: an archive (a store, or one capture file in memory) with diagnosis on top.

It owns the cache of findings. It opens no socket.
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from capture.hepframes import rebuild
from capture.tlspeers import TlsPeer
from diagnose.engine import Rule, diagnose, diagnose_all, load_rules
from diagnose.family import OPEN_NS, Families, is_open
from diagnose.finding import SEVERITIES, Finding
from index.archive import Archive
from index.filter import Filter, parse_filter
from index.findings import Verdict
from index.lake import Lake
from index.leg import LegRules
from index.leg_search import Family
from index.legs import CallLegs
from index.pcapfile import write_capture
from index.questions import Question, Resends, Start
from index.summary import CallPage, CallSummary, Stats, rfc3339, tls_record
from index.trace import CallTrace
from sip.errors import SiptrailError, TooMuch

ONE_LOOK = frozenset({"text", "since", "until"})
"""Keys that make no sense where all calls of a time are looked at once."""
CACHE = 20_000
LIST_BUDGET = 1.5
"""Seconds a list may spend on diagnosing calls that nobody asked about before."""
TEXT_SECONDS = 2.0
"""A page looks for texts in messages so long, and the next page goes on."""
FINDING_BUDGET = 25.0
"""Seconds a search for findings may spend on diagnosing."""
PAGE = 500
"""Calls looked through at a time in such a search."""
TOGETHER = 100
"""Calls that are fetched at once: looking a call up costs more than diagnosing it."""


UNSETTLED = ("calling", "ringing", "pending", "challenged", "in-call")
"""States of calls that wait for something."""
SILENCE_NS = 33_000_000_000
"""64*T1 and a second: nothing that is missing by then still comes."""
RECENT_NS = 900_000_000_000
"""What was said since then is hardly ever out of the cache."""
FOR_NOW = " for now"
"""Stands behind the rules' fingerprint where other legs were still being set up: nobody takes that over later."""
AGAIN_NS, SOON_NS = 10_000_000_000, 1_000_000_000
"""For so long a verdict holds that silence may still change: of a call that is settled, and of one that is not."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What was said of a call, when, and how many messages it had then."""

    messages: int
    at: int
    findings: tuple[Finding, ...]
    open: bool = False
    """Another leg of the same call was still being set up."""


class LocalDesk:
    """Answers `diagnose.desk.Desk` from an archive."""

    def __init__(
        self,
        archive: Archive,
        counters: Callable[[], dict[str, int]] = dict,
        rules: tuple[Rule, ...] | None = None,
        tls: Callable[[], tuple[TlsPeer, ...]] = tuple,
        leg_rules: LegRules | None = None,
        rules_are: str = "",
        refused: Callable[[], dict[str, int]] = dict,
    ) -> None:
        self.archive = archive
        self._since = archive.now()
        self._rules_are = rules_are
        """Fingerprint of the rules: what others said is not taken over."""
        self.families = Families(archive, leg_rules or LegRules())
        self.tls = tls
        self.refused = refused
        self.counters = counters
        self.rules = load_rules() if rules is None else rules
        self._cache: OrderedDict[str, _Told] = OrderedDict()
        self._lock = threading.Lock()
        self._progress: float | None = None
        self.loading_error: str | None = None

    def calls(self, filter: str = "", limit: int = 100, before: str | None = None) -> CallPage:
        where = parse_filter(filter, now_ns=self.archive.now()) if filter.strip() else None
        cursor = None
        if before:
            stamp, _, call_id = before.partition(":")
            if not stamp.isdigit():
                raise SiptrailError(f"{before!r} is not a page mark; use the `next` of the page before")
            cursor = (int(stamp), call_id)
        searched = progress = None
        if where is not None and where.texts:
            texts, searched = self.archive.look_for(where, cursor[0] if cursor else None, TEXT_SECONDS)
            if searched is not None and where.since is not None:
                top = min(where.until or self.archive.now(), self.archive.now())
                progress = min(1.0, max(0.0, (top - searched) / max(top - where.since, 1)))
            where = where.having(texts, searched)
        found = self._matching(where, limit + 1, cursor)
        more = len(found) > limit
        page = self.with_findings(found[:limit])
        following = f"{page[-1].start}:{page[-1].call_id}" if more else None
        if following is None and searched is not None:
            following = f"{searched - 1}:"
        return CallPage(tuple(page), following, searched=searched, progress=progress)

    def _matching(self, where: Filter | None, limit: int, cursor: tuple[int, str] | None) -> list[CallSummary]:
        """The newest calls that match. Where findings are asked for, whoever may match is diagnosed first."""
        if where is None or where.possible is None:
            return self.archive.calls(where, limit, cursor)
        until, at = time.monotonic() + FINDING_BUDGET, cursor
        while True:
            some = self.archive.calls(where.possible, PAGE, at)
            fresh = self._unknown(some)
            for first in range(0, len(fresh), TOGETHER):
                if time.monotonic() > until:
                    raise TooMuch(
                        f"too many calls would have to be diagnosed for this (back to {rfc3339(some[0].start)} it was "
                        "done); narrow it, for example with since:1h or state:failed"
                    )
                self._diagnose_all(fresh[first : first + TOGETHER])
            found = self.archive.calls(where, limit, cursor)
            # All calls down to the last one of this page are judged now: what lies above it is the true beginning.
            if len(some) < PAGE or (len(found) >= limit and found[limit - 1].start >= some[-1].start):
                return found
            at = (some[-1].start, some[-1].call_id)

    def with_findings(self, calls: list[CallSummary], budget: float = LIST_BUDGET) -> list[CallSummary]:
        """The same calls with their findings filled in, as far as the time budget allows."""
        until = time.monotonic() + budget
        missing = self._unknown(calls)
        for at in range(0, len(missing), TOGETHER):
            if time.monotonic() > until:
                break
            self._diagnose_all(missing[at : at + TOGETHER])
        return [self._filled(c) for c in calls]

    def diagnosed(self, calls: list[CallSummary]) -> dict[str, tuple[Finding, ...]]:
        """The findings of these calls, worked out together."""
        if calls:
            self._diagnose_all(calls)
        with self._lock:
            return {c.call_id: self._cache[c.call_id].findings for c in calls if c.call_id in self._cache}

    def _diagnose_all(self, calls: list[CallSummary]) -> None:
        when = min(c.start for c in calls), max(c.end for c in calls)
        traces = self.families.beside(self.archive.traces([c.call_id for c in calls], between=when))
        known = [(c, traces[c.call_id]) for c in calls if c.call_id in traces]
        told = diagnose_all([trace for _, trace in known], self.rules)
        now, verdicts = self.archive.now(), []
        for (c, trace), findings in zip(known, told, strict=True):
            opened = is_open(c, trace.legs) and now - c.end < OPEN_NS
            self._store(c.call_id, _Told(c.messages, now, findings, opened))
            said = tuple((f.name, f.severity, json.dumps(f.to_json(), ensure_ascii=False)) for f in findings)
            rules = self._rules_are + FOR_NOW if opened else self._rules_are
            verdicts.append(Verdict(c.call_id, c.start, c.messages, now, rules, said))
        self.archive.verdicts.remember(verdicts)

    def _recall(self, calls: list[CallSummary]) -> None:
        """Take over what was said of these calls before by the same rules."""
        if self.archive.lake is None:
            return  # all there is was said by this desk
        # What was said a moment ago was said by this desk, and stands in its cache.
        asked = [c for c in calls if c.end < max(self._since, self.archive.now() - RECENT_NS)]
        have = {c.call_id: c.messages for c in asked}
        for v in self.archive.known_verdicts(asked):
            if v.rules == self._rules_are and v.messages == have[v.call_id]:
                findings = tuple(Finding.from_json(json.loads(record)) for _, _, record in v.findings)
                self._store(v.call_id, _Told(v.messages, v.at, findings))

    def _unknown(self, calls: list[CallSummary]) -> list[CallSummary]:
        """Those that nobody has judged as they are now."""
        missing = [c for c in calls if self._cached(c) is None]
        self._recall(missing)
        return [c for c in missing if self._cached(c) is None]

    def _store(self, call_id: str, told: _Told) -> None:
        with self._lock:
            self._cache[call_id] = told
            self._cache.move_to_end(call_id)
            while len(self._cache) > CACHE:
                self._cache.popitem(last=False)

    def _cached(self, call: CallSummary) -> _Told | None:
        with self._lock:
            hit = self._cache.get(call.call_id)
        if hit is None or hit.messages != call.messages:
            return None
        # Silence, too, earns findings: as long as something may be missing, what was said before holds for a moment.
        settled = call.state not in UNSETTLED and not hit.open
        if settled and hit.at - call.end > SILENCE_NS:
            return hit
        return hit if self.archive.now() - hit.at < (AGAIN_NS if settled else SOON_NS) else None

    def _filled(self, call: CallSummary) -> CallSummary:
        with self._lock:
            hit = self._cache.get(call.call_id)
        if hit is None:
            return call
        findings = hit.findings
        worst = min((SEVERITIES.index(f.severity) for f in findings), default=None)
        telling = [f for f in findings if f.severity != "info"] or list(findings)
        return replace(
            call,
            findings=tuple(f.name for f in findings),
            headline=telling[0].headline if telling else "",
            severity="" if worst is None else SEVERITIES[worst],
        )

    def call(self, call_id: str) -> CallSummary:
        summary = self.archive.call(call_id)
        self._diagnose_all([summary])
        return self._filled(summary)

    def trace(self, call_id: str) -> CallTrace:
        return self.archive.trace(call_id)

    def unsettled(self, call_ids: Iterable[str]) -> set[str]:
        """Those of which something else may be said when other legs of the same call have come to an end."""
        with self._lock:
            return {c for c in call_ids if c in self._cache and self._cache[c].open}

    def findings(self, call_id: str, legs: bool = True) -> tuple[Finding, ...]:
        trace = self.archive.trace(call_id)
        return diagnose(self.families.beside({call_id: trace})[call_id] if legs else trace, self.rules)

    def judged(self) -> Iterator[tuple[str, tuple[Finding, ...]]]:
        """Every call's findings, the oldest call first; many calls at a time, which costs far less than one by one."""
        calls, before = list[CallSummary](), None
        while page := self.archive.calls(None, PAGE, before):
            calls += page
            before = page[-1].start, page[-1].call_id
        calls.reverse()
        for at in range(0, len(calls), TOGETHER):
            found = self.diagnosed(calls[at : at + TOGETHER])
            yield from ((c.call_id, found.get(c.call_id, ())) for c in calls[at : at + TOGETHER])

    def legs(self, call_id: str) -> CallLegs:
        families = self.families.of([call_id])
        since = 0
        if call_id not in families:
            self.archive.call(call_id)  # raises where nobody knows it
            families = {call_id: Family((), ())}
        else:
            since = families[call_id].legs[0].start
        found = self.families.legs(families, since)[call_id]
        calls = found.calls or (self.archive.call(call_id),)
        return replace(found, calls=tuple(self.with_findings(list(calls))))

    def pcap(self, call_id: str, legs: bool = False) -> bytes:
        self.archive.call(call_id)
        frames = self.archive.frames(self.legs(call_id).sure if legs else [call_id])
        rebuilt = rebuild(frames)
        return write_capture(rebuilt.frames, rebuilt.comment)

    def stats(self) -> Stats:
        counted = self.counters()
        m = self.archive.message_stats()
        return Stats(
            packets=counted.get("packets", 0),
            messages=m["messages"],
            call_ids=m["call_ids"],
            methods=m["methods"],
            finals=m["finals"],
            transports=m["transports"],
            not_sip=counted.get("not_sip", 0),
            kernel_drops=counted.get("kernel_drops", 0),
            queue_drops=counted.get("queue_drops", 0),
            unreadable=counted.get("unreadable", 0),
            fragments_lost=counted.get("fragments_lost", 0),
            stream_gaps=counted.get("stream_gaps", 0),
            keepalives=counted.get("keepalives", 0),
            encrypted=counted.get("encrypted", 0),
            decrypted=counted.get("decrypted", 0),
            tls=[tls_record(peer) for peer in self.tls()],
            refused=self.refused(),
            tunnels_too_deep=counted.get("tunnels_too_deep", 0),
            evicted=counted.get("evicted", 0),
            flags=m["flags"],
            removed={
                k.removeprefix("removed_").replace("_", " "): n for k, n in counted.items() if k.startswith("removed_")
            },
            rules={r.name: r.trouble for r in self.rules if r.trouble},
            first=rfc3339(m["first"]) if m["first"] is not None else None,
            last=rfc3339(m["last"]) if m["last"] is not None else None,
        )

    def starts(self, filter: str, of: str | None, per: str, since: int, until: int) -> list[Start]:
        where = parse_filter(filter, self.archive.now(), ONE_LOOK)
        among = None if of is None else parse_filter(of, self.archive.now(), ONE_LOOK)
        question = Question(where, None, per, since) if among is None else Question(among, where, per, since)
        return self.archive.starts(question, until)

    def resends(self, since: int, until: int, step: int, per: str) -> list[Resends]:
        return self.archive.resends(since, until, step, per)[0]

    def progress(self) -> float | None:
        return self._progress

    def close(self) -> None:
        self.archive.close()


def open_store(
    lake: Lake, rules: tuple[Rule, ...] | None = None, leg_rules: LegRules | None = None, rules_are: str = ""
) -> LocalDesk:
    """A desk on a store that no service has open."""
    return LocalDesk(Archive(lake, time.time_ns), lake.counts, rules, leg_rules=leg_rules, rules_are=rules_are)
