"""A call as rules want to see it: numbered messages, transactions, initial INVITEs, offers and answers. Pure.

Calls may be long (a phone registers under one Call-ID for months), so look-ups go through an index, not over all steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar, cast

from index.trace import CallTrace, TraceMessage
from sip.sdp import Media, SessionDescription

T = TypeVar("T")
SECOND = 1_000_000_000
T1, T2 = SECOND // 2, 4 * SECOND
TIMEOUT = 64 * T1
"""64*T1: 32 s (RFC 3261 section 17.1.1.2)."""
MAGIC = "z9hG4bK"
"""A branch that starts so is unique to one hop (RFC 3261 section 8.1.1.7)."""


@dataclass(frozen=True)
class Step:
    """One message with its 1-based number in the trace."""

    number: int
    m: TraceMessage

    def __hash__(self) -> int:
        """Within a call the number says it all; that of the whole message would be worked out at every look-up."""
        return self.number

    @cached_property
    def key(self) -> tuple[int | None, str, str]:
        """(CSeq number, CSeq method, top branch): its transaction."""
        via = self.m.sip.top_via
        return self.m.sip.cseq, self.m.sip.cseq_method, via.branch if via else ""

    @cached_property
    def side(self) -> str:
        """The tag of the party whose words these are, on every hop that they travel."""
        who = self.m.sip.from_ if self.m.sip.is_request else self.m.sip.to
        return who.tag if who else ""

    @property
    def side_of_request(self) -> str:
        """The tag of the party that asked: of the From header, in a request and in its responses."""
        who = self.m.sip.from_
        return who.tag if who else ""

    def header_line(self, name: str) -> str:
        """The line of a header as it was written."""
        found = self.m.sip.fields(name)
        return f"{found[0].written}: {found[0].value}" if found else ""


@dataclass(frozen=True, slots=True)
class Exchange:
    """An offer and its answer (RFC 3264); the answer may be missing."""

    offer: Step
    answer: Step | None

    @property
    def offered(self) -> SessionDescription:
        """The offer's SDP."""
        assert self.offer.m.sip.sdp is not None
        return self.offer.m.sip.sdp

    @property
    def answered(self) -> SessionDescription | None:
        """The answer's SDP."""
        return self.answer.m.sip.sdp if self.answer else None

    def streams(self, kind: str = "audio") -> Iterable[tuple[Media, Media]]:
        """Pairs of offered and answered streams of a kind, by their position (RFC 3264 section 6)."""
        if self.answered is None:
            return []
        return [(a, b) for a, b in zip(self.offered.media, self.answered.media, strict=False) if a.kind == kind]


@dataclass(frozen=True)
class Call:
    """The digested call."""

    trace: CallTrace
    steps: tuple[Step, ...]

    @cached_property
    def requests(self) -> tuple[Step, ...]:
        """Requests, retransmissions left out."""
        return tuple(s for s in self.steps if s.m.sip.is_request and not s.m.retransmission)

    @cached_property
    def responses(self) -> tuple[Step, ...]:
        """Responses, retransmissions left out."""
        return tuple(s for s in self.steps if not s.m.sip.is_request and not s.m.retransmission)

    @cached_property
    def invites(self) -> tuple[Step, ...]:
        """Dialog-creating INVITEs (no To tag), one for each hop and try."""
        return tuple(s for s in self.requests if s.m.sip.method == "INVITE" and not (s.m.sip.to and s.m.sip.to.tag))

    @cached_property
    def seen_from_start(self) -> bool:
        """The first message is a dialog-creating request: nothing before it is missing."""
        first = self.steps[0].m.sip if self.steps else None
        return (
            first is not None
            and first.is_request
            and first.method not in ("ACK", "BYE", "CANCEL", "PRACK")
            and not (first.to and first.to.tag)
        )

    @cached_property
    def _copies(self) -> dict[object, list[Step]]:
        out: dict[object, list[Step]] = {}
        for s in self.steps:
            out.setdefault((s.m.src, s.m.dst, s.m.sip.raw), []).append(s)
        return out

    def copies(self, step: Step) -> tuple[Step, ...]:
        """The message and its retransmissions on the same hop."""
        return tuple(self._copies[step.m.src, step.m.dst, step.m.sip.raw])

    @cached_property
    def _answers(self) -> dict[object, list[Step]]:
        out: dict[object, list[Step]] = {}
        for s in self.steps:
            if not s.m.sip.is_request:
                out.setdefault(s.key, []).append(s)
        return out

    def answers_to(self, request: Step) -> tuple[Step, ...]:
        """Responses of the request's transaction, wherever they went; an old branch is matched on its own hop only."""
        found = self._answers.get(request.key, [])
        if request.key[2].startswith(MAGIC):
            return tuple(found)
        return tuple(s for s in found if s.m.dst.ip == request.m.src.ip and s.m.src.ip == request.m.dst.ip)

    def answers_of(self, response: Step) -> tuple[Step, ...]:
        """All responses of the transaction that a response belongs to."""
        return tuple(self._answers.get(response.key, []))

    def final_of(self, request: Step) -> Step | None:
        """The first final response to a request."""
        return next((s for s in self.answers_to(request) if s.m.sip.code >= 200), None)

    def answered_after(self, step: Step) -> Step | None:
        """A 2xx to an INVITE later on: whatever went wrong in `step`, the call was answered all the same."""
        return next(
            (
                s
                for s in self.responses
                if s.number > step.number and s.m.sip.method == "INVITE" and 200 <= s.m.sip.code < 300
            ),
            None,
        )

    def onward(self, step: Step) -> tuple[Step, ...]:
        """The same request or response, sent on by the host that received it."""
        same = self._by_words.get((step.m.dst.ip, *_words(step)), ())
        return tuple(s for s in same if s.number > step.number)

    @cached_property
    def _by_words(self) -> dict[object, list[Step]]:
        out: dict[object, list[Step]] = {}
        for s in self.steps:
            out.setdefault((s.m.src.ip, *_words(s)), []).append(s)
        return out

    @cached_property
    def exchanges(self) -> tuple[Exchange, ...]:
        """Offers paired with answers, one hop and transaction at a time."""
        out = []
        for s in self.steps:
            sip = s.m.sip
            if s.m.retransmission or sip.sdp is None:
                continue
            if sip.is_request and sip.method in ("INVITE", "UPDATE", "PRACK"):
                answers = [a for a in self.answers_to(s) if a.m.sip.sdp is not None and a.m.sip.code < 300]
                # The answer of a provisional response is only a preview where a 2xx follows (RFC 3261 section 13.2.1).
                best = next((a for a in answers if a.m.sip.code >= 200), answers[0] if answers else None)
                out.append(Exchange(s, best))
            elif not sip.is_request and sip.method == "INVITE" and 200 <= sip.code < 300:
                late = self._late_offer(s)
                if late is not None:
                    out.append(late)
        return tuple(out)

    def _late_offer(self, s: Step) -> Exchange | None:
        """The 2xx offers, the ACK answers (RFC 3264 section 4); None where the INVITE offered, or is unseen."""
        invites = [r for r in self._requests.get(("INVITE", s.m.sip.cseq), []) if r.m.src.ip == s.m.dst.ip]
        if not invites or any(r.m.sip.sdp is not None for r in invites):
            return None
        acks = self._requests.get(("ACK", s.m.sip.cseq), [])
        return Exchange(s, next((r for r in acks if r.m.src.ip == s.m.dst.ip and r.m.sip.sdp is not None), None))

    @cached_property
    def _requests(self) -> dict[object, list[Step]]:
        out: dict[object, list[Step]] = {}
        for s in self.requests:
            out.setdefault((s.m.sip.method, s.m.sip.cseq), []).append(s)
        return out

    def acks(self, final: Step) -> list[Step]:
        """ACKs of a final response's transaction that name the same called party, on any hop."""
        found = self._requests.get(("ACK", final.m.sip.cseq), [])
        return [
            a
            for a in found
            if a.number > final.number
            and (not final.side or not (a.m.sip.to and a.m.sip.to.tag) or a.m.sip.to.tag == final.side)
        ]

    @cached_property
    def agreements(self) -> tuple[Exchange, ...]:
        """Answered exchanges, each once however many hops it travelled: the hop next to the answering side counts."""
        told: set[object] = set()
        out = []
        answered = ((x.answer.number, x) for x in self.exchanges if x.answer is not None)
        for _, x in sorted(answered, key=lambda pair: pair[0]):
            codecs = tuple((a.codecs, b.codecs, a.port == 0, b.port == 0) for a, b in x.streams())
            key = (x.offer.side, x.answer.side if x.answer else "", codecs)
            if key not in told:
                told.add(key)
                out.append(x)
        return tuple(out)

    @cached_property
    def _of_transaction(self) -> dict[object, list[Step]]:
        out: dict[object, list[Step]] = {}
        for s in self.steps:
            if s.m.sip.is_request:
                out.setdefault(s.key, []).append(s)
        return out

    def requests_of(self, key: object) -> tuple[Step, ...]:
        """Requests of a transaction (see `Step.key`), sent again or seen elsewhere included."""
        return tuple(self._of_transaction.get(key, ()))

    @cached_property
    def asked(self) -> dict[tuple[int | None, str, str], list[Step]]:
        """Requests by their transaction."""
        out: dict[tuple[int | None, str, str], list[Step]] = {}
        for s in self.requests:
            out.setdefault(s.key, []).append(s)
        return out

    def once(self, make: Callable[[Call], T]) -> T:
        """What several rules ask about the same call is worked out once."""
        if make not in self._made:
            self._made[make] = make(self)
        return cast(T, self._made[make])

    @cached_property
    def _made(self) -> dict[object, object]:
        return {}


def _words(s: Step) -> tuple[object, ...]:
    """What a message keeps on every hop."""
    sip = s.m.sip
    return sip.is_request, sip.method, sip.cseq, sip.code, s.side


def digest(trace: CallTrace) -> Call:
    """Number a trace's messages."""
    return Call(trace, tuple(Step(n, m) for n, m in enumerate(trace.messages, 1)))
