"""The dialogs of a call: who answered whom, and the requests inside each. Pure; it judges nothing."""

from __future__ import annotations

from dataclasses import dataclass

from diagnose.call import SECOND, Call, Step

_FEW = 200
"""Of a flood only the first ones are looked at."""


def tags(step: Step) -> tuple[str, str]:
    """From tag and To tag."""
    sip = step.m.sip
    return sip.from_.tag if sip.from_ else "", sip.to.tag if sip.to else ""


def inside(step: Step) -> bool:
    """A request inside a dialog (it has a To tag)."""
    return step.m.sip.is_request and bool(tags(step)[1])


@dataclass(frozen=True, slots=True)
class Dialog:
    """An answered INVITE and what followed between the same two tags."""

    caller: str
    called: str
    """The tags of the two sides."""
    answers: tuple[Step, ...]
    """The 2xx that made it, once for each hop."""
    requests: tuple[Step, ...]
    """Later requests of both sides (ACKs, too), once for each hop."""

    @property
    def answer(self) -> Step:
        """The 2xx where it was first seen, next to the called side."""
        return self.answers[0]

    @property
    def bye(self) -> Step | None:
        """The first BYE of either side."""
        return next((r for r in self.requests if r.m.sip.method == "BYE"), None)


def dialogs(call: Call) -> tuple[Dialog, ...]:
    """All answered dialogs, in the order of their answers; a 2xx to a re-INVITE makes none."""
    return call.once(_dialogs)


def _dialogs(call: Call) -> tuple[Dialog, ...]:
    made: dict[tuple[str, str], list[Step]] = {}
    for s in call.responses:
        if s.m.sip.method != "INVITE" or not 200 <= s.m.sip.code < 300:
            continue
        pair = tags(s)
        if pair[::-1] in made or (pair in made and made[pair][0].m.sip.cseq != s.m.sip.cseq):
            continue
        made.setdefault(pair, []).append(s)
    later: dict[frozenset[str], list[Step]] = {}
    for r in call.requests:
        if inside(r):
            later.setdefault(frozenset(tags(r)), []).append(r)
    return tuple(
        Dialog(*pair, tuple(answers), tuple(r for r in later.get(frozenset(pair), ()) if r.number > answers[0].number))
        for pair, answers in made.items()
    )


def stray_acks(call: Call, final: Step) -> list[Step]:
    """ACKs to the answering host after its 2xx that fit no response at all, by their CSeq number or their To tag."""
    return [a for a in call.once(_unfitting) if a.number > final.number and a.m.dst.ip == final.m.src.ip]


def _unfitting(call: Call) -> tuple[Step, ...]:
    numbers = {s.m.sip.cseq for s in call.requests if s.m.sip.method == "INVITE"}
    known = {tags(s)[1] for s in call.responses if s.m.sip.method == "INVITE"}
    acks = (a for a in call.requests if a.m.sip.method == "ACK")
    return tuple(a for a in acks if a.m.sip.cseq not in numbers or tags(a)[1] not in known)[:_FEW]


def from_the_middle(ends: list[Step]) -> Step | None:
    """A host that says BYE in both directions, in the name of either side, and was told so by nobody."""
    for a in ends:
        for b in ends:
            together = a.number < b.number and b.m.ts - a.m.ts < SECOND and a.m.src.ip == b.m.src.ip
            both = a.m.sip.method == b.m.sip.method == "BYE" and a.side != b.side and a.m.dst.ip != b.m.dst.ip
            if together and both and not any(e.m.dst.ip == a.m.src.ip and e.number < b.number for e in ends):
                return a
    return None
