"""The legs of one call through back-to-back user agents, linked by scored evidence. Pure.

Each leg has at most one parent: the leg that it was made for. A parent may have several children: carriers tried one
after the other, phones that ring together. A wrong link is worse than a missing one, so where two parents are about
equally likely, the link is doubtful or is not made.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from index.leg import Leg, LegRules
from index.leg_evidence import CERTAIN, SECOND, SLACK, STEM, Commons, LegEvidence, weigh
from index.summary import CallSummary

SURE, LIKELY = 60, 45
"""Points from which on a link holds, and from which on it is shown as doubtful."""
LEAD, LEAST_LEAD = 15, 6
"""Points by which the best parent must beat the next one to be sure, and to be named at all."""
OFTEN = 3
"""Sure links that show two addresses to be one machine's."""
SIBLING = 25
"""Points that a leg loses as a parent when it has a child in progress already."""
SETUP_NS = 180 * SECOND
"""No call is set up for longer; a later leg needs a mark to be linked."""
MOST_NEAR = 32
"""Legs with the same number that are looked at for one leg, the nearest in time."""


_NAMING = ("mark", "stem", "call-id", "media", "origin")
"""Keys (see `keys_of`) that name the very call."""


@dataclass(frozen=True, slots=True)
class Link:
    """`child` was made on behalf of `parent` (Call-IDs)."""

    parent: str
    child: str
    points: int
    doubtful: bool
    evidence: tuple[LegEvidence, ...]
    """The strongest first."""

    @property
    def why(self) -> str:
        """The reasons in one line."""
        return "; ".join(e.text for e in self.evidence if e.points > 0)


@dataclass(frozen=True, slots=True)
class CallLegs:
    """What a Call-ID was asked for: the legs of its call, in the order in which they began."""

    call_id: str
    calls: tuple[CallSummary, ...]
    """One a leg, this one included; also those that are linked with doubt."""
    links: tuple[Link, ...]
    capped: bool = False
    """So many calls were like this one that not all were looked at."""

    @property
    def sure(self) -> tuple[str, ...]:
        """Call-IDs of the legs that belong to the call beyond doubt: what is drawn together and handed out."""
        known = {self.call_id, *reached(self.call_id, self.links)}
        return tuple(c.call_id for c in self.calls if c.call_id in known) or (self.call_id,)

    def to_json(self) -> dict[str, Any]:
        """JSON object of the public contract."""
        calls = [c.to_json() | {"sure": c.call_id in self.sure} for c in self.calls]
        links = [asdict(x) | {"evidence": [asdict(e) for e in x.evidence]} for x in self.links]
        return {"call_id": self.call_id, "calls": calls, "links": links, "capped": self.capped}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> CallLegs:
        """The reverse of `to_json`."""
        links = (
            Link(**{**x, "evidence": tuple(LegEvidence(e["points"], e["text"]) for e in x["evidence"])})
            for x in record["links"]
        )
        calls = tuple(CallSummary.from_json(c) for c in record["calls"])
        return cls(record["call_id"], calls, tuple(links), record["capped"])


@dataclass(frozen=True, slots=True)
class _Option:
    """A possible parent."""

    points: int
    parent: Leg
    evidence: tuple[LegEvidence, ...]


def link(legs: Iterable[Leg], rules: LegRules | None = None) -> list[Link]:
    """All links between these legs; O(n log n), as long as few legs share a number at a time."""
    rules = rules or LegRules()
    ordered = sorted(legs, key=lambda leg: (leg.start, leg.call_id))
    found = _linked(ordered, rules)
    known = one_machine({leg.call_id: leg for leg in ordered}, found, rules)
    return _linked(ordered, replace(rules, hosts=known)) if known != rules.hosts else found


def _linked(ordered: Sequence[Leg], rules: LegRules) -> list[Link]:
    commons = Commons.of(ordered, rules)
    weighed: dict[str, list[_Option]] = defaultdict(list)
    for a, b in _pairs(ordered, commons.machine, rules):
        evidence = weigh(a, b, commons, rules)
        points = sum(e.points for e in evidence)
        if points >= LIKELY - SIBLING:
            weighed[b.call_id].append(_Option(points, a, evidence))
    return _assigned({leg.call_id: leg for leg in ordered}, weighed)


def one_machine(legs: Mapping[str, Leg], links: Iterable[Link], rules: LegRules) -> tuple[frozenset[str], ...]:
    """Addresses that turned out to be one machine's, because it got one leg here and sent the next there."""
    seen = Counter((legs[x.parent].dst.ip, legs[x.child].src.ip) for x in links if not x.doubtful)
    groups = list(rules.hosts)
    for (inside, outside), times in seen.items():
        if times >= OFTEN and rules.host(inside) != rules.host(outside):
            groups.append(frozenset((inside, outside)))
    return tuple(groups)


def _assigned(legs: Mapping[str, Leg], weighed: Mapping[str, list[_Option]]) -> list[Link]:
    """First the best pairs choose each other; a parent with a child in progress is a weaker parent for the next. Then,
    with all children known, each link is judged by how far it beats the other parents."""
    heap = [(-max(o.points for o in options), legs[child].start, child) for child, options in weighed.items()]
    heapq.heapify(heap)
    chosen: dict[str, list[Leg]] = defaultdict(list)
    while heap:
        promised, start, child = heapq.heappop(heap)
        best = _ranked(weighed[child], legs[child], chosen)[0]
        if -best[0] > promised:
            heapq.heappush(heap, (-best[0], start, child))
        elif best[0] >= LIKELY:
            chosen[best[1].parent.call_id].append(legs[child])
    out = []
    for child, options in weighed.items():
        (points, option), *others = _ranked(options, legs[child], chosen)
        lead = points - others[0][0] if others else points
        if points >= LIKELY and lead >= LEAST_LEAD and legs[child] in chosen[option.parent.call_id]:
            doubtful = points < SURE or lead < LEAD
            out.append(Link(option.parent.call_id, child, points, doubtful, option.evidence))
    return sorted(out, key=lambda found: (legs[found.child].start, found.child))


def _ranked(options: Sequence[_Option], child: Leg, chosen: Mapping[str, list[Leg]]) -> list[tuple[int, _Option]]:
    """The possible parents of a leg, the best first, given the children that they have."""
    ranked = [(_as_parent(o, child, chosen.get(o.parent.call_id, ())), o) for o in options]
    return sorted(ranked, key=lambda pair: (-pair[0], abs(child.start - pair[1].parent.start)))


def _as_parent(option: _Option, child: Leg, children: Sequence[Leg]) -> int:
    if option.evidence[0].points >= CERTAIN:
        return option.points
    busy = any(c is not child and (_in_progress(c, child.start) or _in_progress(child, c.start)) for c in children)
    return option.points - SIBLING if busy else option.points


def _in_progress(leg: Leg, at: int) -> bool:
    over = leg.failed if leg.answered is None else leg.over
    return leg.start <= at and (over is None or at < over - SLACK)


def _pairs(ordered: Sequence[Leg], machine: Mapping[str, str], rules: LegRules) -> Iterator[tuple[Leg, Leg]]:
    """Pairs (parent, child) that have something in common, each once."""
    index: dict[tuple[str, object], list[int]] = defaultdict(list)
    by_id = {leg.call_id: i for i, leg in enumerate(ordered)}
    path = [(machine[leg.src.ip], machine[leg.dst.ip]) for leg in ordered]
    ends = [leg.start + SETUP_NS if leg.over is None else leg.over + SLACK for leg in ordered]
    for i, leg in enumerate(ordered):
        near = {by_id[n] for n in leg.named if n in by_id}
        first, (source, target) = leg.start - SETUP_NS, path[i]
        for key in keys_of(leg, rules):
            group, left = index[key], MOST_NEAR
            for j in reversed(group):
                if not left or ordered[j].start < first:
                    break
                # Nobody is on both ends of such a pair, or the one was over before the other began; it takes a mark to
                # link it all the same.
                if key[0] in _NAMING or (path[j][0] != source and path[j][1] != target and leg.start <= ends[j]):
                    near.add(j)
                    left -= 1
            group.append(i)
        for j in near - {i}:
            yield _in_order(ordered[j], leg, machine)


def _in_order(a: Leg, b: Leg, machine: Mapping[str, str]) -> tuple[Leg, Leg]:
    """The parent first; two taps may show the child a little before it."""
    if abs(a.start - b.start) <= SLACK and machine[a.dst.ip] != machine[b.dst.ip]:
        if machine[a.dst.ip] == machine[b.src.ip]:
            return a, b
        if machine[b.dst.ip] == machine[a.src.ip]:
            return b, a
    return (a, b) if (a.start, a.call_id) <= (b.start, b.call_id) else (b, a)


def keys_of(leg: Leg, rules: LegRules) -> set[tuple[str, object]]:
    """What two legs must share one of, to be looked at."""
    tail = rules.digits
    keys: set[tuple[str, object]] = {("mark", m) for m in leg.marks}
    keys |= {("callee", c[-tail:] if c.isdigit() else c) for c in leg.callees}
    keys |= {("caller", c[-tail:] if c.isdigit() else c) for c in leg.callers}
    keys |= {("media", m) for m in leg.media}
    keys |= {("call-id", leg.call_id), *(("call-id", n) for n in leg.named)}
    stem = leg.call_id.partition("@")[0]
    if len(stem) >= STEM:
        keys |= {("stem", stem[:STEM]), ("stem", stem[-STEM:])}
    return keys | ({("origin", leg.origin)} if leg.origin else set())


def groups(links: Iterable[Link]) -> dict[str, set[str]]:
    """By Call-ID: all that sure links lead to, over any number of steps, itself included."""
    out: dict[str, set[str]] = {}
    for x in links:
        if not x.doubtful:
            one, other = (out.get(c) or {c} for c in (x.parent, x.child))
            both = one | other
            out.update(dict.fromkeys(both, both))
    return out


def reached(call_id: str, links: Iterable[Link]) -> set[str]:
    """The Call-IDs that sure links lead to, over any number of steps."""
    return groups(links).get(call_id, set()) - {call_id}


def families(call_ids: Iterable[str], links: Sequence[Link]) -> dict[str, list[Link]]:
    """The links of the legs of each call; what is linked to them with doubt stands there, too, but leads no further."""
    known, by_end = groups(links), dict[str, dict[int, Link]]()
    for n, x in enumerate(links):
        for end in (x.parent, x.child):
            by_end.setdefault(end, {})[n] = x
    out = {}
    for call_id in call_ids:
        mine = {n: x for c in known.get(call_id, {call_id}) for n, x in by_end.get(c, {}).items()}
        out[call_id] = [mine[n] for n in sorted(mine)]
    return out
