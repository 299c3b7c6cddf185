"""Finds the legs of recorded calls: asks the store for calls near them, and has index.legs judge them.

It owns how far it looks. Only what lies near in time and has a number, a host or a name in common is read at all, and
of that no more than how it began. Many calls are looked for together, since a question costs more than an answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pyarrow as pa

from index.archive import Archive
from index.leg import Leg, LegRules, leg_of
from index.leg_evidence import SECOND
from index.legs import SETUP_NS, Link, families, groups, link

MOST_LEGS = 16
"""A call with more legs than this is shown with the first that were found."""
MOST_STEPS = 6
"""From leg to leg; nobody has seen a call through so many switches."""
FEW = 3
"""Calls that somebody asked for; where there are more, it is for lists and alerts, and must not take long."""
ALIKE, ADJACENT = (48, 16), (24, 8)
"""Calls that are read for each leg, of few and of many: with a number in common, and others of that moment."""
MOMENT_NS, CLOSE_NS = SECOND, 10 * SECOND
MOST_MOMENTS = 16
"""Pieces of time that a question names; more are told as fewer with what lies between."""
FAR = 1 << 60
"""Added to how far a call is apart in time (ns) that is of other hosts: first come those of the same ones."""


@dataclass(frozen=True, slots=True)
class Family:
    """The legs of a call, in the order in which they began; see index.legs.CallLegs."""

    legs: tuple[Leg, ...]
    links: tuple[Link, ...]
    capped: bool = False


def families_of(
    archive: Archive,
    call_ids: Sequence[str],
    rules: LegRules | None = None,
    between: tuple[int, int] | None = None,
    steps: int = MOST_STEPS,
) -> dict[str, Family]:
    """The legs of each of these calls; no entry for what has no INVITE. `between`: all of them began then (ns)."""
    rules = rules or LegRules()
    pool: dict[str, Leg | None] = dict.fromkeys(call_ids)
    pool.update({c: leg_of(o, rules) for c, o in archive.openings(call_ids, between).items()})
    first = _known(pool.values())
    todo, done, capped = first, {leg.call_id for leg in first}, set[str]()
    links: list[Link] = []
    many = len(call_ids) > FEW
    for _ in range(steps):
        if not todo:
            break
        near, too_many = _near(archive, todo, rules, many)
        capped |= too_many
        low, high = min(leg.start for leg in todo) - SETUP_NS, max(_until(leg) for leg in todo)
        fresh = [c for c in near if c not in pool]
        pool.update(dict.fromkeys(fresh))
        pool.update({c: leg_of(o, rules) for c, o in archive.openings(fresh, (low, high)).items()})
        named = [c for leg in _known(pool.values()) for c in leg.named if c not in pool]
        if named:
            pool.update(dict.fromkeys(named))
            pool.update({c: leg_of(o, rules) for c, o in archive.openings(named).items()})
        links = link(_known(pool.values()), rules)
        together = groups(links)
        sure = set().union(*(together.get(leg.call_id, ()) for leg in first))
        todo = [leg for leg in _known(pool[name] for name in sorted(sure - done))][: MOST_LEGS * len(first)]
        done |= sure
    found = families((leg.call_id for leg in first), links)
    return {call_id: _family(call_id, pool, mine, capped) for call_id, mine in found.items()}


def _family(call_id: str, pool: dict[str, Leg | None], mine: Sequence[Link], capped: set[str]) -> Family:
    names = {call_id, *(name for x in mine for name in (x.parent, x.child))}
    legs = sorted(_known(pool[name] for name in names), key=lambda leg: (leg.start, leg.call_id))[:MOST_LEGS]
    kept = {leg.call_id for leg in legs}
    return Family(tuple(legs), tuple(x for x in mine if {x.parent, x.child} <= kept), bool(kept & capped))


def _known(legs: Iterable[Leg | None]) -> list[Leg]:
    return [leg for leg in legs if leg is not None]


def _until(leg: Leg) -> int:
    """Nothing that began later was made for it."""
    return min(leg.settled or leg.last, leg.start + SETUP_NS) + SECOND


def _near(archive: Archive, legs: Sequence[Leg], rules: LegRules, many: bool) -> tuple[list[str], set[str]]:
    """Call-IDs of calls that may be a leg of the same call as one of these; and for which of them there were too many
    at that time to read all."""
    alike, adjacent = ALIKE[many], ADJACENT[many]
    table = pa.table(
        {
            "asked": [leg.call_id for leg in legs],
            "began": pa.array([leg.start for leg in legs], pa.int64()),
            "high": pa.array([_until(leg) for leg in legs], pa.int64()),
        }
    )
    keys = [(leg.call_id, who, _tail(n, rules)) for leg in legs for who, n in _numbers(leg)]
    named = {leg.call_id: {leg.src.ip, leg.dst.ip} for leg in legs}
    hosts = [(c, ip) for c, own in named.items() for ip in own.union(*(g for g in rules.hosts if own & g))]
    low, high = min(leg.start for leg in legs) - SETUP_NS, max(_until(leg) for leg in legs)
    callee, caller = _key("to_user", rules), _key("from_user", rules)
    # Of a busy minute, only calls are put together of which one row could make them a leg: a small part, which takes
    # little memory. Who waits for few calls has the answer sooner without that.
    only = "SEMI JOIN possible USING (call_id)" if many else ""
    opened = f"SELECT * FROM ({{source}}) WHERE invite_ts BETWEEN {low} AND {high}"
    steps = {
        "around": f"""WITH opened AS NOT MATERIALIZED ({opened}),
            possible AS (SELECT DISTINCT call_id FROM opened
              WHERE {callee} IN (SELECT number FROM keys WHERE who = 'callee')
                OR {caller} IN (SELECT number FROM keys WHERE who = 'caller') OR {_moments(legs)})
          SELECT call_id, min(invite_ts) AS start, arg_min({callee}, first_key) AS callee,
            arg_min({caller}, first_key) AS caller, arg_min(src_ip, first_key) AS src,
            arg_min(dst_ip, first_key) AS dst
          FROM opened {only} GROUP BY call_id""",
        "alike": """WITH same AS (SELECT asked, call_id FROM around JOIN keys ON callee = number AND who = 'callee'
            UNION ALL SELECT asked, call_id FROM around JOIN keys ON caller = number AND who = 'caller')
          SELECT asked, call_id, count(*) AS points FROM same GROUP BY ALL""",
        "by_number": f"""SELECT asked, call_id, abs(start - began) AS apart
          FROM alike JOIN around USING (call_id) JOIN legs USING (asked)
          WHERE call_id <> asked AND start BETWEEN began - {SETUP_NS} AND high
          QUALIFY row_number() OVER (PARTITION BY asked ORDER BY points DESC, apart) <= {alike}""",
    }
    last = f"""WITH at_moment AS (SELECT legs.asked, call_id, abs(start - began) AS apart,
              s.ip IS NOT NULL OR d.ip IS NOT NULL AS adjacent
            FROM around JOIN legs ON start BETWEEN began - {MOMENT_NS} AND least(began + {MOMENT_NS}, high)
            LEFT JOIN hosts s ON s.asked = legs.asked AND s.ip = src
            LEFT JOIN hosts d ON d.asked = legs.asked AND d.ip = dst
            WHERE call_id <> legs.asked),
          by_moment AS (SELECT asked, unnest(min_by(struct_pack(call_id := call_id, apart := apart),
                CASE WHEN adjacent THEN apart ELSE apart + {FAR} END, {adjacent})) AS best
              FROM at_moment GROUP BY asked)
        SELECT asked, call_id, apart, true FROM by_number
        UNION ALL SELECT asked, best.call_id, best.apart, false FROM by_moment"""
    tables = {"legs": table, "keys": _table(keys, "asked", "who", "number"), "hosts": _table(hosts, "asked", "ip")}
    if many:
        # One after the other: each join that waits for another holds eight megabytes, however little is in it.
        found = archive.ask(last, {}, tables, (low, high), steps)
    else:
        whole = ", ".join(f"{name} AS ({sql})" for name, sql in steps.items())
        found = archive.ask(f"WITH {whole} SELECT * FROM ({last})", {}, tables, (low, high))
    near: dict[str, list[int]] = {}
    for asked, _, apart, by_number in found:
        if by_number:
            near.setdefault(asked, []).append(apart)
    crowded = {asked for asked, apart in near.items() if len(apart) >= alike and max(apart) < CLOSE_NS}
    return list(dict.fromkeys(call_id for _, call_id, *_ in found)), crowded


def _moments(legs: Sequence[Leg]) -> str:
    """SQL of a condition that calls meet which began when one of these did; others may meet it, too."""
    times = sorted(leg.start for leg in legs)
    widest = sorted(range(1, len(times)), key=lambda k: times[k] - times[k - 1])[1 - MOST_MOMENTS :]
    pieces = pairwise([0, *sorted(widest), len(times)])
    return " OR ".join(f"invite_ts BETWEEN {times[a] - MOMENT_NS} AND {times[b - 1] + MOMENT_NS}" for a, b in pieces)


def _numbers(leg: Leg) -> list[tuple[str, str]]:
    return [*(("callee", n) for n in leg.callees), *(("caller", n) for n in leg.callers)]


def _table(rows: Sequence[tuple[str, ...]], *names: str) -> pa.Table:
    return pa.table({name: pa.array([r[k] for r in rows], pa.string()) for k, name in enumerate(names)})


def _tail(number: str, rules: LegRules) -> str:
    return number[-rules.digits :] if number.isdigit() else number


def _key(column: str, rules: LegRules) -> str:
    """SQL of `LegRules.number`, cut to the digits that must be equal."""
    return (
        rf"CASE WHEN regexp_full_match({column}, '\+?[0-9*#().\- ]+') "
        rf"THEN right(regexp_replace({column}, '\D', '', 'g'), {rules.digits}) ELSE lower({column}) END"
    )
