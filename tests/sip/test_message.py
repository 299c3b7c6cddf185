"""Messages taken apart: every form that RFC 3261 section 7.3 allows, and how what is wrong is named."""

from __future__ import annotations

import pytest

from sip.message import SipMessage, canonical, parse_message

INVITE = (
    b"INVITE sip:+4930123@198.51.100.10:5060;user=phone SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 203.0.113.5:5060;branch=z9hG4bK1;rport, SIP/2.0/TCP a.example.com\r\n"
    b"v: SIP/2.0/TLS [2001:db8::1]:5061;branch=z9hG4bK3\r\n"
    b'From: "A <b>" <sip:alice@203.0.113.5>;tag=1\r\nTo: <sip:+4930123@198.51.100.10>\r\n'
    b"Call-ID: one@x\r\nCSeq: 7 INVITE\r\nContact: <sip:alice@203.0.113.5>, <sip:alice@198.51.100.1>\r\n"
    b"User-Agent: phone 1\r\nContent-Type: application/sdp\r\nContent-Length: 49\r\n\r\n"
    b"v=0\r\nc=IN IP4 203.0.113.5\r\nm=audio 4000 RTP/AVP 8"
)
BUSY = (
    b"SIP/2.0 486 Busy Here\r\nv: SIP/2.0/UDP h\r\nf: <sip:a@h>;tag=1\r\nt: <sip:b@h>;tag=2\r\n"
    b"i: two@x\r\nCSeq: 3 INVITE\r\nServer: box\r\nl: 0\r\n\r\n"
)


def with_header(*lines: bytes) -> SipMessage:
    return parse_message(b"\r\n".join((b"OPTIONS sip:a@b SIP/2.0", b"Call-ID: x", *lines, b"", b"")))


def test_request() -> None:
    m = parse_message(INVITE)
    assert (m.method, m.uri, m.code, m.reason, m.is_request) == (
        "INVITE",
        "sip:+4930123@198.51.100.10:5060;user=phone",
        0,
        "",
        True,
    )
    assert (m.call_id, m.cseq, m.cseq_method, m.user_agent) == ("one@x", 7, "INVITE", "phone 1")
    assert [(v.transport, v.host, v.port, v.branch) for v in m.vias] == [
        ("UDP", "203.0.113.5", 5060, "z9hG4bK1"),
        ("TCP", "a.example.com", None, ""),
        ("TLS", "2001:db8::1", 5061, "z9hG4bK3"),
    ]
    assert m.top_via == m.vias[0] and m.top_via.params == {"branch": "z9hG4bK1", "rport": None}
    assert m.from_ is not None and (m.from_.display, m.from_.uri.user, m.from_.tag) == ("A <b>", "alice", "1")
    assert m.to is not None and (m.to.uri.user, m.to.tag) == ("+4930123", "")
    assert [c.uri.host for c in m.contacts] == ["203.0.113.5", "198.51.100.1"]
    assert m.sdp is not None and [c.name for c in m.sdp.media[0].codecs] == ["PCMA"]
    assert m.defects == () and m.raw == INVITE and m.body == INVITE.partition(b"\r\n\r\n")[2]


def test_response_has_the_method_of_its_cseq() -> None:
    m = parse_message(BUSY)
    assert (m.method, m.uri, m.code, m.reason, m.is_request) == ("INVITE", "", 486, "Busy Here", False)
    assert (m.call_id, m.cseq, m.user_agent, m.sdp, m.defects) == ("two@x", 3, "box", None, ())


@pytest.mark.parametrize(
    ("letter", "name"),
    [
        ("a", "Accept-Contact"),
        ("b", "Referred-By"),
        ("c", "Content-Type"),
        ("d", "Request-Disposition"),
        ("e", "Content-Encoding"),
        ("f", "From"),
        ("i", "Call-ID"),
        ("j", "Reject-Contact"),
        ("k", "Supported"),
        ("l", "Content-Length"),
        ("m", "Contact"),
        ("n", "Identity-Info"),
        ("o", "Event"),
        ("r", "Refer-To"),
        ("s", "Subject"),
        ("t", "To"),
        ("u", "Allow-Events"),
        ("v", "Via"),
        ("x", "Session-Expires"),
        ("y", "Identity"),
    ],
)
def test_compact_forms(letter: str, name: str) -> None:
    for written in (letter, letter.upper()):
        header = parse_message(f"A b SIP/2.0\r\n{written} \t: 1\r\n\r\n".encode()).headers[0]
        assert (header.name, header.value, header.written, header.line) == (name, "1", written, 1)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("CALL-ID", "Call-ID"),
        ("cseq", "CSeq"),
        ("cOnTeNt-LeNgTh", "Content-Length"),
        ("www-authenticate", "WWW-Authenticate"),
        ("x-custom-name", "X-Custom-Name"),
        ("P-KPN-Thing", "P-KPN-Thing"),
        ("\u212a", "\u212a"),
        ("g", "G"),
    ],
)
def test_canonical_names(written: str, name: str) -> None:
    """The Kelvin sign is k in lower case, but no compact form."""
    assert canonical(written) == name


@pytest.mark.parametrize(
    ("lines", "name", "value"),
    [
        ((b"Subject: one",), "Subject", "one"),
        ((b"Subject:one",), "Subject", "one"),
        ((b"Subject: one", b" two", b"\tthree"), "Subject", "one two three"),
        ((b"Subject:", b"   one  ", b"  two  "), "Subject", "one two"),
        ((b"Subject: a: b",), "Subject", "a: b"),
        ((b"Subject \t:  ", b"X: 1"), "Subject", ""),
        ((b"Subject: \xc2\xa0x\x0b",), "Subject", "\xa0x\x0b"),
        ((b"Subject: \xff\x00\x1b[2J",), "Subject", "\uefff\x00\x1b[2J"),
        ((b"Subject: first", b"s: second"), "Subject", "first"),
    ],
)
def test_values(lines: tuple[bytes, ...], name: str, value: str) -> None:
    assert with_header(*lines).first(name) == value


@pytest.mark.parametrize(
    ("lines", "agent"),
    [
        ((b"User-Agent: a", b"Server: b"), "a"),
        ((b"Server: b", b"User-Agent: a"), "b"),
        ((b"Server:", b"USER-AGENT: a"), "a"),
        ((b"Server: ",), ""),
    ],
)
def test_user_agent(lines: tuple[bytes, ...], agent: str) -> None:
    assert with_header(*lines).user_agent == agent


@pytest.mark.parametrize("fold", [b"", b"\r\n folded"])
def test_a_name_behind_a_stray_byte_is_another_name(fold: bytes) -> None:
    m = parse_message(b"BYE a SIP/2.0\r\n\rCall-ID: x" + fold + b"\r\n\r\n")
    assert m.call_id == "" and "no Call-ID" in m.defects


def test_lines_of_headers_are_those_of_the_message() -> None:
    m = parse_message(b"\r\n\r\nA b SIP/2.0\r\nSubject: 1\r\n 2\r\nTo: x\r\n\r\n")
    assert [(h.name, h.line) for h in m.headers] == [("Subject", 3), ("To", 5)]
    assert [m.lines()[h.line] for h in m.headers] == ["Subject: 1", "To: x"]


def test_line_feeds_alone() -> None:
    with_lf = parse_message(INVITE.replace(b"\r\n", b"\n").replace(b"Length: 49", b"Length: 47"))
    whole = parse_message(INVITE)
    assert with_lf.defects == ()
    assert [(h.name, h.value) for h in with_lf.headers if h.name != "Content-Length"] == [
        (h.name, h.value) for h in whole.headers if h.name != "Content-Length"
    ]
    assert with_lf.lines() == [line.replace("Length: 49", "Length: 47") for line in whole.lines()]


@pytest.mark.parametrize(
    ("lines", "name", "values"),
    [
        ((b"Allow: INVITE, ACK ,BYE", b"Allow: UPDATE"), "allow", ("INVITE", "ACK", "BYE", "UPDATE")),
        ((b'Contact: "a, b" <sip:x,y@h>;p="c,d", <sip:z@h>',), "Contact", ('"a, b" <sip:x,y@h>;p="c,d"', "<sip:z@h>")),
        ((b'Contact: "a\\", b" <sip:x@h>',), "Contact", ('"a\\", b" <sip:x@h>',)),
        ((b"Require: ,, a,,",), "Require", ("a",)),
        ((b"Subject: a, b", b"Subject: c"), "Subject", ("a, b", "c")),
        ((b"Via: ",), "Via", ()),
        ((), "Reason", ()),
    ],
)
def test_list_headers(lines: tuple[bytes, ...], name: str, values: tuple[str, ...]) -> None:
    assert with_header(*lines).all(name) == values


@pytest.mark.parametrize(
    ("value", "number", "method"),
    [
        (b"1 INVITE", 1, "INVITE"),
        (b"0009\tBYE", 9, "BYE"),
        (b"12", 12, ""),
        (b"", None, ""),
        (b"INVITE", None, "INVITE"),
        (b"-1 BYE", None, "-1 BYE"),
        (b"999999999999999999 BYE", 999999999999999999, "BYE"),
        (b"36893488147419103232 BYE", None, "BYE"),
        ("١ BYE".encode(), None, "١ BYE"),
    ],
)
def test_cseq(value: bytes, number: int | None, method: str) -> None:
    m = with_header(b"CSeq: " + value)
    assert (m.cseq, m.cseq_method) == (number, method)
    answer = parse_message(b"SIP/2.0 200 OK\r\nCSeq: " + value + b"\r\n\r\n")
    assert answer.method == method


@pytest.mark.parametrize(
    ("start", "method", "uri", "code", "reason"),
    [
        (b"INVITE  sip:a@b  SIP/2.0", "INVITE", "sip:a@b", 0, ""),
        (b"OPTIONS sip:a@b; lr SIP/2.0 ", "OPTIONS", "sip:a@b; lr", 0, ""),
        (b"SIP/2.0 100 ", "", "", 100, ""),
        (b"SIP/2.0 100", "", "", 100, ""),
        (b"SIP/2.0   200   All  right ", "", "", 200, "All  right"),
        (b"SIP/3.1 200OK", "", "", 200, "OK"),
        (b"OPTIONS", "OPTIONS", "", 0, ""),
        (b"OPTIONS sip:a@b", "OPTIONS", "sip:a@b", 0, ""),
        (b"OPTIONS sip:a@b HTTP/1.1", "OPTIONS", "sip:a@b HTTP/1.1", 0, ""),
    ],
)
def test_start_lines(start: bytes, method: str, uri: str, code: int, reason: str) -> None:
    m = parse_message(start + b"\r\nCall-ID: x\r\n\r\n")
    assert (m.method, m.uri, m.code, m.reason) == (method, uri, code, reason)


def test_a_status_code_of_any_length_is_read() -> None:
    """Python refuses to make a number of more than 4,300 digits."""
    m = parse_message(b"SIP/2.0 " + b"4" * 5000 + b" Long\r\n\r\n")
    assert (m.code, m.reason, m.is_request) == (444444, "Long", False)


@pytest.mark.parametrize("status", [b"0 Odd", b"000", b"99 Low", b"700 High", b"2000 Long", b"OK", b"-5 Minus", b""])
def test_a_status_line_with_a_strange_code_is_still_a_response(status: bytes) -> None:
    m = parse_message(b"SIP/2.0 " + status + b"\r\nCall-ID: x\r\nCSeq: 1 BYE\r\n\r\n")
    assert not m.is_request and m.method == "BYE"
    assert any("is no status code" in d for d in m.defects)


@pytest.mark.parametrize(
    ("change", "defect"),
    [
        ((b"Call-ID: one@x\r\n", b""), "no Call-ID"),
        ((b"Call-ID: one@x", b"Call-ID:"), "no Call-ID"),
        ((b"Call-ID: one@x", b"Call-ID: one@x\r\ni: two@x"), "2 Call-IDs"),
        ((b"Length: 49", b"Length: 45"), "Content-Length says 45, 49 bytes are there"),
        (
            (b"Length: 49", b"Length: 9999999999999999999999"),
            "Content-Length says 9999999999999999999999, 49 bytes are",
        ),
        ((b"Length: 49", b"Length: -1"), "Content-Length '-1' is no number"),
        ((b"Content-Length: 49", b"cOntent-lEngth: 1"), "Content-Length says 1, 49 bytes are there"),
        ((b"CSeq", b"no colon\r\nCSeq"), "line 7 is no header"),
        ((b"CSeq", b": no name\r\nCSeq"), "line 7 is no header"),
        ((b"CSeq:", b"CSeq\r\n :"), "line 7 is no header"),
        ((b"Via: SIP/2.0/UDP", b" folded from nothing: 1\r\nVia: SIP/2.0/UDP"), "line 2 is no header"),
        ((b" SIP/2.0\r\n", b"\r\n"), "the start line is not that of SIP"),
        ((b"\r\n\r\n", b"\r\n"), "no blank line ends the headers"),
    ],
)
def test_defects(change: tuple[bytes, bytes], defect: str) -> None:
    raw = INVITE.replace(*change, 1)
    assert raw != INVITE
    assert any(d.startswith(defect) for d in parse_message(raw).defects), parse_message(raw).defects


def test_what_is_right_is_no_defect() -> None:
    for length in (b"49", b"0000000000000000000000000049", b"49\r\n "):
        assert parse_message(INVITE.replace(b"Length: 49", b"Length: " + length)).defects == ()
    cut = parse_message(b"SIP/2.0 200 OK\r\nCall-ID: a\r\nContent-Length: 99\r\n")
    assert cut.defects == ("no blank line ends the headers",), "the body of a cut message is not there to be measured"


def test_what_a_broken_line_holds_is_no_header() -> None:
    m = parse_message(b"BYE a SIP/2.0\r\n From: <sip:no@h>\r\n again\r\nTo: <sip:yes@h>\r\n\r\n")
    assert m.from_ is None and m.to is not None and m.to.uri.user == "yes"


def test_missing_headers_are_absent_not_wrong() -> None:
    m = parse_message(b"BYE sip:a@b SIP/2.0\r\n\r\n")
    assert (m.call_id, m.cseq, m.cseq_method, m.user_agent) == ("", None, "", "")
    assert (m.vias, m.top_via, m.from_, m.to, m.contacts, m.sdp) == ((), None, None, None, (), None)


def test_the_first_of_two_call_ids_counts() -> None:
    assert with_header(b"i: second").call_id == "x"


BOUNDARY = (
    b"--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b\r\n"
    b"Content-Type: application/SDP\r\n\r\nv=0\r\nm=audio 6 RTP/AVP 0\r\n--b--"
)


@pytest.mark.parametrize(
    ("kind", "body", "ports"),
    [
        (b"application/sdp", b"v=0\r\nm=audio 6 RTP/AVP 0\r\n", [6]),
        (b"", b"v=0\r\nm=audio 6 RTP/AVP 0\r\n", [6]),
        (b"text/plain", b"v=0\r\nm=audio 6 RTP/AVP 0\r\n", None),
        (b"multipart/mixed; boundary=b", BOUNDARY, [6]),
        (b'multipart/mixed; boundary="b"', BOUNDARY, [6]),
        (b"multipart/mixed", BOUNDARY, None),
        (b"multipart/mixed; boundary=c", BOUNDARY, None),
        (b"application/sdp", b"", None),
        (b"application/sdp", b"\x00\xff", None),
    ],
)
def test_where_the_session_description_is(kind: bytes, body: bytes, ports: list[int] | None) -> None:
    m = parse_message(b"INVITE a SIP/2.0\r\nContent-Type: " + kind + b"\r\n\r\n" + body)
    assert (None if m.sdp is None else [s.port for s in m.sdp.media]) == ports
