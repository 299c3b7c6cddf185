"""One layout and its four faces: what a small call looks like, many hosts, narrow pages, wide letters, hostile text."""

from __future__ import annotations

import json
import re
import unicodedata
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.ladder import Ladder, clock, layout
from index.ladder_json import render_json
from index.ladder_mermaid import render_mermaid
from index.ladder_svg import render_svg
from index.ladder_text import render_text
from index.trace import CallTrace, Endpoint, TraceMessage
from sip.message import parse_message

START = 1_767_607_200_000_000_000
PHONE, SWITCH = Endpoint("203.0.113.5", 5060), Endpoint("198.51.100.10", 5060)
SDP = (
    b"v=0\r\nc=IN IP4 203.0.113.5\r\nm=audio 4000 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendonly\r\n"
)


def sip(start: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join((start, b"Call-ID: c", *headers, b"", body))


def message(ms: int, src: Endpoint, dst: Endpoint, raw: bytes, seen: int = 1, again: bool = False) -> TraceMessage:
    return TraceMessage(
        START + ms * 1_000_000, ms, src, dst, "udp", "eth0", "n", parse_message(raw), seen=seen, retransmission=again
    )


def ladder(*messages: TraceMessage, call_id: str = "a84b@host", names: dict[str, str] | None = None) -> Ladder:
    return layout(CallTrace(call_id, messages, START, START + 10**11), names)


INVITE = sip(b"INVITE sip:b@h SIP/2.0", b"To: <sip:b@h>", b"CSeq: 1 INVITE", body=SDP)
SMALL = ladder(
    message(0, PHONE, SWITCH, INVITE),
    message(500, PHONE, SWITCH, INVITE, again=True),
    message(518, SWITCH, PHONE, sip(b"SIP/2.0 100 Trying", b"CSeq: 1 INVITE"), seen=2),
    message(
        61_000,
        SWITCH,
        PHONE,
        sip(b"SIP/2.0 503 Full", b"CSeq: 1 INVITE", b"Reason: Q.850;cause=34", b'Warning: 399 h "no"'),
    ),
    message(61_001, PHONE, SWITCH, sip(b"ACK sip:b@h SIP/2.0", b"CSeq: 1 ACK")),
    names={"203.0.113.5:5060": "phone", "198.51.100.10": "switch"},
)

TEXT = """\
Call-ID a84b@host

                                phone                            switch
                                  │                                 │
  1  10:00:00.000   +0.000        │─ INVITE (SDP) ─────────────────►│
                                  │   audio PCMA telephone-event 203.0.113.5:4000 sendonly
  2  10:00:00.500   +0.500        │╌ INVITE (SDP) (again) ╌╌╌╌╌╌╌╌╌►│
  3  10:00:00.518   +0.018        │◄─ 100 Trying (seen 2 ×) ────────│
  4  10:01:01.000  +60.482        │◄─ 503 Full ─────────────────────│
                                  │   Q.850;cause=34; 399 h "no"
  5  10:01:01.001   +0.001        │─ ACK ──────────────────────────►│
                                  │                                 │
"""

MERMAID = """\
sequenceDiagram
  %% Call-ID a84b@host
  autonumber
  participant p0 as phone
  participant p1 as switch
  p0->>p1: INVITE (SDP)
  Note over p0,p1: audio PCMA telephone-event 203.0.113.5:4000 sendonly
  p0-->>p1: INVITE (SDP) (again)
  p1-->>p0: 100 Trying (seen 2 x)
  p1-->>p0: 503 Full
  Note over p1,p0: Q.850#59;cause=34#59; 399 h #34;no#34;
  p0->>p1: ACK
"""


def test_text_of_a_small_call() -> None:
    assert render_text(SMALL) == TEXT


def test_mermaid_of_a_small_call() -> None:
    assert render_mermaid(SMALL) == MERMAID


def test_json_of_a_small_call() -> None:
    told = json.loads(json.dumps(render_json(SMALL)))
    assert (told["call_id"], told["columns"]) == (
        "a84b@host",
        [{"label": "phone", "address": "203.0.113.5:5060"}, {"label": "switch", "address": "198.51.100.10:5060"}],
    )
    assert told["rows"][3] == {
        "number": 4,
        "ts": "2026-01-05T10:01:01.000000Z",
        "time": "10:01:01.000",
        "delta": "+60.482",
        "elapsed": "+61.000",
        "source": 1,
        "target": 0,
        "label": "503 Full",
        "kind": "failure",
        "transport": "udp",
        "retransmission": False,
        "seen": 1,
        "note": 'Q.850;cause=34; 399 h "no"',
        "media": "",
        "leg": 0,
    }
    assert [(r["label"], r["kind"], r["retransmission"], r["seen"]) for r in told["rows"][:3]] == [
        ("INVITE (SDP)", "request", False, 1),
        ("INVITE (SDP)", "request", True, 1),
        ("100 Trying", "provisional", False, 2),
    ]


def test_what_a_message_carries_is_written_once() -> None:
    """Sent again it says nothing new; a program still finds in every row what it carries."""
    full = sip(b"SIP/2.0 183 Wait", b"CSeq: 1 INVITE", b"Reason: Q.850;cause=31", body=SDP)
    shape = ladder(*(message(n, SWITCH, PHONE, full, again=n > 0) for n in range(3)))
    for face in (render_text(shape), render_svg(shape), render_mermaid(shape)):
        assert face.count("183 Wait (SDP)") == 3 and face.count("(again)") == 2
        assert face.count("audio PCMA") == face.count("Q.850") == 1
    height = [
        float(drawn(render_svg(s))[0].get("height", 0)) for s in (ladder(), ladder(message(0, PHONE, SWITCH, full)))
    ]
    assert float(drawn(render_svg(shape))[0].get("height", 0)) < height[0] + 3 * (height[1] - height[0])
    rows = render_json(shape)["rows"]
    assert {(r["media"], r["note"]) for r in rows} == {(rows[0]["media"], "Q.850;cause=31")} and rows[0]["media"]
    assert "notes" not in rows[0]


def drawn(svg: str) -> tuple[ElementTree.Element, list[str]]:
    """The picture, parsed, and its texts."""
    root = ElementTree.fromstring(svg)
    return root, [e.text or "" for e in root.iter("{http://www.w3.org/2000/svg}text")]


def test_svg_of_a_small_call() -> None:
    svg = render_svg(SMALL)
    root, texts = drawn(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and "<script" not in svg and "href" not in svg
    for text in ("Call-ID a84b@host", "phone", "switch", "INVITE (SDP)", "INVITE (SDP) (again)", "503 Full"):
        assert text in texts
    assert "100 Trying (seen 2 ×)" in texts and 'Q.850;cause=34; 399 h "no"' in texts
    assert "  4 10:01:01.000 +60.482" in texts
    arrows = [e for e in root.iter() if e.get("marker-end")]
    assert [e.get("marker-end") for e in arrows] == [
        "url(#to-request)",
        "url(#to-request)",
        "url(#to-provisional)",
        "url(#to-failure)",
        "url(#to-request)",
    ]
    assert [e.get("stroke-dasharray") for e in arrows] == [None, "5 4", None, None, None]
    assert [(e.get("x1"), e.get("x2")) for e in arrows][:3] == [("270", "520"), ("270", "520"), ("520", "270")]
    assert {e.get("id") for e in root.iter("{http://www.w3.org/2000/svg}marker")} >= {"to-request", "to-failure"}


def test_svg_is_as_wide_as_its_texts_and_as_high_as_its_rows() -> None:
    many = " ".join(f"m=audio {n} RTP/AVP 0" for n in range(9))
    long = sip(b"INVITE sip:b@h SIP/2.0", b"Reason: " + many.encode() * 3)
    shapes = (
        SMALL,
        ladder(message(0, PHONE, SWITCH, long)),
        ladder(message(0, PHONE, PHONE, long), call_id="x" * 200),
        ladder(*(message(n, PHONE, SWITCH, INVITE) for n in range(30))),
    )
    for shape in shapes:
        root, _ = drawn(render_svg(shape))
        width, height = float(root.get("width", 0)), float(root.get("height", 0))
        assert root.get("viewBox") == f"0 0 {width:.0f} {height:.0f}"
        for e in root.iter("{http://www.w3.org/2000/svg}text"):
            size = 0.6 * float(e.get("font-size", 13)) * len(e.text or "")
            half = e.get("text-anchor") == "middle"
            assert float(e.get("x", 0)) + (size / 2 if half else size) <= width, e.text
            assert 0 < float(e.get("y", 0)) <= height


def test_svg_writes_no_line_over_another() -> None:
    """A message with two notes needs more room than one without."""
    two = sip(b"INVITE sip:b@h SIP/2.0", b"Reason: why", body=SDP)
    shape = ladder(message(0, PHONE, SWITCH, two), message(1, PHONE, SWITCH, sip(b"ACK sip:b@h SIP/2.0")))
    root, texts = drawn(render_svg(shape))
    at = {e.text: float(e.get("y", 0)) for e in root.iter("{http://www.w3.org/2000/svg}text")}
    lines = [at[t] for t in ("INVITE (SDP)", next(t for t in texts if t.startswith("audio")), "why", "ACK")]
    assert all(below - above >= 13 for above, below in pairwise(lines)), lines


@pytest.mark.parametrize(
    ("start", "headers", "label", "kind"),
    [
        (b"INVITE sip:b@h SIP/2.0", (b"To: <sip:b@h>;tag=2",), "re-INVITE", "request"),
        (b"BYE sip:b@h SIP/2.0", (b"To: <sip:b@h>;tag=2",), "BYE", "request"),
        (b"SIP/2.0 183 Session Progress", (), "183 Session Progress", "provisional"),
        (b"SIP/2.0 202 Accepted", (), "202 Accepted", "success"),
        (b"SIP/2.0 302 Moved", (), "302 Moved", "redirect"),
        (b"SIP/2.0 404 Not Found", (), "404 Not Found", "failure"),
        (b"SIP/2.0 603", (), "603", "failure"),
        (b"SIP/2.0 4294967301 big", (), "4294967301 big", "failure"),
        (b"SIP/2.0 000 zero", (), "000 zero", "failure"),
        (b"SIP/2.0 ", (), "?", "failure"),
        (b"", (), "?", "request"),
    ],
)
def test_labels(start: bytes, headers: tuple[bytes, ...], label: str, kind: str) -> None:
    raw = sip(start, *headers) if start else b""
    (row,) = ladder(message(0, PHONE, SWITCH, raw)).rows
    assert (row.label, row.kind) == (label, kind)


@pytest.mark.parametrize(
    ("body", "media"),
    [
        (b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\n", "audio PCMU 192.0.2.1:4000"),
        (b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 0 RTP/AVP 0\r\n", "audio refused"),
        (b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=image 6 udptl t38\r\na=inactive\r\n", "image t38 192.0.2.1:6 inactive"),
        (
            b"v=0\r\nm=audio 4 RTP/AVP 18\r\nc=IN IP4 192.0.2.1\r\nm=video 6 RTP/AVP 34\r\nc=IN IP4 192.0.2.2\r\n",
            "audio G729 192.0.2.1:4; video H263 192.0.2.2:6",
        ),
    ],
)
def test_media(body: bytes, media: str) -> None:
    (row,) = ladder(message(0, PHONE, SWITCH, sip(b"INVITE sip:b@h SIP/2.0", body=body))).rows
    assert (row.media, row.label) == (media, "INVITE (SDP)")


def host(n: int) -> Endpoint:
    return Endpoint(f"192.0.2.{n}", 5060 + n)


def chain(hosts: int) -> Ladder:
    steps = [message(n, host(n), host(n + 1), sip(b"INVITE sip:b@h SIP/2.0")) for n in range(hosts - 1)]
    return ladder(*steps, message(hosts, host(hosts - 1), host(0), sip(b"SIP/2.0 200 OK")))


def test_up_to_six_parties_have_their_ports() -> None:
    assert [c.label for c in chain(6).columns] == [str(host(n)) for n in range(6)]
    assert [c.label for c in chain(7).columns] == [host(n).ip for n in range(7)]


def test_ports_of_one_address_share_a_column_when_there_are_many() -> None:
    ports = [Endpoint("192.0.2.1", 6000 + n) for n in range(8)]
    shape = ladder(*(message(n, p, SWITCH, sip(b"OPTIONS sip:b@h SIP/2.0")) for n, p in enumerate(ports)))
    assert [c.address for c in shape.columns] == ["192.0.2.1", "198.51.100.10"]
    assert {(r.source, r.target) for r in shape.rows} == {(0, 1)}


def test_ipv6_and_names() -> None:
    six = Endpoint("2001:db8::1", 5060)
    names = {"2001:db8::1": "gateway", "198.51.100.10:5060": "by port", "198.51.100.10": "by address"}
    shape = ladder(message(0, six, SWITCH, INVITE), names=names)
    assert [(c.label, c.address) for c in shape.columns] == [
        ("gateway", "[2001:db8::1]:5060"),
        ("by port", "198.51.100.10:5060"),
    ]


def test_numbers_are_those_of_findings() -> None:
    assert [r.number for r in SMALL.rows] == [1, 2, 3, 4, 5]


def test_no_messages() -> None:
    empty = ladder(call_id="gone")
    assert render_text(empty) == "gone\n(no messages)\n"
    assert drawn(render_svg(empty))[1][0] == "Call-ID gone"
    assert render_mermaid(empty).splitlines()[0] == "sequenceDiagram"
    assert render_json(empty)["rows"] == []


def cells(line: str) -> int:
    """How much of a terminal's line it fills."""
    return sum(
        0 if unicodedata.category(c) in ("Mn", "Me") else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in line
    )


@pytest.mark.parametrize("hosts", [2, 3, 6, 12])
@pytest.mark.parametrize("width", [60, 80, 200])
def test_no_line_is_wider_than_the_page(hosts: int, width: int) -> None:
    """Unless the lifelines alone need more."""
    lines = render_text(chain(hosts), width).splitlines()[2:]
    least = 26 + 8 + 12 * (hosts - 1) + 4
    assert max(map(cells, lines)) <= max(width, least)
    assert all(line.count("│") >= 2 for line in lines[2:]), "every arrow ends at two lifelines"
    assert sum(line.count("►") + line.count("◄") for line in lines) == hosts


def test_a_head_moves_aside_before_it_is_cut() -> None:
    head = render_text(chain(2), 60).splitlines()[2]
    assert head.split() == ["192.0.2.0:5060", "192.0.2.1:5061"] and cells(head) == 60


@pytest.mark.parametrize("width", [60, 80, 200, None])
def test_lifelines_are_straight(width: int | None) -> None:
    wide = sip("SIP/2.0 486 話し中です 只今電話に出られません".encode())
    marks = sip("SIP/2.0 200 e\u0301\u0302\u0303 o\u0308 ♥\ufe0f".encode())
    shape = ladder(
        message(0, PHONE, SWITCH, INVITE),
        message(1, SWITCH, PHONE, wide),
        message(2, SWITCH, PHONE, marks),
        names={"203.0.113.5": "電話機"},
    )
    lines = render_text(shape, width).splitlines()[2:]
    at = [x for x, c in enumerate(lines[1]) if c == "│"]
    for line in lines[1:]:
        if "audio" in line:
            continue
        places = [sum(cells(c) for c in line[:x]) for x, c in enumerate(line) if c == "│"]
        assert places == at, line
    heads = lines[0]
    assert "電話機" in heads and abs(cells(heads[: heads.index("電話機")]) + 3 - at[0]) <= 1


def test_a_long_label_is_cut_inside_its_arrow() -> None:
    text = render_text(ladder(message(0, PHONE, SWITCH, sip(b"SIP/2.0 500 " + b"very " * 40))), 80)
    arrow = next(line for line in text.splitlines() if "500" in line)
    assert arrow.endswith("… ─►│") and cells(arrow) <= 80


def test_a_party_that_sends_to_itself() -> None:
    shape = ladder(message(0, PHONE, PHONE, INVITE), message(1, PHONE, SWITCH, INVITE))
    line = render_text(shape).splitlines()[4]
    assert "│◄── INVITE (SDP)  " in line
    assert line.endswith("│"), "the other lifeline goes on"
    assert "  p0->>p0: INVITE (SDP)\n  Note over p0: audio" in render_mermaid(shape)
    assert any("h40" in (e.get("d") or "") for e in drawn(render_svg(shape))[0].iter())
    alone = render_text(ladder(message(0, PHONE, PHONE, INVITE)), 60)
    assert max(map(cells, alone.splitlines())) <= 60


def test_more_than_a_thousand_messages_keep_their_milliseconds() -> None:
    shape = ladder(*(message(n * 2000, PHONE, SWITCH, sip(b"OPTIONS sip:b@h SIP/2.0")) for n in range(1200)))
    lines = [line for line in render_text(shape).splitlines() if "OPTIONS" in line]
    assert lines[0].startswith("   1  10:00:00.000   +0.000  ") and lines[-1].startswith(
        "1200  10:39:58.000   +2.000  "
    )
    late = render_text(ladder(message(0, PHONE, SWITCH, INVITE), message(12_345_678, PHONE, SWITCH, INVITE)))
    assert "  2  13:25:45.678 +12345.678  " in late


def test_colour_changes_nothing_but_colour() -> None:
    coloured = render_text(SMALL, color=True)
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == render_text(SMALL)
    assert coloured.count("\x1b[0m") == len(SMALL.rows)
    assert [m for m in re.findall(r"\x1b\[(\d+)m", coloured) if m != "0"] == ["36", "36", "33", "31", "36"]


@pytest.mark.parametrize(
    ("ns", "text"),
    [(0, "00:00:00.000"), (START + 86_399_999_999_999, "09:59:59.999"), (86_399_999_000_000, "23:59:59.999")],
)
def test_clock(ns: int, text: str) -> None:
    assert clock(ns) == text


HOSTILE = "</text><script>alert(1)</script>\"'&;#\x1b[2J\x07\x9b\u202e\u2028\x00\ufffe\n\rp0->>p1: forged%%{init}"


def hostile() -> Ladder:
    raw = HOSTILE.encode().replace(b"\n", b" ").replace(b"\r", b" ") + b"\xff\xc3"
    return ladder(
        message(0, PHONE, SWITCH, sip(raw.replace(b" ", b"_") + b" x SIP/2.0", b"Reason: " + raw)),
        message(
            1,
            SWITCH,
            PHONE,
            sip(
                b"SIP/2.0 400 " + raw,
                b"Warning: " + raw,
                b"Content-Type: application/sdp",
                body=b"v=0\nm=" + raw + b" 4 RTP/AVP 0\nc=IN IP4 " + raw.replace(b" ", b"_"),
            ),
        ),
        call_id=HOSTILE,
        names={"203.0.113.5": HOSTILE},
    )


def texts_of(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    children = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [text for child in children for text in texts_of(child)]


def test_hostile_text_is_shown_and_obeyed_nowhere() -> None:
    shape = hostile()
    faces = {"text": render_text(shape), "svg": render_svg(shape), "mermaid": render_mermaid(shape)}
    for name, face in faces.items():
        bad = {c for c in face if not c.isprintable() and c != "\n"}
        assert not bad, (name, bad)
    assert all(text.isprintable() for text in texts_of(render_json(shape)))
    assert "alert(1)" in faces["text"], "hidden is not escaped"

    root, texts = drawn(faces["svg"])
    assert {e.tag.rpartition("}")[2] for e in root.iter()} <= {"svg", "rect", "defs", "marker", "path", "text", "line"}
    assert any("<script>alert(1)</script>" in text for text in texts)

    lines = faces["mermaid"].splitlines()
    assert len(lines) == 3 + 2 + 2 + 2, "one line a party, a message and its note: none was forged"
    for line in lines[1:]:
        assert not set('<>"{}&\\`') & set(line.replace("->>", "").replace("-->>", "")), line
        assert "%%" not in line.removeprefix("  %%") and re.sub(r"#\d+;", "", line).count(";") == 0


_anything = st.text(max_size=30)


@given(_anything, _anything, st.binary(max_size=40), st.sampled_from([None, 60, 80]))
def test_any_text_leaves_every_face_whole(call_id: str, name: str, raw: bytes, width: int | None) -> None:
    line = raw.replace(b"\r", b"").replace(b"\n", b"")
    shape = ladder(
        message(0, PHONE, SWITCH, sip(b"SIP/2.0 200 " + line, b"Reason: " + line)),
        message(1, PHONE, PHONE, sip(line + b" x SIP/2.0")),
        call_id=call_id,
        names={"203.0.113.5": name},
    )
    text = render_text(shape, width)
    assert all(c.isprintable() or c == "\n" for c in text)
    assert len(text.splitlines()) == len(text.split("\n")) - 1, "no character but a line feed ends a line"
    if width:
        assert all(cells(part) <= width for part in text.splitlines()[2:])
    drawn(render_svg(shape))
    assert len(render_mermaid(shape).splitlines()) == 5 + len(shape.rows) + sum(bool(r.notes) for r in shape.rows)
    json.dumps(render_json(shape)).encode("ascii")
