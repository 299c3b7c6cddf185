"""Finds the legs of a recorded call: asks the store for calls near it, and has index.legs judge them.

It owns how far it looks. Only what lies near in time and has a number, a host or a name in common is read at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from index.archive import Archive, unknown
from index.columns import HOUR_NS
from index.leg import Leg, LegRules, leg_of
from index.leg_evidence import SECOND
from index.legs import SETUP_NS, Link, family, link, reached

MOST_LEGS = 16
"""A call with more legs than this is shown with the first that were found."""
ALIKE, ADJACENT = 48, 24
"""Calls that are read for each leg: with a number in common, and others of that moment."""
MOMENT_NS, CLOSE_NS = SECOND, 10 * SECOND


@dataclass(frozen=True, slots=True)
class Family:
    """The legs of a call, in the order in which they began; see index.legs.CallLegs."""

    legs: tuple[Leg, ...]
    links: tuple[Link, ...]
    capped: bool = False


def legs_of_call(archive: Archive, call_id: str, rules: LegRules | None = None) -> Family:
    """The call's legs; NotFound when no message carries this Call-ID. What is no call has no legs."""
    rules = rules or LegRules()
    if call_id not in (traces := archive.traces([call_id], alone=True)):
        raise unknown(call_id)
    first = leg_of(traces[call_id], rules)
    if first is None:
        return Family((), ())
    pool: dict[str, Leg | None] = {call_id: first}
    todo, done, capped = [first], {call_id}, False
    links: list[Link] = []
    while todo and len(done) < MOST_LEGS:
        for leg in todo:
            near, too_many = _near(archive, leg, rules)
            capped = capped or too_many
            fresh = [c for c in (*near, *leg.named) if c not in pool]
            found = archive.traces(fresh, alone=True) if fresh else {}
            pool.update({c: leg_of(found[c], rules) if c in found else None for c in fresh})
        links = link(_known(pool.values()), rules)
        sure = reached(call_id, links)
        todo = _known(pool[name] for name in sorted(sure - done))
        done |= sure
    links = family(call_id, links)
    names = {call_id, *(name for x in links for name in (x.parent, x.child))}
    legs = sorted(_known(pool[name] for name in names), key=lambda leg: (leg.start, leg.call_id))[:MOST_LEGS]
    kept = {leg.call_id for leg in legs}
    return Family(tuple(legs), tuple(x for x in links if {x.parent, x.child} <= kept), capped)


def _known(legs: Iterable[Leg | None]) -> list[Leg]:
    return [leg for leg in legs if leg is not None]


def _near(archive: Archive, leg: Leg, rules: LegRules) -> tuple[list[str], bool]:
    """Call-IDs of calls that may be a leg of the same call; whether there were too many at that time to read all."""
    low, high = leg.start - SETUP_NS, min(leg.settled or leg.last, leg.start + SETUP_NS) + SECOND
    hours = " OR ".join(
        f"(day = DATE '{datetime.fromtimestamp(h * 3600, UTC):%Y-%m-%d}' AND hour = {h % 24})"
        for h in range(low // HOUR_NS, high // HOUR_NS + 1)
    )
    # An empty list would have no type in SQL; no user part has a line end.
    alike = [["\n", *(n[-rules.digits :] if n.isdigit() else n for n in names)] for names in (leg.callees, leg.callers)]
    hosts = sorted({leg.src.ip, leg.dst.ip, *(ip for g in rules.hosts if {leg.src.ip, leg.dst.ip} & g for ip in g)})
    sql = f"""WITH near AS (SELECT call_id, min(abs(invite_ts - $start)) AS apart,
          max({_key("to_user", rules)} IN (SELECT unnest($callees)))::INT AS callee,
          max({_key("from_user", rules)} IN (SELECT unnest($callers)))::INT AS caller,
          max(src_ip IN (SELECT unnest($hosts)) OR dst_ip IN (SELECT unnest($hosts)))::INT AS host
        FROM ({{source}}) WHERE ({hours}) AND invite_ts BETWEEN $low AND $high AND call_id <> $call_id GROUP BY call_id)
      (SELECT call_id, apart, callee + caller > 0 FROM near WHERE callee + caller > 0
        ORDER BY callee + caller DESC, apart LIMIT {ALIKE})
      UNION (SELECT call_id, apart, callee + caller > 0 FROM near WHERE apart <= {MOMENT_NS}
        ORDER BY host DESC, apart LIMIT {ADJACENT})"""
    asked = {
        "start": leg.start,
        "low": low,
        "high": high,
        "call_id": leg.call_id,
        "callees": alike[0],
        "callers": alike[1],
        "hosts": hosts,
    }
    found = archive.ask(sql, asked)
    alike_apart = [apart for _, apart, is_alike in found if is_alike]
    return [call_id for call_id, *_ in found], len(alike_apart) >= ALIKE and max(alike_apart) < CLOSE_NS


def _key(column: str, rules: LegRules) -> str:
    """SQL of `LegRules.number`, cut to the digits that must be equal."""
    return (
        rf"CASE WHEN regexp_full_match({column}, '\+?[0-9*#().\- ]+') "
        rf"THEN right(regexp_replace({column}, '\D', '', 'g'), {rules.digits}) ELSE lower({column}) END"
    )
