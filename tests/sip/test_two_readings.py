"""One message, two readers: what the capture's kernel finds in it is what the parser finds.

The store's columns come from the kernel, what is shown of a message from the parser. Were they to differ, a search
would find calls whose messages say something else.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from capture import flags
from capture.decode import starts_sip
from capture.scan import SLICES, scan_messages
from sip.address import NameAddr, parse_name_addr, parse_uri, split_list
from sip.message import SipMessage, parse_message
from sip.text import text_of

INVITE = (
    b"INVITE sip:+4930123@198.51.100.10:5060;user=phone SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 203.0.113.5:5060;branch=z9hG4bK1;rport, SIP/2.0/TCP a.example.com\r\n"
    b'From: "A <b>" <sip:alice:pw@203.0.113.5>;tag=1\r\nTo: <tel:+4930123;phone-context=x>\r\n'
    b"Call-ID: one@x\r\nCSeq: 7 INVITE\r\nContact: <sip:alice@203.0.113.5>\r\n"
    b"User-Agent: phone 1\r\nContent-Length: 5\r\n\r\nv=0\r\n"
)
BUSY = (
    b"SIP/2.0 486 Busy Here\nv: SIP/2.0/UDP h\nf: sip:a@h;tag=1\nt  : B <sip:b;x=1@h>\n ;tag=2\n"
    b"i:\n two@x\nCSeq: 3 INVITE\nServer: box\nl: 0\n\n"
)
FOLD = re.compile(r"[ \t\r]*\n[ \t\r]*")


def kernel(raw: bytes) -> tuple[dict[str, object], dict[str, str]]:
    """What the kernel finds: the numbers, and the very bytes of its slices as text."""
    data = np.frombuffer(raw, np.uint8)
    slices = np.zeros((len(SLICES), 1, 2), np.int64)
    code, cseq, in_dialog = np.zeros(1, np.int32), np.zeros(1, np.int64), np.zeros(1, np.uint8)
    said, start, length = np.zeros(1, np.int32), np.zeros(1, np.int64), np.array([len(raw)], np.int32)
    scan_messages(data, start, length, slices, code, cseq, in_dialog, said)
    numbers: dict[str, object] = {
        "code": int(code[0]),
        "cseq": int(cseq[0]),
        "in_dialog": bool(in_dialog[0]),
        "flags": set(flags.names(int(said[0]))),
    }
    pieces = slices[:, 0].tolist()
    return numbers, {name: text_of(raw[at : at + size]) for name, (at, size) in zip(SLICES, pieces, strict=True)}


def scanned(raw: bytes) -> dict[str, object]:
    """What the kernel finds, where a fold, which it leaves in its slices, is one space."""
    numbers, texts = kernel(raw)
    kept = {n: t if n == "body" else FOLD.sub(" ", t).strip(" \t\r") for n, t in texts.items() if n not in RAW}
    return numbers | kept


def user(address: NameAddr | None) -> str:
    return address.uri.user if address else ""


RAW = frozenset({"via", "contact", "content_type"})
"""Headers as they stand, which only the tests for NAT read: tests/capture/test_natscan.py compares what these say."""


def first_user(m: SipMessage, *names: str) -> str:
    """The user of the first of these headers that has one."""
    values = [value for name in names for field in m.fields(name) for value in split_list(field.value)[:1]]
    return next((found for value in values if (found := user(parse_name_addr(value)))), "")


DEFECT_FLAGS: list[tuple[str, int]] = [
    (r"no Call-ID", flags.NO_CALL_ID),
    (r"\d+ Call-IDs", flags.TWO_CALL_IDS),
    (r"Content-Length .*", flags.LENGTH_LIES),
    (r"no blank line .*", flags.HEADERS_CUT),
]


def parsed(m: SipMessage) -> dict[str, object]:
    """The same of the parser."""
    bits = [bit for pattern, bit in DEFECT_FLAGS for d in m.defects if re.fullmatch(pattern, d, re.DOTALL)]
    return {
        "code": min(m.code, 32767),
        "cseq": -1 if m.cseq is None else m.cseq,
        "in_dialog": bool(m.to and m.to.tag),
        "flags": {name for bit in bits for name in flags.names(bit)},
        "method": m.method,
        "reason": m.reason,
        "call_id": m.call_id,
        "from_user": user(m.from_),
        "to_user": user(m.to),
        "ruri_user": parse_uri(m.uri).user if m.is_request else "",
        "user_agent": m.user_agent,
        "body": text_of(m.body),
        "asserted": first_user(m, "P-Asserted-Identity", "Remote-Party-ID") if m.is_request else "",
        "diversion": first_user(m, "Diversion") if m.is_request else "",
    }


def is_sip(raw: bytes) -> bool:
    """Whether the capture would take it for a message at all. What is shorter than a status code says nothing."""
    return len(raw) > 8 and bool(starts_sip(np.frombuffer(raw + b"\0", np.uint8), 0, len(raw)))


def compare(raw: bytes) -> None:
    m = parse_message(raw)
    fast, careful = scanned(raw), parsed(m)
    for name in leave_out(m):
        del fast[name], careful[name]
    assert fast == careful


QUOTED = r'"(?:[^"\\\n]|\\.)*"'
URI = r"(?i:sips?|tel|urn|mailto):[^ \t\r\n\"<>\\]*"
PARAM = rf"[ \t]*;[ \t]*(?!(?i:tag))[^ \t\r\n\"<>\\;=]+(?:[ \t]*=[ \t]*(?:{QUOTED}|[^ \t\r\n\"<>\\;=]+))?"
TAG = r"[ \t]*;[ \t]*(?i:tag)[ \t]*=[ \t]*[^ \t\r\n\"<>\\;=]+"
ADDRESS = re.compile(
    rf"(?:(?:{QUOTED}|[^\"<>\\;:\n]*)[ \t]*<{URI}>|{URI.replace('[^ ', '[^; ')})(?:{TAG}|{PARAM})*[ \t]*"
)
"""What RFC 3261 section 20.10 calls an address, a little wider. Of anything else each reader guesses as it likes."""
EMPTY_FOLD = re.compile(rb"\r[ \t\r]+\n|\n[ \t][ \t\r]*\n")
"""A line of nothing but white space, or such an end of one: the kernel takes it for a part of the number."""


def leave_out(m: SipMessage) -> set[str]:
    """Columns that are not compared, because only a guess could fill them."""
    out = set()
    for name, column in (
        ("From", "from_user"), ("To", "to_user"), ("P-Asserted-Identity", "asserted"), ("Remote-Party-ID", "asserted"),
        ("Diversion", "diversion"),
    ):  # fmt: skip
        found = m.fields(name)
        if len(found) > 1 or (found and not ADDRESS.fullmatch(found[0].value)):
            out.add(column)
    if "to_user" in out or re.search(rb";[ \t]*[\r\n]", m.raw):
        out.add("in_dialog")
    user_part, at, _ = m.uri.partition("@")
    if m.is_request and (not re.fullmatch(URI, m.uri) or "<" in m.start_line or (at and ";" in user_part)):
        out.add("ruri_user")
    if len(m.fields("CSeq")) > 1 or (m.cseq is None and m.first("CSeq")[:1].isdigit()):
        out |= {"cseq", "method"}
    if EMPTY_FOLD.search(m.raw):
        out.add("flags")
    return out


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            INVITE,
            {
                "method": "INVITE",
                "call_id": "one@x",
                "from_user": "alice",
                "to_user": "+4930123",
                "ruri_user": "+4930123",
                "in_dialog": False,
                "flags": set(),
            },
        ),
        (
            BUSY,
            {
                "method": "INVITE",
                "code": 486,
                "reason": "Busy Here",
                "call_id": "two@x",
                "from_user": "a",
                "to_user": "b",
                "cseq": 3,
                "in_dialog": True,
                "user_agent": "box",
                "flags": set(),
            },
        ),
    ],
    ids=["request", "response"],
)
def test_nothing_is_left_out_of_what_is_right(raw: bytes, expected: dict[str, object]) -> None:
    """So that the comparisons below compare something."""
    assert leave_out(parse_message(raw)) == set()
    both = scanned(raw)
    assert both == parsed(parse_message(raw)) and expected.items() <= both.items()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Call-ID: one@x\r\n", b""),
        (b"Call-ID: one@x", b"Call-ID:"),
        (b"Call-ID: one@x", b"Call-ID: one@x\r\ni: two@x"),
        (b"Call-ID: one@x", b"CALL-ID\t :\r\n\t one@x  "),
        (b"Call-ID: one@x", b"Call-ID\r\n : one@x"),
        (b"Call-ID: one@x", b"Call-ID: \xff\x00\x1b[2J"),
        (b"Call-ID: one@x", b"Call-IDs: one@x"),
        (b"Call-ID: one@x", b" Call-ID: one@x"),
        (b"Length: 5", b"Length: 6"),
        (b"Length: 5", b"Length: 00005"),
        (b"Length: 5", b"Length: +5"),
        (b"Length: 5", b"Length: 5, 5"),
        (b"Length: 5", b"Length:"),
        (b"Length: 5", b"Length: 99999999999999999999999"),
        (b"\r\n\r\n", b"\r\n"),
        (b"\r\n\r\n", b"\n\r\n"),
        (b"\r\n\r\n", b"\r\n\n"),
        (b"\r\n\r\n", b"\r\n\r\r\n"),
        (b"CSeq: 7", b"CSeq: 0000007"),
        (b"CSeq: 7", b"CSeq:"),
        (b"CSeq: 7", b"CSeq: 999999999999999999"),
        (b'"A <b>"', b'"\\"<sip:no@h>\\\\"'),
        (b'"A <b>" <sip:alice:pw@203.0.113.5>', b"sip:alice@[2001:db8::1]:5060"),
        (b"sip:alice:pw@203.0.113.5", b"sip:203.0.113.5"),
        (b"sip:alice:pw@203.0.113.5", b"SIPS:%61;a=b@h"),
        (b"sip:alice:pw@203.0.113.5", b"urn:service:sos"),
        (b"<tel:+4930123;phone-context=x>", b"tel:+4930123;tag=1"),
        (b"<tel:+4930123;phone-context=x>", b"<sip:b@h;tag=1>"),
        (b"<tel:+4930123;phone-context=x>", b'<sip:b@h>;p=";tag=1"'),
        (b"<tel:+4930123;phone-context=x>", b"<sip:b@h> ; TAG = x"),
        (b"User-Agent: phone 1", b"Server: \r\nUser-Agent: phone 1"),
        (b"User-Agent: phone 1", b"Server: box\r\nUser-Agent: phone 1"),
        (b"User-Agent: phone 1", b"User-Agent: phone 1\r\nServer: box"),
    ],
)
def test_one_change(old: bytes, new: bytes) -> None:
    assert old in INVITE
    raw = INVITE.replace(old, new, 1)
    assert scanned(raw) == parsed(parse_message(raw))


@pytest.mark.parametrize(
    "line",
    [
        b"SIP/2.0 200",
        b"SIP/2.0 200 ",
        b"SIP/2.0  200   All  right ",
        b"SIP/2.0 000 x",
        b"SIP/2.0 12345 x",
        b"SIP/2.0 40000 x",
        b"SIP/2.0 OK",
        b"SIP/2.0 -1 x",
        b"SIP/3.1 200OK",
        b"OPTIONS  sip:a@b SIP/2.0",
        b"!x*_ tel:1;y SIP/9",
        b"BYE * SIP/2.0",
    ],
)
def test_start_lines(line: bytes) -> None:
    assert is_sip(line)
    compare(line + INVITE[INVITE.index(b"\r\n") :])


_PIECES = st.one_of(
    st.binary(max_size=4),
    st.sampled_from([b"\r\n", b"\n", b"\r\n ", b"\r", b" ", b"\t", b"\x00", b"\x1b[2J", b"\xc2\xad", b"\xff"]),
    st.sampled_from([b'"', b"\\", b"<", b">", b";", b",", b":", b"@", b"?", b"/", b"[", b";tag=", b"sip:", b"TEL:"]),
    st.sampled_from([b"f: ", b"t:<sip:9@h>", b"i: x", b"l: 4", b"CSeq: 9 X", b"server:y"]),
    st.sampled_from(INVITE.split(b"\r\n") + BUSY.split(b"\n")),
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid message in which some places were overwritten, doubled or removed."""
    raw = draw(st.sampled_from([INVITE, BUSY]))
    for _ in range(draw(st.integers(1, 4))):
        at, size = draw(st.integers(0, len(raw))), draw(st.integers(0, 12))
        raw = raw[:at] + draw(_PIECES) + raw[at + size :]
    return raw.lstrip(b"\r\n")


@given(mutated())
@example(BUSY.replace(b"Server: box", b"Server: box\nUser-Agent: phone"))
@example(INVITE.replace(b"To", b"From\r\n : <sip:x@h>\r\nTo"))
def test_any_change(raw: bytes) -> None:
    assume(is_sip(raw))
    compare(raw)


@pytest.mark.parametrize("cut", [lambda raw, n: raw[:n], lambda raw, n: raw[n:]], ids=["end", "beginning"])
def test_cut_anywhere(cut: Callable[[bytes, int], bytes]) -> None:
    compared = 0
    for raw in (INVITE, BUSY):
        for n in range(len(raw)):
            piece = cut(raw, n).lstrip(b"\r\n")
            if is_sip(piece):
                compare(piece)
                compared += 1
    assert compared > 5


def test_every_column_of_the_kernel_is_compared() -> None:
    assert set(parsed(parse_message(INVITE))) - {"code", "cseq", "in_dialog", "flags"} == set(SLICES) - RAW


@pytest.mark.parametrize(
    ("old", "new", "column"),
    [
        # Number portability writes its parameters into the user part (RFC 4694, RFC 3261 section 19.1.6).
        (b"INVITE sip:+4930123@", b"INVITE sip:+4930123;npdi;rn=+4930@", "ruri_user"),
        (b"<tel:+4930123;phone-context=x>", b"<sip:b@h>;tagged=1", "in_dialog"),
        (b"<tel:+4930123;phone-context=x>", b"<sip:b@h>;\r\n tag=1", "in_dialog"),
        (b"Length: 5", b"Length: 5\r\n ", "flags"),
        (b"Call-ID: one@x", b"Call-ID: one@x\r\n ", "call_id"),
    ],
)
def test_where_the_kernel_reads_less(old: bytes, new: bytes, column: str) -> None:
    raw = INVITE.replace(old, new, 1)
    numbers, texts = kernel(raw)
    assert raw != INVITE and {**numbers, **texts}[column] == parsed(parse_message(raw))[column]


def test_a_folded_cseq_of_a_response() -> None:
    assert kernel(BUSY.replace(b"CSeq: 3 INVITE", b"CSeq: 3\n INVITE"))[1]["method"] == "INVITE"
