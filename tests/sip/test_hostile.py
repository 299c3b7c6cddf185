"""Messages that mean harm: nothing raises, no byte is lost, and the work grows no faster than the length."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.message import SipMessage, parse_message
from sip.text import bytes_of, text_of

INVITE = (
    b"INVITE sip:+4930123@198.51.100.10:5060;user=phone SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 203.0.113.5:5060;branch=z9hG4bK1, SIP/2.0/TLS [2001:db8::1]:5061\r\n"
    b'From: "A <b>" <sip:alice@203.0.113.5>;tag=1\r\nTo: <sip:+4930123@198.51.100.10>\r\n'
    b"Call-ID: one@x\r\nCSeq: 7 INVITE\r\nContact: <sip:alice@203.0.113.5>\r\n"
    b"Content-Type: application/sdp\r\nContent-Length: 49\r\n\r\n"
    b"v=0\r\nc=IN IP4 203.0.113.5\r\nm=audio 4000 RTP/AVP 8"
)
BUSY = (
    b"SIP/2.0 486 Busy Here\r\nv: SIP/2.0/UDP h\r\nf: <sip:a@h>;tag=1\r\nt: <sip:b@h>;tag=2\r\n"
    b"i: two@x\r\nCSeq: 3 INVITE\r\nServer: box\r\nl: 0\r\n\r\n"
)


def with_header(*lines: bytes) -> SipMessage:
    return parse_message(b"\r\n".join((b"OPTIONS sip:a@b SIP/2.0", b"Call-ID: x", *lines, b"", b"")))


def test_a_header_of_64_kib() -> None:
    value = b"x" * 65536
    m = with_header(b"Subject: " + value, b"To: <sip:b@h>")
    assert m.first("Subject") == value.decode() and m.to is not None and m.defects == ()


def steps(work: Callable[[], object]) -> int:
    """Lines of Python that `work` runs: time that is the same on every machine."""
    count = 0

    def tracer(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal count
        count += event == "line"
        return tracer

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def everything(m: SipMessage) -> None:
    assert (m.vias, m.top_via, m.from_, m.to, m.contacts, m.sdp, m.user_agent, m.call_id, m.cseq, m.lines()) is not None
    for name in ("Via", "Contact", "Route", "Subject"):
        m.first(name)
        m.all(name)


@pytest.mark.parametrize(
    "lines",
    [
        lambda n: b"Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\n" * n,
        lambda n: b"Via: " + b"SIP/2.0/UDP h;branch=z9hG4bK1, " * n + b"\r\n",
        lambda n: b"Via: SIP/2.0/UDP h\r\n" + b" ;a\r\n" * n,
        lambda n: b"Contact: " + b'"' * n + b"\r\n",
        lambda n: b"Contact: " + b"<" * n + b"\r\n",
        lambda n: b"From: <sip:a@h>" + b";p=1" * n + b"\r\n",
        lambda n: b"no header\r\n" * n,
    ],
    ids=["headers", "list", "folds", "quotes", "brackets", "params", "junk"],
)
def test_work_grows_with_the_length_only(lines: Callable[[int], bytes]) -> None:
    def work(n: int) -> Callable[[], None]:
        raw = b"INVITE a SIP/2.0\r\nCSeq: 1 INVITE\r\n" + lines(n) + b"\r\n"
        return lambda: everything(parse_message(raw))

    work(3)()
    few, many = steps(work(300)), steps(work(3000))
    assert many < 12 * few


@pytest.mark.parametrize(
    "value",
    [b" " * 60_000, b"/" * 60_000, b" /" * 30_000, b":" * 60_000, b"\\" * 60_000, b'"\\' * 30_000, b";" * 60_000],
)
def test_long_runs_of_one_byte_end(value: bytes) -> None:
    """A pattern that goes back over such a run would take minutes here."""
    for name in (b"Via", b"From", b"Contact", b"CSeq", b"Content-Length", b"Content-Type"):
        everything(with_header(name + b": SIP/2.0" + value + b"x", b"", value))
    everything(parse_message(b"SIP/" + value + b"\r\n\r\n"))
    everything(parse_message(value))


def test_ten_thousand_vias_are_all_there() -> None:
    m = with_header(*[b"Via: SIP/2.0/UDP h%d;branch=z9hG4bK%d" % (i, i) for i in range(10_000)])
    assert len(m.vias) == 10_000 and m.vias[9_999].branch == "z9hG4bK9999"


@given(st.binary(max_size=600))
def test_no_bytes_raise(raw: bytes) -> None:
    m = parse_message(raw)
    everything(m)
    assert m.raw == raw and bytes_of("\n".join(m.lines())) == raw.replace(b"\r\n", b"\n")


_HOSTILE = st.one_of(
    st.binary(max_size=4),
    st.sampled_from(
        [b"\r\n", b"\n", b"\r\n ", b"\x00", b"\x1b[2J", b'"', b"<", b">", b";", b",", b":", b"@", b"\xc2\xad"]
    ),
    st.sampled_from(INVITE.split(b"\r\n")),
)


@st.composite
def mutated(draw: st.DrawFn, *originals: bytes) -> bytes:
    """A valid message in which some places were overwritten, doubled or removed."""
    raw = draw(st.sampled_from(originals))
    for _ in range(draw(st.integers(1, 5))):
        at, size = draw(st.integers(0, len(raw))), draw(st.integers(0, 12))
        raw = raw[:at] + draw(_HOSTILE) + raw[at + size :]
    return raw


@given(mutated(INVITE, BUSY))
def test_no_mutation_raises(raw: bytes) -> None:
    m = parse_message(raw)
    everything(m)
    assert m.body in raw and all(h.line < len(m.lines()) for h in m.headers)
    for h in m.headers:
        assert text_of(raw).replace("\r\n", "\n").split("\n")[h.line].startswith(h.written)
