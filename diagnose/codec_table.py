"""Offers and answers of a call side by side: codecs, direction, DTMF, SRTP, addresses, and why a stream was refused.

Pure. It owns what was agreed by RFC 3264; it raises no finding. Keys of SRTP are never handed on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from diagnose.call import Exchange, Step, digest
from diagnose.compare_facts import codec_text, keying
from diagnose.media_address import Surroundings
from index.trace import CallTrace
from sip.sdp import Codec, Media, SessionDescription

NOT_SPEECH = frozenset({"telephone-event", "cn", "red", "ulpfec", "rtx"})
"""Formats that accompany a codec: agreeing on them alone agrees on nothing."""
REFUSALS = (415, 488, 606)


@dataclass(frozen=True, slots=True)
class Format:
    """One line of a stream's list, in the order of preference."""

    pt: str
    name: str
    """name/clock, with channels where there are two."""
    fmtp: str
    agreed: bool


@dataclass(frozen=True, slots=True)
class StreamSide:
    """What one side says about a stream."""

    formats: tuple[Format, ...]
    direction: str
    ptime: str
    dtmf: tuple[str, ...]
    """telephone-event: payload type/clock and events."""
    profile: str
    srtp: tuple[str, ...]
    """How keys are given; empty where it is plain or nothing is said."""
    address: str
    port: int
    note: str
    """Why the address is not that of the signalling; '' where it is."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One m= line and what became of it."""

    position: int
    kind: str
    state: str
    """agreed, refused, or open (no answer)."""
    agreed: tuple[str, ...]
    """Codecs of both sides in the order of the answer; the first one is the likeliest to be used."""
    flow: str
    """Who sends, in words."""
    why: str
    """Why it was refused, or what is odd about the agreement."""
    offer: StreamSide
    answer: StreamSide | None


@dataclass(frozen=True, slots=True)
class Table:
    """An offer and what came of it."""

    number: int
    offer: int
    """Number of the message."""
    offered_in: str
    offerer: str
    answer: int | None
    """Of the answer, or of the response that refused the offer."""
    answered_in: str
    answerer: str
    hops: int
    """On how many hops the same two descriptions were seen."""
    streams: tuple[Stream, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON object of the public contract."""
        return asdict(self)


def tables(trace: CallTrace) -> tuple[Table, ...]:
    """Every exchange of the call, in order; hops that passed it on unchanged are counted, not repeated."""
    call = digest(trace)
    around = Surroundings(call)
    out: list[Table] = []
    told: dict[object, int] = {}
    for x in call.exchanges:
        last = x.answer or call.final_of(x.offer)
        key = (x.offer.m.sip.body, x.offer.m.sip.cseq, last.m.sip.body if last else b"", last.m.sip.code if last else 0)
        if key in told:
            at = told[key]
            out[at] = replace(out[at], hops=out[at].hops + 1)
            continue
        told[key] = len(out)
        out.append(_table(around, x, last, len(out) + 1))
    return tuple(out)


def _table(around: Surroundings, x: Exchange, last: Step | None, number: int) -> Table:
    # A refusal may hold a description of what would have been possible; it is no answer.
    answered = x.answered if x.answer else None
    streams = []
    for n, offered in enumerate(x.offered.media):
        got = answered.media[n] if answered is not None and n < len(answered.media) else None
        streams.append(_stream(around, x, last, n, offered, got))
    return Table(
        number,
        x.offer.number,
        _title(x.offer),
        x.offer.m.src.ip,
        last.number if last else None,
        _title(last) if last else "",
        last.m.src.ip if last else "",
        1,
        tuple(streams),
    )


def _title(s: Step) -> str:
    sip = s.m.sip
    if not sip.is_request:
        return f"{sip.code} {sip.reason}".strip()
    again = sip.method == "INVITE" and sip.to is not None and sip.to.tag
    return f"re-{sip.method}" if again else sip.method


def _stream(around: Surroundings, x: Exchange, last: Step | None, n: int, offered: Media, got: Media | None) -> Stream:
    common = common_codecs(offered, got) if got is not None else ()
    names = tuple(codec_text(c) for c in common)
    alone = tuple(f for f in got.formats if f in offered.formats) if got is not None and not got.codecs else ()
    side = _side(around, x.offer, offered, n, names, x.offered)
    other = None
    if got is not None and x.answer is not None and x.answered is not None:
        other = _side(around, x.answer, got, n, names, x.answered)
    if x.answer is None:
        refused = last is not None and last.m.sip.code >= 300
        state, why = ("refused", _why_failed(x, last, offered)) if refused and last else ("open", _why_open(x, last))
    elif got is None:
        state = "refused"
        why = "the answer has fewer streams than the offer, which RFC 3264 section 6 does not allow"
    elif got.port == 0 or offered.port == 0:
        state, why = "refused", _why_refused(x, n, offered, got)
    else:
        state = "agreed"
        why = (
            "" if common or alone or not got.codecs else "the answer names no codec of the offer (RFC 3264 section 6.1)"
        )
    spoken = tuple(c for c in names if c.partition("/")[0].lower() not in NOT_SPEECH)
    flow = _flow(offered, got) if state == "agreed" and got is not None else ""
    return Stream(n + 1, offered.kind, state, spoken + alone if state == "agreed" else (), flow, why, side, other)


def _same(a: Codec, b: Codec) -> bool:
    return (a.name.upper(), a.clock, a.channels) == (b.name.upper(), b.clock, b.channels)


def common_codecs(offered: Media, answered: Media) -> tuple[Codec, ...]:
    """Formats of the answer that the offer has too, under whatever payload type."""
    return tuple(c for c in answered.codecs if any(_same(c, o) for o in offered.codecs))


def _side(
    around: Surroundings, step: Step, m: Media, n: int, agreed: Iterable[str], sdp: SessionDescription
) -> StreamSide:
    both = set(x.upper() for x in agreed)
    if m.codecs:
        formats = tuple(Format(str(c.pt), codec_text(c), c.fmtp or "", codec_text(c).upper() in both) for c in m.codecs)
    else:
        formats = tuple(Format("", f, "", False) for f in m.formats)
    dtmf = tuple(
        f"{c.pt}/{c.clock}" + (f" ({c.fmtp})" if c.fmtp else "")
        for c in m.codecs
        if c.name.lower() == "telephone-event"
    )
    keys = keying(m, sdp)
    setup = m.attribute("setup") or next((v or "" for k, v in sdp.attributes if k == "setup"), "")
    if setup and any(k.startswith("fingerprint") for k in keys):
        keys.append(f"setup {setup}")
    note = around.why_elsewhere(step, m, n) if m.port else ""
    ptime = m.attribute("ptime") or ""
    return StreamSide(formats, m.direction, ptime, dtmf, m.proto, tuple(keys), m.address, m.port, note)


def _flow(offered: Media, got: Media) -> str:
    """Both have to want a way for media to go it (RFC 3264 section 6.1)."""
    forth = offered.direction in ("sendrecv", "sendonly") and got.direction in ("sendrecv", "recvonly")
    back = got.direction in ("sendrecv", "sendonly") and offered.direction in ("sendrecv", "recvonly")
    if forth and back:
        return "both ways"
    return "from the offerer only" if forth else "from the answerer only" if back else "nobody sends"


def _why_open(x: Exchange, last: Step | None) -> str:
    if not x.offer.m.sip.is_request:
        return "the ACK with the answer is missing or has no SDP"
    if last is None:
        return "no final response was seen"
    return f"{last.m.sip.code} came without an answer in SDP"


def _why_failed(x: Exchange, last: Step, offered: Media) -> str:
    """Why a failing response came, as far as it is about media."""
    sip = last.m.sip
    parts = [f"{sip.code} {sip.reason}".strip() + f" from {last.m.src.ip}"]
    if sip.code not in REFUSALS:
        return parts[0] + ": the call failed, not this stream alone"
    parts += [f"Warning: {w}" for w in sip.all("Warning")]
    could = [m for m in (sip.sdp.media if sip.sdp else ()) if m.kind == offered.kind]
    parts += _mismatch(offered, could[0]) if could else []
    if len(parts) == 1:
        parts.append("it does not say what did not fit; usual are codecs, or SRTP against plain RTP")
    return "; ".join(parts)


def _mismatch(offered: Media, able: Media) -> list[str]:
    """What two descriptions of a stream do not share."""
    out = []
    if offered.proto.upper() != able.proto.upper():
        out.append(f"it was offered as {offered.proto}, the other side takes {able.proto}")
    speech = [c for c in able.codecs if c.name.lower() not in NOT_SPEECH]
    if speech and not any(_same(c, o) for c in speech for o in offered.codecs):
        out.append(f"no common codec: it could take {', '.join(codec_text(c) for c in speech)}")
    return out


def _why_refused(x: Exchange, n: int, offered: Media, got: Media) -> str:
    """Why a stream has port 0 in the answer."""
    if offered.port == 0:
        return "the offer itself switches it off (port 0)"
    found = _mismatch(offered, got)
    if found:
        return "; ".join(found)
    pairs = enumerate(zip(x.offered.media, x.answered.media if x.answered else (), strict=False))
    for at, (a, b) in pairs:
        if at != n and a.kind == offered.kind and a.port and b.port:
            return f"stream {at + 1}, of the same kind as {a.proto}, was taken in its place"
    if offered.kind != "audio":
        return f"the answerer takes no {offered.kind}; the rest of the call is not affected (RFC 3264 section 6)"
    return "port 0 in the answer, which does not say why; usual are codecs, or SRTP against plain RTP"
