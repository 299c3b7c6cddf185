"""What an alert rule would have done on recorded calls: when each alert would have opened and closed. Pure.

It takes calls as they ended, where the service looks at them as they are at the time; and it looks as often as the
service does, by the same rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alerts.rule import AlertRule
from index.questions import Resends, Start

Times = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Episode:
    """An alert that would have been."""

    rule: str
    value: str
    opened: int
    closed: int | None
    """None: it would be open still."""
    count: int
    """Matching calls at its worst, and all calls then."""
    of: int


@dataclass(frozen=True, slots=True)
class Extreme:
    """How near a rule came to its threshold."""

    most: int
    """Matching calls in one look, at most."""
    fewest: int
    of: int
    """All calls in one look, at most."""


def rehearse(
    rule: AlertRule, calls: Iterable[Start], since: int, until: int, quiet_ns: int
) -> tuple[list[Episode], Extreme]:
    """The alerts between these times (ns), in the order in which they would have opened."""
    values: dict[str, list[Start]] = {"": []} if rule.per == "none" else {}
    for call in calls:
        values.setdefault(call.value, []).append(call)
    looks = np.arange(since + rule.within, until + 1, rule.pause, dtype=np.int64)
    out: list[Episode] = []
    most, fewest, of = 0, None, 0
    for value, some in values.items():
        matching, among = _counts(rule, some, looks)
        if len(looks):
            most, of = max(most, int(matching.max())), max(of, int(among.max()))
            fewest = int(matching.min()) if fewest is None else min(fewest, int(matching.min()))
        out += _episodes(rule, value, looks, matching, among, quiet_ns)
    return sorted(out, key=lambda e: (e.opened, e.value)), Extreme(most, fewest or 0, of)


def rehearse_resends(
    rule: AlertRule, hosts: Iterable[Resends], since: int, until: int, quiet_ns: int
) -> tuple[list[Episode], Extreme]:
    """The same of a rule that counts requests, from slots as long as its `within`, side by side."""
    looks = np.arange(since + rule.within, until + rule.within, rule.within, dtype=np.int64)
    by_host: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
    for h in hosts:
        matching, among = by_host.setdefault(h.host, (np.zeros(len(looks), np.int64), np.zeros(len(looks), np.int64)))
        at = (h.slot - since + rule.within // 2) // rule.within
        if 0 <= at < len(looks):
            matching[at], among[at] = h.resent, h.requests
    out = [e for host, (m, n) in by_host.items() for e in _episodes(rule, host, looks, m, n, quiet_ns)]
    most = max((int(m.max(initial=0)) for m, _ in by_host.values()), default=0)
    of = max((int(n.max(initial=0)) for _, n in by_host.values()), default=0)
    return sorted(out, key=lambda e: (e.opened, e.value)), Extreme(most, 0, of)


def _counts(rule: AlertRule, calls: Sequence[Start], looks: Times) -> tuple[Times, Times]:
    """Matching calls and all calls at each look."""
    start = np.array([c.start for c in calls], np.int64)
    matches = np.array([c.matches for c in calls], bool)
    settled = np.array([c.settled for c in calls], np.int64)
    # What is too few is known when calls are settled; what is too many, when they are what the rule asks for.
    known = settled if rule.quiet else np.array([c.end for c in calls], np.int64)
    if rule.quiet and rule.of is None:
        known = start
    matching = _at(looks, known[matches], start[matches] + rule.within)
    if rule.of is None:
        return matching, matching
    settled = np.where(matches, known, settled)
    return matching, _at(looks, settled, start + rule.within)


def _at(looks: Times, known: Times, over: Times) -> Times:
    """How many there are at each look of what is there from `known` to `over`."""
    there = known <= over
    came = np.searchsorted(np.sort(known[there]), looks, "right")
    return came - np.searchsorted(np.sort(over[there]), looks, "left")


def _episodes(
    rule: AlertRule, value: str, looks: Times, matching: Times, among: Times, quiet_ns: int
) -> Iterator[Episode]:
    opens = rule.opens(matching, among)
    kept = np.flatnonzero(opens | rule.stays(matching, among))
    worst = np.argmin if rule.quiet else np.argmax
    next_open = np.flatnonzero(opens)
    while len(next_open):
        first = next_open[0]
        held = kept[kept >= first]
        # It closes where nothing has kept it open for so long.
        gaps = np.flatnonzero(np.diff(looks[held]) > quiet_ns)
        last = held[gaps[0]] if len(gaps) else held[-1]
        closed = int(looks[last]) + quiet_ns
        at = first + int(worst(matching[first : last + 1]))
        ends = closed if closed <= looks[-1] else None
        yield Episode(rule.name, value, int(looks[first]), ends, int(matching[at]), int(among[at]))
        next_open = next_open[next_open > last]
