"""How much speaks for two legs being one call: points with their reasons. Pure.

A back-to-back user agent passes on what it likes, so no single header can be relied on; and a carrier's traffic is full
of calls with the same numbers, so numbers alone prove nothing. What contradicts weighs as much as what agrees.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from index.leg import Leg, LegRules

MS = 1_000_000
SECOND = 1000 * MS
SLACK = 50 * MS
"""Two taps, or two interfaces, may disagree so far about what came first."""
SHORT = 5
"""A number of fewer digits is an extension: it says little."""
CERTAIN = 100
"""Points of a mark that names the very call."""
STEM = 16
"""A Call-ID that is shorter, up to its @, may be part of another one by chance."""
BEGAN = ((100 * MS, 15), (300 * MS, 12), (SECOND, 8), (5 * SECOND, 4), (30 * SECOND, 0))
"""Time from one leg's INVITE to the other's, and its points."""
PASSED_ON = ((50 * MS, 20), (200 * MS, 15), (500 * MS, 8), (SECOND, 4), (3 * SECOND, 0))
"""Time that a machine takes to pass on an answer, a refusal or a hang-up."""
COMMON = {"mark": 16, "origin": 4, "media": 4}
"""What more legs than this have in common names no call (a constant of a load generator, a header of the platform)."""


@dataclass(frozen=True, slots=True)
class LegEvidence:
    """One reason; negative points speak against."""

    points: int
    text: str


@dataclass(frozen=True, slots=True)
class Commons:
    """What is known of all legs together: how many share a mark, an origin or a media address, and which machine has
    which address."""

    machine: dict[str, str]
    marks: Counter[tuple[str, str]]
    origins: Counter[str]
    media: Counter[str]

    @classmethod
    def of(cls, legs: Iterable[Leg], rules: LegRules) -> Commons:
        """Look at them all."""
        machine: dict[str, str] = {}
        marks: Counter[tuple[str, str]] = Counter()
        origins: Counter[str] = Counter()
        media: Counter[str] = Counter()
        for leg in legs:
            marks.update(leg.marks)
            origins[leg.origin] += 1
            media.update(leg.media)
            for ip in (leg.src.ip, leg.dst.ip):
                if ip not in machine:
                    machine[ip] = rules.host(ip)
        return cls(machine, marks, origins, media)


def weigh(a: Leg, b: Leg, commons: Commons, rules: LegRules) -> tuple[LegEvidence, ...]:
    """What speaks for `b` having been made on behalf of `a`, which began before it; () where nothing names the call."""
    certain, path = _marks(a, b, commons), _path(a, b, commons)
    if path is None and not certain:
        return ()
    names = [*certain, *_numbers(a, b, rules), *_session(a, b, commons)]
    if not names:
        return ()
    found = [*names, *([path] if path else []), *_start(a, b), *_ringing(a, b), *_outcome(a, b)]
    return tuple(sorted(found, key=lambda e: -abs(e.points)))


def _marks(a: Leg, b: Leg, commons: Commons) -> list[LegEvidence]:
    if a.call_id in b.named or b.call_id in a.named:
        header = next((h for h, v in (*a.marks, *b.marks) if v in (a.call_id, b.call_id)), "Replaces or Target-Dialog")
        return [LegEvidence(CERTAIN, f"the {header} of one names the Call-ID of the other")]
    if _derived(a.call_id, b.call_id) or _derived(b.call_id, a.call_id):
        return [LegEvidence(CERTAIN, "the Call-ID of one is made from the other's")]
    shared = [m for m in a.marks & b.marks if commons.marks[m] <= COMMON["mark"]]
    return [LegEvidence(CERTAIN, f"equal {name} {value}") for name, value in sorted(shared)[:1]]


def _derived(one: str, other: str) -> bool:
    """Whether a Call-ID stands as a word of its own in the other (`X` in `X-b2b-1@switch`)."""
    stem = one.partition("@")[0]
    at = other.find(stem) if len(stem) >= STEM else -1
    if at < 0:
        return False
    around = other[at - 1 : at] + other[at + len(stem) : at + len(stem) + 1]
    return not any(c.isalnum() for c in around)


def _numbers(a: Leg, b: Leg, rules: LegRules) -> list[LegEvidence]:
    out = []
    for who, these, those, most in (("called", a.callees, b.callees, 25), ("calling", a.callers, b.callers, 20)):
        points, text = max((_same(x, y, rules.digits, most) for x in these for y in those), default=(0, ""))
        if points:
            out.append(LegEvidence(points, f"{who} number {text}"))
    return out


def _same(x: str, y: str, digits: int, most: int) -> tuple[int, str]:
    """How far two numbers are one, and how to say it."""
    if x == y:
        return (most if len(x) >= SHORT or not x.isdigit() else most // 2), x
    if x.isdigit() and y.isdigit() and len(x) >= digits and len(y) >= digits and x[-digits:] == y[-digits:]:
        return most - 3, f"{x} and {y} end alike"
    return 0, ""


def _session(a: Leg, b: Leg, commons: Commons) -> list[LegEvidence]:
    media = [m for m in sorted(a.media & b.media) if commons.media[m] <= COMMON["media"]]
    if media:
        return [LegEvidence(55, f"both offer media at {media[0]}")]
    if a.origin and a.origin == b.origin and commons.origins[a.origin] <= COMMON["origin"]:
        return [LegEvidence(45, f"equal SDP origin {a.origin}")]
    return []


def _path(a: Leg, b: Leg, commons: Commons) -> LegEvidence | None:
    """Whether the machine that got `a` made `b`; None where it cannot be: the same caller called again, or somebody
    else called the same machine."""
    machine = commons.machine
    to, out = machine[a.dst.ip], machine[b.src.ip]
    if to == out:
        return LegEvidence(15, f"{a.dst.ip} got the first and {_sent(a, b)} the second")
    if out == machine[a.src.ip] or to == machine[b.dst.ip]:
        return None
    # Where the second leg comes back to who sent the first, it is far more often just another caller.
    points = -30 if machine[b.dst.ip] == machine[a.src.ip] else -15
    return LegEvidence(points, f"{b.src.ip} sent the second, not {a.dst.ip}")


def _sent(a: Leg, b: Leg) -> str:
    return "sent" if a.dst.ip == b.src.ip else f"sent, as {b.src.ip},"


def _closeness(apart: int, scale: tuple[tuple[int, int], ...], beyond: int) -> int:
    return next((points for limit, points in scale if abs(apart) <= limit), beyond)


def _start(a: Leg, b: Leg) -> list[LegEvidence]:
    apart = b.start - a.start
    settled = a.settled
    if settled is not None and b.start > settled + SLACK:
        if a.answered is None or (a.over is not None and b.start > a.over):
            return [LegEvidence(-60, "the first was over before the second began")]
        return [LegEvidence(-15, "the second began when the first was already answered")]
    return [LegEvidence(_closeness(apart, BEGAN, -5), f"began {_ms(apart)} later")]


def _ringing(a: Leg, b: Leg) -> list[LegEvidence]:
    if a.rang is None or b.rang is None or not -SLACK <= a.rang - b.rang <= SECOND:
        return []  # a switch may ring by itself, so that another time says nothing
    apart = a.rang - b.rang
    return [LegEvidence(_closeness(apart, PASSED_ON, 0) // 2, f"rang within {_ms(abs(apart))}")]


def _outcome(a: Leg, b: Leg) -> list[LegEvidence]:
    """An answer, a refusal and a hang-up travel from one leg to the other."""
    if b.answered is not None:
        if a.answered is None:
            if a.failed is not None and a.ended is None:
                return [LegEvidence(-50, f"the second was answered, the first failed with {a.code}")]
            return []  # cancelled while the answer was on its way, or not over yet
        return [*_answers(a.answered - b.answered, a.answered < b.start), *_ends(a, b)]
    if b.failed is None or a.failed is None:
        return []
    apart = a.failed - b.failed
    if apart < -SECOND:
        return [LegEvidence(-20, "the first failed before the second did")]
    text = f"both ended with {a.code}" if a.code == b.code else f"{b.code} became {a.code}"
    points = _closeness(apart, PASSED_ON, 0)
    return [LegEvidence(points if a.code == b.code else points // 2, f"{text} within {_ms(abs(apart))}")]


def _answers(apart: int, before: bool) -> list[LegEvidence]:
    if before:
        return []  # a voice menu answers first and connects later
    if apart < -SLACK:
        return [LegEvidence(-35, "the first was answered before the second")]
    return [LegEvidence(_closeness(apart, PASSED_ON, -40), f"answered within {_ms(abs(apart))}")]


def _ends(a: Leg, b: Leg) -> list[LegEvidence]:
    if a.ended is None or b.ended is None:
        return []
    apart = abs(a.ended - b.ended)
    return [LegEvidence(_closeness(apart, PASSED_ON, -40), f"hung up within {_ms(apart)}")]


def _ms(ns: int) -> str:
    return f"{ns / SECOND:.1f} s" if abs(ns) >= SECOND else f"{ns // MS} ms"
