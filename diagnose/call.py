"""A call as rules want to see it: numbered messages, transactions, the initial INVITE, answers, offers and answers. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from index.trace import CallTrace, TraceMessage
from sip.sdp import Media, SessionDescription

SECOND = 1_000_000_000
T1 = SECOND // 2
TIMEOUT = 64 * T1
"""64*T1: 32 s (RFC 3261 section 17.1.1.2)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One message with its 1-based number in the trace."""

    number: int
    m: TraceMessage

    @property
    def key(self) -> tuple[int | None, str, str]:
        """(CSeq number, CSeq method, top branch): its transaction."""
        via = self.m.sip.top_via
        return self.m.sip.cseq, self.m.sip.cseq_method, via.branch if via else ""

    def line(self, start: str) -> str:
        """The first line of the message that begins so (any case); '' where there is none."""
        low = start.lower()
        return next((x for x in self.m.sip.lines() if x.lower().startswith(low)), "")

    def header_line(self, name: str) -> str:
        """The line of a header as it was written."""
        found = self.m.sip.fields(name)
        return f"{found[0].written}: {found[0].value}" if found else ""


@dataclass(frozen=True, slots=True)
class Exchange:
    """An offer and its answer (RFC 3264); the answer may be missing."""

    offer: Step
    answer: Step | None
    preview: bool
    """The answer stands in an unreliable provisional response, so it is only a preview (RFC 3261 section 13.2.1)."""

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
        """Pairs of offered and answered streams of a kind, by their position."""
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

    def copies(self, step: Step) -> tuple[Step, ...]:
        """The message and its retransmissions on the same hop."""
        return tuple(
            s for s in self.steps if s.m.src == step.m.src and s.m.dst == step.m.dst and s.m.sip.raw == step.m.sip.raw
        )

    def answers_to(self, request: Step) -> tuple[Step, ...]:
        """Responses on the request's hop with its transaction key (the branch may be missing in old stacks)."""
        return tuple(
            s
            for s in self.steps
            if not s.m.sip.is_request
            and s.key == request.key
            and s.m.dst.ip == request.m.src.ip
            and s.m.src.ip == request.m.dst.ip
        )

    def final_of(self, request: Step) -> Step | None:
        """The first final response to a request."""
        return next((s for s in self.answers_to(request) if s.m.sip.code >= 200), None)

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
                best = next((a for a in answers if a.m.sip.code >= 200), answers[0] if answers else None)
                preview = best is not None and best.m.sip.code < 200 and not best.m.sip.first("RSeq")
                out.append(Exchange(s, best, preview))
            elif not sip.is_request and sip.method == "INVITE" and 200 <= sip.code < 300:
                invite = next(
                    (r for r in self.steps if r.m.sip.is_request and r.key == s.key and r.m.src.ip == s.m.dst.ip), None
                )
                if invite is None or invite.m.sip.sdp is not None:
                    continue
                # A late offer: the 2xx offers, the ACK answers (RFC 3264 section 4).
                ack = next(
                    (
                        r
                        for r in self.steps
                        if r.m.sip.method == "ACK"
                        and r.m.sip.is_request
                        and r.m.sip.cseq == sip.cseq
                        and r.m.src.ip == s.m.dst.ip
                        and r.m.sip.sdp is not None
                    ),
                    None,
                )
                out.append(Exchange(s, ack, False))
        return tuple(out)


def digest(trace: CallTrace) -> Call:
    """Number a trace's messages."""
    return Call(trace, tuple(Step(n, m) for n, m in enumerate(trace.messages, 1)))
