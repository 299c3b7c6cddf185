"""Two calls side by side: which steps differ, and what differs within the steps that both have. Pure.

It owns the alignment and the order in which differences are told; what counts as a difference between two messages
is in diagnose.compare_facts. It judges neither call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from diagnose.call import Call, Step, digest
from diagnose.compare_facts import changed, facts_of, hosts
from index.trace import CallTrace

TELLING = frozenset(
    {"Warning", "Reason", "Retry-After", "Unsupported", "Require", "User-Agent", "transport", "form"}
    | {"WWW-Authenticate", "Proxy-Authenticate"}
)
"""What is compared between two responses with differing codes."""
LONGEST = 300
"""Steps of a call that are compared: a phone registers under one Call-ID for months."""
MILLISECOND = 1_000_000
SLOW_MS, SLOW_TIMES = 1000.0, 3.0
"""A time differs much when it is so much longer, and so many times."""
AFTER = 30
"""What differs after the calls have parted is rather a consequence than a cause: it weighs so much less."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One step of one call."""

    number: int
    """Of the message in its call, from 1."""
    text: str
    """Method, or code and phrase."""
    source: int
    target: int
    """Numbers of the hosts in order of appearance."""
    ms: float
    """Since the request, for a response; since the step before, for a request."""
    copies: int
    """How often it was sent."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A step in both calls, or in one of them."""

    first: Moment | None
    second: Moment | None

    @property
    def equal(self) -> bool:
        """The same step on both sides."""
        return self.first is not None and self.second is not None and self.first.text == self.second.text


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs."""

    kind: str
    """step (missing or extra), code, repeats, time, message (a header or a line of SDP)."""
    where: str
    """The step in words."""
    what: str
    first: str
    second: str
    numbers: tuple[int | None, int | None]
    """The messages it stands in first."""
    weight: int
    times: int = 1
    """In how many pairs of messages it was seen."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two calls."""

    call_id: str
    messages: int
    outcome: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both calls, their steps, and what differs, the most telling first."""

    first: Side
    second: Side
    steps: tuple[Pair, ...]
    differences: tuple[Difference, ...]
    cut: bool
    """A call is longer than what was compared."""

    def to_json(self) -> dict[str, Any]:
        """JSON object of the public contract."""
        return asdict(self) | {"equal": not self.differences}


def compare(first: CallTrace, second: CallTrace) -> Comparison:
    """Align two calls and say what differs."""
    one, two = _Half(digest(first)), _Half(digest(second))
    pairs = align(one, two)
    found: list[Difference] = []
    parted = False
    for a, b in pairs:
        found += _between(one, two, a, b, parted)
        parted = parted or _part(one, two, a, b)
    steps = tuple(Pair(None if a is None else one.moments[a], None if b is None else two.moments[b]) for a, b in pairs)
    ordered = sorted(_once(found), key=lambda d: -d.weight)
    return Comparison(one.side(), two.side(), steps, tuple(ordered), one.cut or two.cut)


def _part(one: _Half, two: _Half, a: int | None, b: int | None) -> bool:
    """The calls part at a request that one lacks, or at final responses that are not the same."""
    here = [half.steps[n].m.sip for half, n in ((one, a), (two, b)) if n is not None]
    return all(sip.is_request or sip.code >= 200 for sip in here) and (len(here) == 1 or here[0].code != here[1].code)


class _Half:
    """A call with what the comparison needs of it."""

    def __init__(self, call: Call) -> None:
        self.call = call
        kept = [s for s in call.steps if not s.m.retransmission]
        self.cut = len(kept) > LONGEST
        self.steps: Sequence[Step] = kept[:LONGEST]
        self.hosts = hosts(call.trace.messages)
        self.sent: dict[object, Step] = {}
        self.moments = [self._moment(n) for n in range(len(self.steps))]

    def _moment(self, n: int) -> Moment:
        step = self.steps[n]
        m, sip = step.m, step.m.sip
        if sip.is_request:
            self.sent[step.key] = step
            since = self.steps[n - 1].m.ts if n else m.ts
        else:
            asked = self.sent.get(step.key)
            since = asked.m.ts if asked else m.ts
        text = sip.method if sip.is_request else f"{sip.code} {sip.reason}".strip()
        copies = len(self.call.copies(step))
        return Moment(step.number, text, self.hosts[m.src.ip], self.hosts[m.dst.ip], (m.ts - since) / 1e6, copies)

    def side(self) -> Side:
        finals = [s for s in self.call.responses if s.m.sip.code >= 200]
        told = [s for s in finals if s.m.sip.method == "INVITE" and s.m.dst.ip == self.call.steps[0].m.src.ip] or finals
        known = [s for s in told if s.m.sip.code not in (401, 407)] or told
        # The answer of a call counts, not that of a re-INVITE in it.
        best = next((s for s in known if s.m.sip.code < 300), known[-1] if known else None)
        outcome = f"{best.m.sip.code} {best.m.sip.reason}".strip() if best else "no final response"
        return Side(self.call.trace.call_id, len(self.call.steps), outcome, tuple(self.hosts))


def _likeness(a: Step, b: Step, way: bool) -> int:
    """How well two steps go together; 0: not at all. `way`: they go between the same hosts."""
    one, two = a.m.sip, b.m.sip
    if one.is_request != two.is_request or one.method != two.method:
        return 0
    if one.is_request or one.code == two.code:
        return 6 if way else 3
    if (one.code < 200) != (two.code < 200):
        return 0
    return 2 if way else 1


def align(one: _Half, two: _Half) -> list[tuple[int | None, int | None]]:
    """The steps of both in order, those that go together side by side (the best sum of likenesses)."""
    rows, columns = len(one.steps), len(two.steps)
    best = [[0] * (columns + 1) for _ in range(rows + 1)]
    for r in range(rows - 1, -1, -1):
        for c in range(columns - 1, -1, -1):
            like = _like(one, two, r, c)
            paired = best[r + 1][c + 1] + like if like else 0
            best[r][c] = max(paired, best[r + 1][c], best[r][c + 1])
    out: list[tuple[int | None, int | None]] = []
    r = c = 0
    while r < rows and c < columns:
        like = _like(one, two, r, c)
        if like and best[r][c] == best[r + 1][c + 1] + like:
            out.append((r, c))
            r, c = r + 1, c + 1
        elif best[r][c] == best[r + 1][c]:
            out.append((r, None))
            r += 1
        else:
            out.append((None, c))
            c += 1
    out += [(n, None) for n in range(r, rows)]
    out += [(None, n) for n in range(c, columns)]
    return out


def _like(one: _Half, two: _Half, r: int, c: int) -> int:
    a, b = one.moments[r], two.moments[c]
    return _likeness(one.steps[r], two.steps[c], (a.source, a.target) == (b.source, b.target))


def _between(one: _Half, two: _Half, a: int | None, b: int | None, parted: bool) -> list[Difference]:
    """All differences of one pair."""
    if a is None or b is None:
        half, n = (one, a) if a is not None else (two, b)
        assert n is not None
        return [_lone(half.steps[n], half.moments[n], a is not None, AFTER if parted else 0)]
    x, y = one.moments[a], two.moments[b]
    s, t = one.steps[a], two.steps[b]
    numbers = (x.number, y.number)
    where = _where(s, x)
    out = []
    if s.m.sip.code != t.m.sip.code:
        final = s.m.sip.code >= 200
        what = f"{'final' if final else 'provisional'} response to {s.m.sip.method}"
        out.append(
            Difference("code", f"host {x.source} to {x.target}", what, x.text, y.text, numbers, 98 if final else 68)
        )
    if (x.copies > 1) != (y.copies > 1):
        out.append(Difference("repeats", where, f"repetitions of {x.text}", _sent(x), _sent(y), numbers, 88))
    slow = _slow(s, x, y)
    if slow:
        what = "time from its request" if s.m.sip.code else "time since the step before"
        out.append(Difference("time", where, what, _ms(x.ms), _ms(y.ms), numbers, slow))
    same = s.m.sip.code == t.m.sip.code
    # What a failing response says about itself is as telling as its code.
    less = AFTER if parted and same else 0
    for what, mine, theirs, weight in changed(facts_of(s.m, one.hosts), facts_of(t.m, two.hosts)):
        # A success and a failure differ in nearly every header: only those count that may say why.
        if not same and what not in TELLING:
            continue
        out.append(Difference("message", where, what, mine, theirs, numbers, max(1, weight - less)))
    return out


def _where(s: Step, m: Moment) -> str:
    text = m.text if s.m.sip.is_request else f"{m.text} ({s.m.sip.method})"
    return f"{text}, host {m.source} to {m.target}"


def _sent(m: Moment) -> str:
    return "once" if m.copies == 1 else f"{m.copies} times"


def _lone(s: Step, m: Moment, first: bool, less: int) -> Difference:
    """A step that the other call lacks. Requests and final responses weigh most, 100 Trying least."""
    sip = s.m.sip
    weight = 94 if sip.is_request or sip.code >= 200 else 30 if sip.code == 100 else 64
    there = f"sent {_sent(m)}"
    numbers = (m.number, None) if first else (None, m.number)
    what = f"step {m.text}" if sip.is_request else f"step {m.text} ({sip.method})"
    mine, theirs = (there, "-") if first else ("-", there)
    where = f"host {m.source} to {m.target}"
    return Difference("step", where, what, mine, theirs, numbers, max(1, weight - less))


def _slow(s: Step, x: Moment, y: Moment) -> int:
    """The weight of a difference in time; 0 where it is not much. When people act is told, but last."""
    short, long = sorted((x.ms, y.ms))
    if long - short < SLOW_MS or long < short * SLOW_TIMES:
        return 0
    sip = s.m.sip
    by_people = sip.method in ("BYE", "CANCEL") if sip.is_request else sip.method == "INVITE" and sip.code >= 200
    return 12 if by_people else 57


def _ms(value: float) -> str:
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.1f} s"


def _once(found: list[Difference]) -> list[Difference]:
    """What the hops and later messages of a call repeat is told once, at its first place."""
    told: dict[object, int] = {}
    out: list[Difference] = []
    for d in found:
        key = (d.kind, d.what, d.first, d.second)
        at = told.get(key)
        if at is None or d.kind == "time":
            told[key] = len(out)
            out.append(d)
        else:
            out[at] = replace(out[at], times=out[at].times + 1)
    return out
