"""Looks every few seconds what the user's alert rules count, and tells the alert book.

It owns when a rule is looked at, and which rules must wait because too little is known. Time comes in from its caller;
capture waits for nothing of this.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from prometheus_client import CollectorRegistry, Gauge

from alerts.book import AlertBook
from alerts.event import Notice, Reading
from alerts.rule import AlertRule, complete, counts
from index.archive import Archive
from index.questions import Tally
from sip.errors import SiptrailError

log = logging.getLogger("siptrail.alerts")


class RuleWatch:
    """`round` is called again and again by one thread."""

    def __init__(self, archive: Archive, rules: Sequence[AlertRule], book: AlertBook, node: str | None = None) -> None:
        self._archive, self._rules, self._book = archive, rules, book
        self._node = node
        """Only what this node recorded counts."""
        self._next: dict[str, int] = {}
        self._failing = ""
        self._matching: dict[str, int] = {r.name: 0 for r in rules}

    def metrics(self, registry: CollectorRegistry) -> None:
        """Gauges for Prometheus."""
        if not self._rules:
            return
        what = "Calls that an alert rule of the user's own counted when it last looked"
        gauge = Gauge("siptrail_alert_rule_calls", what, ["rule"], registry=registry)
        for rule in self._rules:
            gauge.labels(rule.name).set_function(partial(self._matching.__getitem__, rule.name))

    def round(self, now: int) -> list[Notice]:
        """Look at the rules whose time has come; the notices to send."""
        due = [r for r in self._rules if self._next.get(r.name, 0) <= now]
        if not due:
            return []
        try:
            found, whole = self._counted(due, now)
            self._failing = ""
        except SiptrailError as error:
            # What was counted before holds: an alert neither opens nor closes because a question had no answer.
            if str(error) != self._failing:
                log.error("alert rules are not looked at: %s", error)
            self._failing = str(error)
            return self._held(due, now)
        notices = []
        for rule, tallies in zip(due, found, strict=True):
            self._next[rule.name] = now + rule.pause
            self._matching[rule.name] = sum(t.matching for t in tallies)
            notices += self._judge(rule, complete(rule, tallies), now, whole)
        return notices

    def _counted(self, due: Sequence[AlertRule], now: int) -> tuple[list[list[Tally]], bool]:
        """What each of the rules counts, and whether the store had its say."""
        of_calls = [r for r in due if r.resent is None]
        tallies, whole = self._archive.tallies([r.question(now - r.within) for r in of_calls], self._node)
        told = dict(zip((r.name for r in of_calls), tallies, strict=True))
        for r in due:
            if r.resent is not None:
                hosts, all_of_it = self._archive.resends(now - r.within, now, r.within + 1, r.per, self._node)
                whole = whole and all_of_it
                told[r.name] = [
                    Tally(h.host, h.resent, h.requests, h.first, h.last, h.examples, h.examples) for h in hosts
                ]
        return [told[r.name] for r in due], whole

    def _judge(self, rule: AlertRule, tallies: Sequence[Tally], now: int, whole: bool) -> list[Notice]:
        opens, stays = rule.opens(*counts(tallies)), rule.stays(*counts(tallies))
        if rule.quiet and not (whole and (rule.of is not None or self._listened(now - rule.within))):
            return self._held([rule], now)
        notices = []
        for tally, opened, kept in zip(tallies, opens.tolist(), stays.tolist(), strict=True):
            if opened or kept:
                notices += self._book.read(_reading(rule, tally, opened, now), now)
        if not whole:
            self._held([rule], now)
        self._book.looked(rule.name, now)
        return notices

    def _held(self, rules: Sequence[AlertRule], now: int) -> list[Notice]:
        for rule in rules:
            self._next[rule.name] = now + rule.pause
            self._book.hold(rule.name, now)
        return []

    def _listened(self, since: int) -> bool:
        """Whether calls would have been recorded all the time: a service that has just started knows of no silence."""
        return self._archive.live_since is not None and self._archive.live_since <= since


def _reading(rule: AlertRule, tally: Tally, opens: bool, now: int) -> Reading:
    examples = tally.others if rule.quiet else tally.examples
    first = now - rule.within if rule.quiet or tally.first is None else tally.first
    last = now if rule.quiet or tally.last is None else tally.last
    of = None if rule.of is None and rule.resent is None else tally.among
    return Reading(
        rule.name, rule.peer(tally.value), rule.code(tally.value), opens, tally.matching, of, rule.says(tally),
        first, last, examples,
    )  # fmt: skip
