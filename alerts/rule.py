"""An alert rule of the user's own: which calls it counts, and when so many of them open an alert. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index.filter import Filter
from index.questions import Question, Tally

S = 1_000_000_000
SHORTEST_PAUSE, LONGEST_PAUSE = 5 * S, 300 * S
WHY = "path loss or an overloaded element"
NOBODY = "all"
"""Stands for the peer where a rule does not count by one."""
Counts = NDArray[np.int64]
Truths = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class AlertRule:
    """Compiled settings. Either `at_least` is given, or `at_most`, `share_below` or `resent`."""

    name: str
    where: Filter
    of: Filter | None
    """Only calls that match this count, and shares are of them."""
    within: int
    """Calls that began in so many ns before now count."""
    per: str
    """One alert for each value of this: a key of `index.questions.PER`."""
    at_least: int | None = None
    share: float | None = None
    at_most: int | None = None
    share_below: float | None = None
    of_at_least: int = 0
    """Nothing is said while there are fewer calls than these in all."""
    clear_below: int | None = None
    headline: str = ""
    resent: float | None = None
    """It counts no calls but requests: a greater share than this of those to one host (or from one) was sent again."""

    @property
    def pause(self) -> int:
        """How often it is worth looking (ns)."""
        if self.resent is not None:  # it reads messages, which are many
            return min(max(self.within // 10, SHORTEST_PAUSE), LONGEST_PAUSE)
        return min(max(self.within // 60, SHORTEST_PAUSE), LONGEST_PAUSE)

    @property
    def quiet(self) -> bool:
        """It speaks when there are too few calls."""
        return self.at_least is None and self.resent is None

    def question(self, since: int) -> Question:
        """What must be counted for it."""
        return Question(
            self.where if self.of is None else self.of, None if self.of is None else self.where, self.per, since
        )

    def opens(self, matching: Counts, among: Counts) -> Truths:
        """Whether such counts open an alert."""
        enough = among >= self.of_at_least
        if self.resent is not None:
            return enough & (matching > self.resent * among)
        if self.at_least is not None:
            return enough & (matching >= self.at_least) & (matching >= (self.share or 0) * among)
        if self.at_most is not None:
            return enough & (matching <= self.at_most)
        assert self.share_below is not None
        return enough & (matching < self.share_below * among)

    def stays(self, matching: Counts, among: Counts) -> Truths:
        """Whether such counts keep an alert open."""
        if self.clear_below is not None:
            return matching >= self.clear_below
        return self.opens(matching, among)

    def peer(self, value: str) -> str:
        """The peer in notices."""
        return NOBODY if self.per in ("none", "code") else value

    def code(self, value: str) -> int | None:
        """The code in notices."""
        return int(value) if self.per == "code" and value.isdigit() else None

    def says(self, tally: Tally) -> str:
        """The headline: the user's words, and the counters."""
        if self.resent is not None:
            way = "to" if self.per == "dst" else "of"
            counted = f"{tally.matching / tally.among:.0%} of {tally.among:,} requests {way} {tally.value}"
            return f"{self.headline or self.name}: {counted} in {span(self.within)} were sent again; {WHY}"
        about = "" if self.per == "none" else f" for {self.per} {tally.value}"
        counted = f"{tally.matching} {'call' if tally.matching == 1 else 'calls'} in {span(self.within)}{about}"
        if self.of is not None:
            share = f" ({tally.matching / tally.among:.0%})" if tally.among else ""
            counted = f"{tally.matching} of {tally.among} calls{share} in {span(self.within)}{about}"
        return f"{self.headline or self.name}: {counted}"


def complete(rule: AlertRule, tallies: Sequence[Tally]) -> Sequence[Tally]:
    """A rule that does not count by anything has an answer, too, where there are no calls at all."""
    return tallies or ([Tally("", 0, 0, None, None, (), ())] if rule.per == "none" else [])


def counts(tallies: Sequence[Tally]) -> tuple[Counts, Counts]:
    """Matching calls and all calls, as `opens` and `stays` want them."""
    return np.array([t.matching for t in tallies], np.int64), np.array([t.among for t in tallies], np.int64)


def span(ns: int) -> str:
    """A duration in the unit in which it is whole."""
    seconds = ns / S
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"
