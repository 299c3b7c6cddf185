"""TCP connections that ended while a call needed them, beside what was waiting on them. Pure; it judges no party."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from diagnose.call import SECOND, TIMEOUT, Call, Step
from diagnose.guards import Silence, leaps, silence
from index.trace import ConnectionEnd, Endpoint

_SOON = 2 * SECOND
"""What is under way when its connection ends is seen, and yet never arrives."""
_FEW = 50
_OTHERS = frozenset({"ACK", "CANCEL"})
"""An ACK has no response; a CANCEL's fate is that of its INVITE."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A request that had no final response when its connection ended, and never got one."""

    end: ConnectionEnd
    request: Step
    sent_after: bool
    """It was sent into the connection when that was over already."""
    again: Step | None
    """What goes on between the two hosts over another connection."""
    told: Step | None
    """With what the host that had sent it on gave up: its own final response to whoever had asked it."""
    judged: Silence


def cuts(call: Call) -> tuple[Cut, ...]:
    """Each with the first end that explains it."""
    return call.once(_cuts)


def cut_requests(call: Call) -> frozenset[int]:
    """Numbers of requests whose silence is explained so."""
    return frozenset(c.request.number for c in cuts(call) if c.judged.believable)


def idle_ends(call: Call) -> Iterator[tuple[ConnectionEnd, Step]]:
    """The end of a connection with nothing under way, after which nothing more of the call was seen at all, with the
    last message before it."""
    last = call.steps[-1] if call.steps and call.trace.ends else None
    if last is None or not call.seen_from_start or any(leaps(a, b) for a, b in pairwise(call.steps)):
        return
    for end in call.trace.ends:
        if end.ts >= last.m.ts and {end.by, end.peer} == {last.m.src, last.m.dst}:
            if call.trace.capture_end - end.ts > TIMEOUT:
                yield end, last
            return


def _cuts(call: Call) -> tuple[Cut, ...]:
    if not call.trace.ends:
        return ()
    on: dict[frozenset[Endpoint], list[Step]] = {}
    for s in call.requests:
        if s.m.transport != "udp" and s.m.sip.method not in _OTHERS and not s.m.retransmission:
            on.setdefault(frozenset((s.m.src, s.m.dst)), []).append(s)
    found: dict[int, Cut] = {}
    for end in call.trace.ends[:_FEW]:
        for s in on.get(frozenset((end.by, end.peer)), ()):
            if s.number not in found and (cut := _cut(call, end, s)) is not None:
                found[s.number] = cut
    return tuple(found[n] for n in sorted(found))


def _cut(call: Call, end: ConnectionEnd, s: Step) -> Cut | None:
    answers = call.answers_to(s)
    if any(r.m.sip.code >= 200 or r.m.ts > end.ts for r in answers):
        return None  # Answered before, or after: then over a connection that took its place.
    after = s.m.ts > end.ts
    if after and (answers or _reopened(call, end, s)):
        return None
    told = _passed_on(call, end, s)
    judged = silence(call, s, told.m.ts if told is not None else max(end.ts, s.m.ts) + TIMEOUT)
    return Cut(end, s, after, _again(call, end, s), told, judged)


def _reopened(call: Call, end: ConnectionEnd, s: Step) -> bool:
    """The same two ports were in use again before this request, or for it: by another connection."""
    pair = {end.by, end.peer}
    return any(
        x.m.ts > end.ts and (x.m.src == end.by or x.m.ts - end.ts > _SOON)
        for x in call.steps[: s.number]
        if {x.m.src, x.m.dst} == pair and (x is not s or s.m.src == end.by)
    )


def _again(call: Call, end: ConnectionEnd, s: Step) -> Step | None:
    hosts, pair = {s.m.src.ip, s.m.dst.ip}, {end.by, end.peer}
    since = max(end.ts, s.m.ts)
    for x in call.steps[s.number :]:
        if x.m.ts > since and {x.m.src.ip, x.m.dst.ip} == hosts and {x.m.src, x.m.dst} != pair:
            return x
    return None


def _passed_on(call: Call, end: ConnectionEnd, s: Step) -> Step | None:
    """Whoever had sent the request on tells the one before it that it failed (RFC 3261 section 16.9)."""
    asked = (s.m.sip.method, s.m.sip.cseq, s.side_of_request)
    for r in call.steps[s.number :]:
        sip = r.m.sip
        onward = r.m.src.ip == s.m.src.ip and r.m.dst.ip not in (s.m.src.ip, s.m.dst.ip)
        if onward and sip.code >= 400 and r.m.ts > end.ts and (sip.method, sip.cseq, r.side_of_request) == asked:
            return r
    return None
