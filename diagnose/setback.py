"""A capture whose clock was set back in the middle of a call: its messages in the order in which they were captured.

Stored messages are in the order of their times, which is wrong then: an answer may stand before what it answers. It
believes the numbers of capture over times only where times contradict the protocol and numbers do so less: two captures
that were put one behind the other look alike, and there times are right. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from capture.flags import FRAGMENT_LOST, HEADERS_CUT, STREAM_GAP, TRUNCATED
from diagnose.call import SECOND
from diagnose.finding import Finding
from diagnose.guards import JUMP
from index.trace import CallTrace, SetBack, TraceMessage

LEAST = 1_000_000_000
"""Times of one capture may disagree with its order by less, without anybody having set a clock."""
AFTER = JUMP + SECOND
"""How long after the message before it one is taken to be that came when the clock had been set back: nobody knows, and
so it is as if the clock had been set forward, which every rule about time is on its guard against."""
_LATE = FRAGMENT_LOST | HEADERS_CUT | STREAM_GAP | TRUNCATED
"""What reassembly gave up is handed on long after its time."""
_SESSION = 26
"""Messages with the same number above these bits were numbered by one decoder (see siptrail.recording)."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """A trace as it would be with a clock that goes on."""

    trace: CallTrace
    numbers: tuple[int, ...]
    """Of its messages, in order: their numbers in the trace as it is stored."""
    sure: bool
    """The protocol says so, too; otherwise times may be right."""

    def told_of(self, found: Iterable[Finding]) -> list[Finding]:
        """Findings about it, with the numbers of the stored trace."""
        return [
            replace(
                f,
                evidence=tuple(
                    e if e.message is None else replace(e, message=self.numbers[e.message - 1]) for e in f.evidence
                ),
            )
            for f in found
        ]


def repaired(trace: CallTrace) -> Repaired | None:
    """None where no clock was set back, which is nearly always."""
    groups: dict[tuple[str, int], list[int]] = {}
    for n, m in enumerate(trace.messages):
        groups.setdefault((m.node, m.seq >> _SESSION), []).append(n)
    times, back = [m.ts for m in trace.messages], 0
    for group in groups.values():
        back = max(back, _moved(trace.messages, sorted(group, key=lambda n: trace.messages[n].seq), times))
    if not back:
        return None
    order = sorted(range(len(times)), key=lambda n: (times[n], trace.messages[n].seq))
    messages = tuple(_anew(replace(trace.messages[n], ts=times[n]) for n in order))
    doubt = _contradictions(messages) - _contradictions(trace.messages)
    if doubt > 0:
        return None
    first = next(n for n, old in enumerate(order) if times[old] != trace.messages[old].ts)
    told = SetBack(back, first, first + 1)
    made = replace(trace, messages=messages, capture_end=messages[-1].ts, ends=(), set_back=told)
    return Repaired(made, tuple(n + 1 for n in order), doubt < 0)


def _anew(messages: Iterable[TraceMessage]) -> Iterator[TraceMessage]:
    """Which of equal messages is the first sending, in this order."""
    seen: set[object] = set()
    for m in messages:
        key = (m.src, m.dst, m.transport, m.sip.raw)
        again = key in seen and m.transport == "udp"
        seen.add(key)
        yield m if m.retransmission == again else replace(m, retransmission=again)


def _moved(messages: Sequence[TraceMessage], group: Sequence[int], times: list[int]) -> int:
    """Let the times of a group go on behind each step back; the greatest step, 0 where there is none."""
    shift = greatest = 0
    latest = messages[group[0]].ts
    for n in group:
        m = messages[n]
        if not m.flags & _LATE and (step := latest - (m.ts + shift)) > LEAST:
            shift += step + AFTER
            greatest = max(greatest, step)
        times[n] = m.ts + shift
        latest = max(latest, times[n])
    return greatest


def _contradictions(messages: Sequence[TraceMessage]) -> int:
    """How often this order is not that of SIP: a response before its request, a CSeq that falls, what is inside of a
    dialog before what makes it."""
    found = 0
    asked: set[object] = set()
    early: set[object] = set()
    cseq: dict[object, int] = {}
    inside: set[str] = set()
    begun: set[str] = set()
    behind: set[object] = set()
    for m in messages:
        sip = m.sip
        via = sip.top_via
        key = (sip.cseq, sip.cseq_method, via.branch if via else "")
        if not sip.is_request:
            if (key, m.dst, m.src) not in asked:
                early.add((key, m.dst, m.src))
            continue
        hop = (key, m.src, m.dst)
        if hop in early and hop not in asked:
            found += 1
        asked.add(hop)
        ours, theirs = sip.from_.tag if sip.from_ else "", sip.to.tag if sip.to else ""
        way, number = (ours, m.src, m.dst), sip.cseq or 0
        if sip.method in ("ACK", "CANCEL"):
            behind.add((way, number))
            continue
        found += (way, number) in behind
        found += cseq.get(way, number) > number
        cseq[way] = number
        if theirs:
            inside |= {ours, theirs}
        elif sip.method == "INVITE" and ours not in begun:
            found += ours in inside
            begun.add(ours)
    return found
