"""`siptrail alerts`: what is open now, and what the alert rules would have done on recorded calls."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from alerts.rehearsal import Episode, rehearse, rehearse_resends
from alerts.rule import AlertRule, span
from api.client import HttpDesk
from diagnose.desk import CountingDesk, Desk
from diagnose.local import LocalDesk
from index.columns import DAY_NS, HOUR_NS
from index.questions import Start
from index.summary import from_rfc3339, rfc3339
from sip.errors import SiptrailError
from sip.text import printable
from siptrail.amounts import duration_ns
from siptrail.resending import resends_of
from siptrail.rule_settings import compiled
from siptrail.settings import Settings

PARTS = 168
"""Hours one by one for a week; longer times in so many parts, of less than a day each."""


def open_alerts(desk: Desk, as_json: bool) -> Iterator[str]:
    """The alerts of a running service, one a line (or two)."""
    if not isinstance(desk, HttpDesk):
        raise SiptrailError("alerts are raised by a running service; start `siptrail run`, or add --dry-run")
    found = desk.alerts()
    if not found and not as_json:
        yield "no alert is open, and none closed lately"
    for alert in found:
        yield json.dumps(alert) if as_json else _line(alert)


def _line(alert: dict[str, Any]) -> str:
    when = f"{alert['first'][:19]}Z to {alert['last'][:19]}Z"
    examples = "".join(f"\n  {printable(e['call_id'])}" for e in alert["examples"])
    return f"{alert['state']:6}  {when}  {printable(alert['rule'])}: {printable(alert['headline'])}{examples}"


def dry_run(desk: Desk, settings: Settings, since: str, as_json: bool) -> Iterator[str]:
    """When each alert of the user's own rules would have opened and closed since then, and what each rule came to."""
    rules = compiled(settings.alert_rules)
    if not rules:
        raise SiptrailError("there are no alert rules; write one into the file that --config names (docs/alerts.md)")
    if not isinstance(desk, CountingDesk):
        raise SiptrailError("this source cannot tell how many calls there were")
    try:
        back = duration_ns(since)
    except ValueError as error:
        raise SiptrailError(f"--since: {error}") from error
    now = desk.archive.now() if isinstance(desk, LocalDesk) else time.time_ns()
    low = now - back
    if isinstance(desk, LocalDesk) or any(r.quiet and r.of is None for r in rules):
        # Before the first message nobody was silent: nothing was recorded.
        first = desk.stats().first
        low = max(low, from_rfc3339(first)) if first else now
    for n, rule in enumerate(rules):
        name = rule.name
        s = settings.alert_rules[name]
        # A rule that compares with all INVITEs says so by default.
        of = s.of if rule.of is None or s.of is not None else "method:INVITE"
        if rule.resent is not None:
            hosts = list(resends_of(desk, low, now, rule.within, rule.per))
            episodes, extreme = rehearse_resends(rule, hosts, low, now, duration_ns(settings.alert_clear))
        else:
            calls = list(_told(desk, s.filter, of, rule.per, low, now, f"{name} ({n + 1} of {len(rules)})"))
            episodes, extreme = rehearse(rule, calls, low, now, duration_ns(settings.alert_clear))
        if as_json:
            yield json.dumps({"rule": name, "since": rfc3339(low), "until": rfc3339(now), **asdict(extreme),
                              "alerts": [_record(e) for e in episodes]})  # fmt: skip
            continue
        yield from _told_of(rule, episodes)
        counted = "no look at the calls was possible" if now - low < rule.within and rule.resent is None else (
            f"{extreme.fewest} to {extreme.most} {'calls' if rule.resent is None else 'resends'} in {span(rule.within)}"
        )  # fmt: skip
        kind = f"{len(episodes)} {'alert' if len(episodes) == 1 else 'alerts'}"
        yield f"{name}: {kind} since {rfc3339(low)[:19]}Z; {counted}"


def _told_of(rule: AlertRule, episodes: Sequence[Episode]) -> Iterator[str]:
    for e in episodes:
        closed = f"closed {rfc3339(e.closed)[:19]}Z" if e.closed is not None else "would be open now     "
        of = f" of {e.of}" if rule.of is not None or rule.resent is not None else ""
        value = f"  {rule.per} {printable(e.value)}" if rule.per != "none" else ""
        yield f"  opened {rfc3339(e.opened)[:19]}Z  {closed}  {'fewest' if rule.quiet else 'most'} {e.count}{of}{value}"


def _record(e: Episode) -> dict[str, Any]:
    closed = rfc3339(e.closed) if e.closed is not None else None
    return {"value": e.value, "opened": rfc3339(e.opened), "closed": closed, "count": e.count, "of": e.of}


def _told(desk: CountingDesk, filter: str, of: str | None, per: str, low: int, high: int, what: str) -> Iterator[Start]:
    """In parts, saying how far it is."""
    show: Callable[[str], None] = _progress if sys.stderr.isatty() else lambda text: None
    at, part = low, min(max((high - low) // HOUR_NS // PARTS, 1), DAY_NS // HOUR_NS - 1) * HOUR_NS
    while at < high:
        end = min(at // HOUR_NS * HOUR_NS + part, high)
        show(f"{(at - low) / (high - low):4.0%}  {what}; Ctrl-C stops")
        yield from desk.starts(filter, of, per, at, end - 1 if end < high else end)
        at = end
    show("")


def _progress(text: str) -> None:
    print(f"\r\x1b[K{printable(text)}", end="", file=sys.stderr, flush=True)
