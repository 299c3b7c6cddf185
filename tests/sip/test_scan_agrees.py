"""The kernels that read every message on the wire against the parser that reads one for display: the same answers.

What a list shows comes from the kernels, what a ladder shows from the parser; a call must not be two things.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from capture.frames import FrameBlock, Interface
from capture.pipeline import Decoder
from capture.scan import CALL_ID, FROM_USER, METHOD, TO_USER
from sip.address import parse_name_addr
from sip.message import SipMessage, parse_message
from sip.text import bytes_of

INVITE = (
    b"INVITE sip:+4930123@198.51.100.10:5060;user=phone SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 203.0.113.5:5060;branch=z9hG4bK1\r\n"
    b'From: "A \\"<b>" <sip:alice:secret@203.0.113.5;x=y>;tag=1\r\nTo: sip:bob@198.51.100.10;user=phone\r\n'
    b"Call-ID: one@x\r\nCSeq: 7 INVITE\r\nUser-Agent: phone 1\r\nContent-Length: 0\r\n\r\n"
)
ANSWER = (
    b"SIP/2.0 486 Busy Here\r\nv: SIP/2.0/UDP h\r\nt : <tel:+49-30;phone-context=b@c>;tag=2\r\n"
    b"F: Alice<sips:%61lice@h>;tag=1\r\ni:two@x\r\nCSEQ:\t0003\tINVITE\r\nl: 0\r\n\r\n"
)


@dataclass(frozen=True)
class Pieces:
    """What both see of a message."""

    method: bytes | None
    code: int
    cseq: int | None
    call_id: bytes
    from_user: bytes | None
    to_user: bytes | None


def unfolded(piece: bytes) -> bytes:
    """The kernels hand out slices, so a folded value still has its line ends (RFC 3261 section 7.3.1)."""
    return b" ".join(part.strip(b" \t\r") for part in piece.split(b"\n")).strip(b" \t\r\n")


def scanned(raw: bytes) -> Pieces | None:
    """What the kernels see; None where they see no SIP at all."""
    udp = struct.pack(">HHHH", 5060, 5060, len(raw) + 8, 0) + raw
    frame = struct.pack(">BBHHHBBHII", 0x45, 0, len(udp) + 20, 7, 0, 64, 17, 0, 1, 2) + udp
    one = np.array([len(frame)], np.int32)
    blocks = Decoder().feed(
        FrameBlock(
            np.frombuffer(frame, np.uint8),
            np.zeros(1, np.int64),
            one,
            one,
            np.array([10**18], np.int64),
            np.zeros(1, np.int32),
            (Interface("x", 101),),
        )
    )
    found = [b for b in blocks if len(b.code)]
    if not found:
        return None
    got, data = found[0], found[0].data.tobytes()

    def piece(which: int) -> bytes:
        start, length = (int(x) for x in got.slices[which, 0])
        return data[start : start + length]

    return Pieces(
        unfolded(piece(METHOD)),
        int(got.code[0]),
        int(got.cseq[0]) if got.cseq[0] >= 0 else None,
        unfolded(piece(CALL_ID)),
        unfolded(piece(FROM_USER)),
        unfolded(piece(TO_USER)),
    )


def user(m: SipMessage, name: str) -> bytes | None:
    """None where the two may differ: several such headers, a scheme nobody calls, a URI with what no URI may hold."""
    fields = m.fields(name)
    if not fields:
        return b""
    uri = parse_name_addr(fields[0].value).uri
    strange = re.search(r"[ \t\r\n<>]", uri.text) or re.search(r"<[ \t\r]", fields[0].value)
    return bytes_of(uri.user) if uri.scheme in ("sip", "sips", "tel") and not strange and len(fields) == 1 else None


def parsed(raw: bytes) -> Pieces:
    m = parse_message(raw)
    return Pieces(
        bytes_of(m.method) if m.is_request or len(m.fields("CSeq")) < 2 else None,
        min(m.code, 32767),
        m.cseq,
        bytes_of(m.call_id),
        user(m, "From"),
        user(m, "To"),
    )


def agree(raw: bytes) -> bool:
    """Whether there was anything to compare; fails where the two differ."""
    seen, said = scanned(raw), parsed(raw)
    if seen is None:
        return False
    assert (seen.code, seen.call_id) == (said.code, said.call_id)
    if said.method is not None:
        assert seen.method == said.method
    if said.cseq is not None:
        # A number of more than 18 digits is none to the parser and cut by the kernels.
        assert seen.cseq == said.cseq
    if said.from_user is not None:
        assert seen.from_user == said.from_user
    if said.to_user is not None:
        assert seen.to_user == said.to_user
    return True


@pytest.mark.parametrize(
    ("raw", "pieces"),
    [
        (INVITE, Pieces(b"INVITE", 0, 7, b"one@x", b"alice", b"bob")),
        (ANSWER, Pieces(b"INVITE", 486, 3, b"two@x", b"%61lice", b"+49-30")),
    ],
)
def test_whole_messages(raw: bytes, pieces: Pieces) -> None:
    assert scanned(raw) == parsed(raw) == pieces


@pytest.mark.parametrize(
    "value",
    [
        b"<sip:a@h>",
        b"<sip:h>",
        b"<sips:a:b@h>",
        b"sip:a@h;tag=1",
        b"sip:a;b=c@h;tag=1",
        b"A B <sip:a@h>",
        b'"<sip:no@h>" <sip:yes@h>',
        b'"\\"<sip:no@h>" <sip:yes@h>',
        b'"open <sip:no@h>',
        b"<tel:+49 30>",
        b"<tel:110>",
        b"tel:110;phone-context=x",
        b"<tel:110@h>",
        b"<TEL:110>",
        b"<SIP:a@h>",
        b"<sip:\xff\xc3\x00@h>",
        b"<sip:a@h",
        b"<sip:a?b@h>",
        b"<sip:@h>",
        b"<sip:;x@h>",
        b"<sip:a@b@c>",
        b"<sip:\xc2\xa0a\xc2\xa0@h>",
        b"\xc2\xa0<sip:a@h>",
        b"\r\n <sip:a@h>\r\n ;tag=2",
        b"",
        b"<>",
        b"*",
    ],
)
@pytest.mark.parametrize("name", [b"From", b"f", b"To", b"T "])
def test_addresses(name: bytes, value: bytes) -> None:
    assert agree(b"BYE sip:a@b SIP/2.0\r\nCall-ID: c\r\nCSeq: 1 BYE\r\n" + name + b": " + value + b"\r\n\r\n")


@pytest.mark.parametrize(
    "start",
    [
        b"SIP/2.0 200 OK",
        b"SIP/2.0   200   OK",
        b"SIP/2.0 200",
        b"SIP/2.0 200OK",
        b"SIP/2.0 OK",
        b"SIP/2.0 ",
        b"SIP/2.0 000 zero",
        b"SIP/2.0 99999 five",
        b"SIP/2.0 4294967301 ten",
        b"SIP/2.0\t200 OK",
        b"INVITE sip:a@b SIP/2.0",
        b"INVITE  sip:a@b  SIP/2.0",
        b"!%*_+`.'~ sip:a@b SIP/2.0",
    ],
)
def test_start_lines(start: bytes) -> None:
    assert agree(start + b"\r\nCall-ID: c\r\nCSeq: 12 UPDATE\r\nFrom: <sip:a@h>\r\n\r\n")


@pytest.mark.parametrize(
    "header",
    [
        b"Call-ID: a b  c ",
        b"Call-ID:\ta\t",
        b"Call-ID: \x0b\x0c\xc2\x85a\xc2\xa0\x1f",
        b"Call-ID: \xff\x00\x1b",
        b"Call-ID:",
        b"Call-ID: a\r\n b",
        b"Call-ID:\r\n a",
        b"call-id \t : a",
        b"i: a\r\nCall-ID: b",
        b"\x0bCall-ID: a",
        b" Call-ID: a",
        b"Call-ID\r\n : a",
        b"Call-ID: a\r\n\r\nCall-ID: b",
        b"Call-ID: a\n\nCall-ID: b",
        b"Call-ID: a\r\r\n\r\r\nCSeq: 9 X",
        b"\xe2\x84\xaa: a",
        b"CSeq: 5\tBYE",
        b"CSeq:5BYE",
        b"CSeq: BYE",
        b"CSeq:  0000000000000005   BYE  ",
        b"CSeq: 5",
    ],
)
@pytest.mark.parametrize("start", [b"BYE sip:a@b SIP/2.0", b"SIP/2.0 200 OK"])
def test_headers(start: bytes, header: bytes) -> None:
    assert agree(start + b"\r\n" + header + b"\r\nCSeq: 5 BYE\r\n\r\n")


_CHANGES = st.one_of(
    st.binary(max_size=4),
    st.sampled_from([b"\r\n", b"\n", b"\r\n ", b"\x00", b'"', b"<", b">", b";", b",", b":", b"@", b"\\", b" ", b"\t"]),
    st.sampled_from([line + b"\r\n" for line in INVITE.split(b"\r\n") + ANSWER.split(b"\r\n")]),
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    raw = draw(st.sampled_from([INVITE, ANSWER]))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(raw)))
        raw = raw[:at] + draw(_CHANGES) + raw[at + draw(st.integers(0, 10)) :]
    return raw


@settings(max_examples=300)
@given(mutated())
@example(INVITE.replace(b"CSeq: 7 ", b"CSeq:\r\n 7 "))
def test_mutated_messages(raw: bytes) -> None:
    assume(agree(raw))
