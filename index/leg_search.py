"""Finds the legs of a recorded call: asks the store for calls near it, and has index.legs judge them.

It owns how far it looks. Only what lies near in time and has a number, a host or a name in common is read at all.
"""

from __future__ import annotations

from datetime import UTC, datetime

from index.archive import Archive
from index.columns import HOUR_NS
from index.leg import Leg, LegRules, leg_of
from index.leg_evidence import SECOND
from index.legs import SETUP_NS, CallLegs, Link, family, link

MOST_LEGS = 16
"""A call with more legs than this is shown with the first that were found."""
ALIKE, ADJACENT = 48, 16
"""Calls that are read for each leg: with a number in common, and those that the same host sent or got at that moment."""
MOMENT_NS = SECOND


def legs_of_call(archive: Archive, call_id: str, rules: LegRules | None = None) -> CallLegs:
    """The call's legs; NotFound when no message carries this Call-ID. What is no call has no other legs."""
    rules = rules or LegRules()
    first = leg_of(archive.trace(call_id), rules)
    if first is None:
        return CallLegs((), ())
    pool: dict[str, Leg | None] = {call_id: first}
    todo, done, capped, links = [first], {call_id}, False, list[Link]()
    while todo and len(done) < MOST_LEGS:
        for leg in todo:
            near = _near(archive, leg, rules)
            capped = capped or len(near) >= ALIKE
            fresh = [c for c in (*near, *leg.named) if c not in pool]
            found = archive.traces(fresh) if fresh else {}
            pool.update({c: leg_of(found[c], rules) if c in found else None for c in fresh})
        links = family(call_id, link((leg for leg in pool.values() if leg is not None), rules))
        names = {name for found_link in links for name in (found_link.parent, found_link.child)}
        todo = [leg for name in sorted(names - done) if (leg := pool[name]) is not None]
        done |= names
    legs = sorted((leg for name in done if (leg := pool[name]) is not None), key=lambda leg: (leg.start, leg.call_id))
    kept = tuple(legs[:MOST_LEGS])
    return CallLegs(kept, tuple(x for x in links if {x.parent, x.child} <= {leg.call_id for leg in kept}), capped)


def _near(archive: Archive, leg: Leg, rules: LegRules) -> list[str]:
    """Call-IDs of calls that may be a leg of the same call, the likeliest first."""
    low, high = leg.start - SETUP_NS, min(leg.settled or leg.last, leg.start + SETUP_NS) + SECOND
    hours = " OR ".join(
        f"(day = DATE '{datetime.fromtimestamp(h * 3600, UTC):%Y-%m-%d}' AND hour = {h % 24})"
        for h in range(low // HOUR_NS, high // HOUR_NS + 1)
    )
    alike = [sorted({n[-rules.digits :] if n.isdigit() else n for n in names}) for names in (leg.callees, leg.callers)]
    hosts = sorted({leg.src.ip, leg.dst.ip, *(ip for g in rules.hosts if {leg.src.ip, leg.dst.ip} & g for ip in g)})
    sql = f"""WITH near AS (SELECT call_id, min(abs(invite_ts - $start)) AS apart,
          max({_key("to_user", rules)} IN (SELECT unnest($callees)))::INT AS callee,
          max({_key("from_user", rules)} IN (SELECT unnest($callers)))::INT AS caller,
          max(src_ip IN (SELECT unnest($hosts)) OR dst_ip IN (SELECT unnest($hosts)))::INT AS host
        FROM ({{source}}) WHERE ({hours}) AND invite_ts BETWEEN $low AND $high AND call_id <> $call_id GROUP BY call_id)
      (SELECT call_id FROM near WHERE callee + caller > 0 ORDER BY callee + caller DESC, apart LIMIT {ALIKE})
      UNION (SELECT call_id FROM near WHERE host = 1 AND apart <= {MOMENT_NS} ORDER BY apart LIMIT {ADJACENT})"""
    asked = {
        "start": leg.start,
        "low": low,
        "high": high,
        "call_id": leg.call_id,
        "callees": alike[0],
        "callers": alike[1],
        "hosts": hosts,
    }
    return archive.call_ids(sql, asked)


def _key(column: str, rules: LegRules) -> str:
    """SQL of `LegRules.number`, cut to the digits that must be equal."""
    return (
        rf"CASE WHEN regexp_full_match({column}, '\+?[0-9*#().\- ]+') "
        rf"THEN right(regexp_replace({column}, '\D', '', 'g'), {rules.digits}) ELSE lower({column}) END"
    )
