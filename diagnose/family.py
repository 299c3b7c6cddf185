"""What lies beyond a switch, looked for before rules judge: the other legs of calls that failed or were slow.

It owns for which calls that is worth a look, and what it learnt about machines with several addresses. It judges
nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from diagnose.refusals import told_by_capacity
from index.archive import Archive
from index.leg import LegRules
from index.leg_search import FEW, Family, families_of
from index.legs import CallLegs, one_machine
from index.load import Load, loads
from index.summary import CallSummary
from index.trace import CallTrace, TraceMessage

SLOW_NS = 5_000_000_000
"""Without a sign of progress for so long, a caller doubts that anything happens."""
AROUND_NS = 600_000_000_000
OPEN_NS = 240_000_000_000
"""Nobody waits longer for what becomes of another leg; proxies give up after three minutes (RFC 3261 section 16.6)."""
OWN = (401, 407, 486, 487, 600, 603)
"""Challenges, and what parties decide: no other leg explains them."""
UNDER_WAY = ("calling", "ringing", "challenged")
MOST_MACHINES = 200
COUNT_SECONDS = 5.0
"""For batches, calls are not counted more often: it goes through all calls of an hour."""


def is_open(call: CallSummary, legs: CallLegs | None) -> bool:
    """Another leg is still being set up, so that what is said of this one may change."""
    return legs is not None and any(
        c.call_id in legs.sure and c.call_id != call.call_id and c.state in UNDER_WAY for c in legs.calls
    )


def worth_a_look(messages: Sequence[TraceMessage]) -> bool:
    """The INVITE failed for no reason of the parties, or nothing was heard of it for long."""
    began: int | None = None
    signed = False
    for m in messages:
        sip = m.sip
        if sip.method != "INVITE" or (sip.is_request and sip.to and sip.to.tag):
            continue
        if sip.is_request:
            began = m.ts if began is None else began
        elif 200 <= sip.code < 300:
            return began is not None and not signed and m.ts - began > SLOW_NS
        elif 100 < sip.code < 200 and not signed:
            signed = True
            if began is not None and m.ts - began > SLOW_NS:
                return True
    if began is None:
        return False
    finals = [m for m in messages if not m.sip.is_request and m.sip.method == "INVITE" and m.sip.code >= 300]
    if not finals or (not signed and finals[-1].ts - began > SLOW_NS):
        return not signed
    return finals[-1].sip.code not in OWN


class Families:
    """Looks for the legs of calls in an archive."""

    def __init__(self, archive: Archive, rules: LegRules) -> None:
        self._archive, self._own = archive, rules
        self._machines: tuple[frozenset[str], ...] = ()
        self._counted = -COUNT_SECONDS

    @property
    def rules(self) -> LegRules:
        """The settings, with the machines that turned out to have several addresses."""
        return replace(self._own, hosts=(*self._own.hosts, *self._machines))

    def of(self, call_ids: Sequence[str], between: tuple[int, int] | None = None) -> dict[str, Family]:
        """Their legs; no entry for what has no INVITE. `between`: all of them began then (ns)."""
        rules = self.rules
        found = families_of(self._archive, call_ids, rules, between)
        legs = {leg.call_id: leg for f in found.values() for leg in f.legs}
        links = {(x.parent, x.child): x for f in found.values() for x in f.links}
        self._learn(one_machine(legs, links.values(), rules)[len(rules.hosts) :])
        return found

    def _learn(self, groups: Sequence[frozenset[str]]) -> None:
        known = list(self._machines)
        for group in groups:
            same = [g for g in known if g & group]
            known = [g for g in known if not g & group] + [group.union(*same)]
        self._machines = tuple(known[-MOST_MACHINES:])

    def legs(self, families: Mapping[str, Family], since: int) -> dict[str, CallLegs]:
        """The same as lists have them; `since` (ns): all of them were alive after that."""
        names = sorted({leg.call_id for f in families.values() for leg in f.legs})
        calls = {c.call_id: c for c in self._archive.calls_of(names, since)}
        out = {}
        for call_id, f in families.items():
            own = [calls[leg.call_id] for leg in f.legs if leg.call_id in calls]
            out[call_id] = CallLegs(call_id, tuple(sorted(own, key=_order)), f.links, f.capped)
        return out

    def beside(self, traces: Mapping[str, CallTrace]) -> dict[str, CallTrace]:
        """The same traces, with what lies beyond a switch where that is worth a look."""
        asked = [c for c, t in traces.items() if worth_a_look(t.messages)]
        if not asked:
            return dict(traces)
        low, high = min(traces[c].messages[0].ts for c in asked), max(traces[c].messages[-1].ts for c in asked)
        legs = self.legs(self.of(asked, (low, high)), low - AROUND_NS)
        sent = self._archive.ask(
            "SELECT src_ip, min(call_id), max(call_id), min(first_ts), max(first_ts) FROM ({source}) "
            "WHERE method = 'INVITE' AND first_ts BETWEEN $low AND $high GROUP BY src_ip, first_ts // 60000000000",
            {"low": low - AROUND_NS, "high": high + AROUND_NS},
            between=(low - AROUND_NS, high + AROUND_NS),
        )
        out = dict(traces)
        for call_id, load in self._loads({c: traces[c] for c in asked}).items():
            out[call_id] = replace(out[call_id], load=load)
        for call_id in legs:
            trace = out[call_id]
            first, last = trace.messages[0].ts - AROUND_NS, trace.messages[-1].ts + AROUND_NS
            makers = frozenset(
                ip
                for ip, least, most, since, until in sent
                if until >= first and since <= last and not least == most == call_id
            )
            out[call_id] = replace(trace, legs=legs[call_id], makers=makers)
        return out

    def _loads(self, traces: Mapping[str, CallTrace]) -> dict[str, Load]:
        """What was going on when a limit refused these calls. In a flood of them it is not counted for every batch."""
        asked = {}
        for call_id, trace in traces.items():
            said = next((m for m in trace.messages if m.sip.code >= 300 and told_by_capacity(m.sip)), None)
            if said is not None:
                asked[call_id] = (said.dst.ip, said.src.ip, said.ts)
        now = time.monotonic()
        if not asked or (len(traces) > FEW and now - self._counted < COUNT_SECONDS):
            return {}
        self._counted = now
        return loads(self._archive, asked)


def _order(call: CallSummary) -> tuple[int, str]:
    return call.start, call.call_id
