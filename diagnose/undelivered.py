"""ICMP errors beside the messages that they quote. Pure; it judges nothing."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.call import Call, Step
from index.trace import Endpoint, IcmpError


def undelivered(call: Call) -> Iterator[tuple[IcmpError, Step]]:
    """Each error with the message that it is about; errors about messages that are not here are left out."""
    if not call.trace.icmp:
        return
    sent: dict[tuple[Endpoint, Endpoint, str, int | None, int], list[Step]] = {}
    for s in call.steps:
        sent.setdefault((s.m.src, s.m.dst, s.m.sip.method, s.m.sip.cseq, s.m.sip.code), []).append(s)
    for e in call.trace.icmp:
        whole = sent.get((e.src, e.dst, e.sip.method, e.sip.cseq, e.sip.code), [])
        # What is quoted may end before the CSeq: then its start line has to do.
        if not whole and e.sip.cseq is None:
            whole = [s for s in call.steps if (s.m.src, s.m.dst) == (e.src, e.dst) and _begins(s, e)]
        before = [s for s in whole if s.m.ts <= e.ts]
        if before:
            yield e, before[-1]


def _begins(s: Step, e: IcmpError) -> bool:
    return bool(e.sip.start_line) and s.m.sip.start_line == e.sip.start_line


def refused_hops(call: Call) -> frozenset[tuple[Endpoint, Endpoint]]:
    """(sender, target) of what an ICMP error says was not delivered: that nothing answers there is explained."""
    return call.once(_refused_hops)


def _refused_hops(call: Call) -> frozenset[tuple[Endpoint, Endpoint]]:
    return frozenset((e.src, e.dst) for e, _ in undelivered(call))
