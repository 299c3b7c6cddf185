"""`siptrail resends`: hosts to which requests are sent again and again, the worst first."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from alerts.rule import WHY, span
from diagnose.desk import Desk, ResendDesk
from diagnose.local import LocalDesk
from index.columns import DAY_NS, HOUR_NS
from index.questions import REQUESTS_BY, REQUESTS_FEW, WITHIN_NS, Resends
from index.summary import from_rfc3339, rfc3339
from sip.errors import SiptrailError
from sip.text import printable
from siptrail.amounts import duration_ns

SHOWN = 20


def told(desk: Desk, since: str | None, per: str, as_json: bool) -> Iterator[str]:
    """One line for each host to which (`per` src: from which) any request was sent again."""
    if per not in REQUESTS_BY:
        raise SiptrailError(f"--per {per} is none of {', '.join(REQUESTS_BY)}")
    low, high = _times(desk, since)
    by_host: dict[str, list[Resends]] = {}
    for r in resends_of(desk, low, high, WITHIN_NS, per):
        by_host.setdefault(r.host, []).append(r)
    some = sorted(by_host.items(), key=lambda kv: max(map(_weight, kv[1])), reverse=True)
    for host, slots in some if as_json else some[:SHOWN]:
        yield _record(host, slots) if as_json else _line(host, slots, "to" if per == "dst" else "of")
    if not as_json:
        if len(some) > SHOWN:
            yield f"… and {len(some) - SHOWN} more hosts"
        if not some:
            yield "no request over UDP was sent again"


def _weight(r: Resends) -> tuple[bool, float]:
    return r.requests >= REQUESTS_FEW, r.share


def resends_of(desk: Desk, low: int, high: int, step: int, per: str) -> Iterator[Resends]:
    """Day by day, in whole slots from `low` on."""
    if not isinstance(desk, ResendDesk):
        raise SiptrailError("this source cannot tell what was sent again")
    part = max(DAY_NS // step, 1) * step
    for at in range(low, high + 1, part):
        yield from desk.resends(at, min(at + part, high + 1) - 1, step, per)


def _times(desk: Desk, since: str | None) -> tuple[int, int]:
    """A capture or a store alone is asked about all of it, a service about the last hour."""
    high = desk.archive.now() if isinstance(desk, LocalDesk) else time.time_ns()
    if since is None and not isinstance(desk, LocalDesk):
        return high - HOUR_NS, high
    stats = desk.stats()
    if since is None:
        first, last = stats.first, stats.last
        return (from_rfc3339(first), from_rfc3339(last)) if first and last else (high, high)
    try:
        return high - duration_ns(since), high
    except ValueError as error:
        raise SiptrailError(f"--since: {error}") from error


def _line(host: str, slots: list[Resends], way: str) -> str:
    requests, resent, worst = _sums(slots)
    text = f"{printable(host)}: {resent / requests:.0%} of {requests:,} requests {way} it were sent again"
    if len(slots) > 1:
        share = f"{worst.share:.0%} of {worst.requests:,} in {span(WITHIN_NS)}"
        text += f", most from {rfc3339(worst.slot)[:19]}Z on: {share}"
    return text + (f"; {WHY}" if worst.storm else "")


def _record(host: str, slots: list[Resends]) -> str:
    requests, resent, worst = _sums(slots)
    return json.dumps(
        {
            "host": host,
            "requests": requests,
            "resent": resent,
            "storm": worst.storm,
            "worst": {"from": rfc3339(worst.slot), "requests": worst.requests, "resent": worst.resent},
            "examples": list(worst.examples),
        }
    )


def _sums(slots: list[Resends]) -> tuple[int, int, Resends]:
    return sum(r.requests for r in slots), sum(r.resent for r in slots), max(slots, key=_weight)
