"""The NAT tests of many messages at once say what the tests of one message say, whatever the message looks like."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from capture.frames import Frame, Payload
from capture.natscan import ODD, nat_tests, scan_nat
from capture.pipeline import TRANSPORTS, Decoder, MessageBlock, from_payloads
from capture.sources.pcapfile import PcapFile
from sip.message import parse_message
from sip.nat import Sent, kamailio_number, masks, opensips_number, packed

FIXTURES = Path(__file__).parents[2] / "fixtures" / "pcaps"


def payload(raw: bytes, ip: str, port: int, over: str) -> Payload:
    frame = Frame(10**18, 1, "eth0", len(raw), raw)
    return Payload(10**18, over, ip, port, "192.0.2.1", 5060, raw, (frame,), -1, 0)


def told_one_by_one(block: MessageBlock) -> list[int]:
    """What `sip.nat` says of each message."""
    out = []
    for i in range(len(block)):
        raw = block.data[block.start[i] : block.start[i] + block.length[i]].tobytes()
        number = int(block.src_hi[i]) << 64 | int(block.src_lo[i])
        mapped = number >> 32 == 0xFFFF
        ip = str(ip_address(number & 0xFFFFFFFF)) if mapped else str(ip_address(number.to_bytes(16, "big")))
        sent = Sent(parse_message(raw), ip, int(block.sport[i]), TRANSPORTS[block.transport[i]])
        out.append(0 if block.in_dialog[i] else packed(sent))
        if sent.sip.is_request and not block.in_dialog[i]:
            whole = masks(sent)
            assert (whole[0].number, whole[1].number) == (kamailio_number(out[-1]), opensips_number(out[-1]))
    return out


def by_kernel_alone(block: MessageBlock) -> list[int]:
    out = np.empty(len(block), np.int32)
    b = block
    scan_nat(b.data, b.start, b.length, b.slices, b.in_dialog, b.src_hi, b.src_lo, b.sport, b.transport, out)
    return out.tolist()  # type: ignore[no-any-return]


HOSTS = [
    *("10.0.0.1", "172.16.0.9", "172.32.0.1", "192.168.1.20", "100.64.0.1", "100.128.0.1", "192.0.0.7", "192.0.0.200"),
    *(
        "203.0.113.9",
        "198.51.100.7",
        "0.0.0.0",
        "127.0.0.1",
        "169.254.1.1",
        "phone.example.org",
        "df7jal23ls0d.invalid",
    ),
    *("10.0.0.256", "10.0.0", "010.0.0.1", "10.0.0.1.", "1.2.3.4.5", "localhost", "*", "", "10", "a_b"),
    *(
        "[2001:db8::5]",
        "[fd00::1]",
        "[::1]",
        "[::]",
        "[::ffff:10.0.0.1]",
        "[2001:DB8:0:0:0:0:0:5]",
        "[1:2:3:4:5:6:7:8]",
    ),
    *(
        "[1:2:3:4:5:6:7:8:9]",
        "[::1::2]",
        "[12345::]",
        "[fe80::1%eth0]",
        "2001:db8::5",
        "[10.0.0.1]",
        "[1::",
        "[1::]x",
        "::",
    ),
    *("[::ffff:a00:1]", "[1:2:3:4:5:6:7::]", "[1:2:3:4:5:6:7:8::]", "[:1::]", "[1:]"),
]
PORTS = ["", ":5060", ":5061", ":31044", ":0", ":", ":080", ":99999999", ":1234567", ":x", ":80", ":443"]
VIA_FORMS = [
    *("SIP/2.0/UDP {}{};branch=z9hG4bK1", "SIP/2.0/UDP {}{}", "SIP/2.0/UDP {}{};rport;received=1.2.3.4;branch=1"),
    *(
        "SIP/2.0/TCP {}{} ;branch=1 ; Received = 9",
        "SIP / 2.0 / UDP {}{};branch=1",
        "SIP/2.0/UDP  {} {};x=receivedness",
    ),
    *("SIP/2.0/UDP {}{}, SIP/2.0/UDP 10.9.9.9;received=1", 'SIP/2.0/UDP {}{};a="x,y;received"', "SIP/2.0/UDP\t{}{}"),
    *(
        "SIP/2.0/UDP\r\n {}{};branch=1",
        "{}{}",
        "",
        "SIP/2.0/UDP {}{};received",
        "SIP/2.0/UDP/ {}{}",
        "SIP/2.0/UDP {}{};;received;",
    ),
]
CONTACT_FORMS = [
    *(
        "<sip:alice@{}{}>",
        "sip:alice@{}{}",
        "sip:alice@{}{};expires=60",
        '"Al, <ice>" <sip:alice@{}{}>;q=1',
        "<sip:{}{}>",
    ),
    *(
        "<sips:alice@{}{}>",
        "<sip:a@{}{};transport=tls>",
        "<sip:a@{}{};Transport=WSS;x>",
        "<sip:a@{}{};transport=ws?h=1>",
    ),
    *(
        "<sip:a@{}{};transport=TLSX>",
        "<sip:a@{}{};transport>",
        "<sip:a@{}{};transport=>",
        "<sips:a@{}{};transport=udp>",
    ),
    *(
        "<sip:a@{}{}>, <sip:b@10.1.1.1>",
        "<sip:a;b=c:d@{}{}>;a=b",
        "<sip:a@{}{}",
        "*",
        "",
        "<tel:+44>",
        '"a\\"b" <sip:a@{}{}>',
    ),
    *("<sip:a@b@{}{}>", "Al <sip:al@{}{}> ;a", "<sip:al@{}{}?x=;transport=tls>", "<SIP:al@{}{};a=transport=tls>"),
    *("<sip:a@{}{};x;transport=tls;transport=ws>", "Al, <sip:al@{}{}>", '"Al" <sip:al@{}{}>;x="y,z"', "<>", "sip:"),
]
C_LINES = [
    *(
        "c=IN IP4 {}",
        "c=IN IP6 {}",
        "c=IN IP4 {}/127",
        "c=IN  IP4 {} ",
        "c=IN IP4",
        "c=",
        "c=IN\tIP4 {}",
        "a=c=IN IP4 {}",
        "",
    ),
]
TYPES = [
    "application/sdp",
    "Application/SDP;x=1",
    "",
    "text/plain",
    None,
    'multipart/mixed;boundary="b b"',
    "multipart/mixed;boundary=b1",
    "Multipart/related ; BOUNDARY=b1;x=1",
    "multipart/mixed",
]
addresses = st.sampled_from([h.strip("[]") for h in HOSTS])


@st.composite
def bodies(draw: st.DrawFn, kind: str | None) -> str:
    eol = draw(st.sampled_from(["\r\n", "\r\n", "\n"]))
    line = st.builds(str.format, st.sampled_from(C_LINES), addresses)
    lines = [
        draw(st.sampled_from(["v=0", "v=0", "o=x", "v=0 and more"])),
        "s=-",
        *draw(st.lists(line, max_size=2)),
        "t=0 0",
    ]
    for _ in range(draw(st.integers(0, 3))):
        lines += ["m=audio 4000 RTP/AVP 0", *draw(st.lists(line, max_size=2)), "a=sendrecv"]
    sdp = eol.join(lines) + draw(st.sampled_from([eol, ""]))
    if kind is None or "multi" not in kind.lower():
        return draw(st.sampled_from([sdp, sdp, sdp, "", "v=0"]))
    b = draw(st.sampled_from(["b1", "b1", "b b"]))
    other = f"--{b}\r\nContent-Type: application/isup\r\n\r\n\x01\x02c=IN IP4 10.0.0.1\r\n"
    head = draw(
        st.sampled_from(
            ["Content-Type: application/sdp\r\n", "content-type:APPLICATION/SDP\r\nX: 1\r\n", "", "X: y\r\n"]
        )
    )
    part = f"--{b}\r\n{head}\r\n{sdp}\r\n"
    return draw(st.sampled_from([part + other, other + part, part, other])) + f"--{b}--\r\n"


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    def place(forms: list[str]) -> str:
        return draw(st.sampled_from(forms)).format(draw(st.sampled_from(HOSTS)), draw(st.sampled_from(PORTS)))

    kind = draw(st.sampled_from(TYPES))
    body = draw(bodies(kind))
    lines = [draw(st.sampled_from(["INVITE sip:b@x SIP/2.0", "REGISTER sip:x SIP/2.0", "SIP/2.0 200 OK"]))]
    lines += [
        f"{draw(st.sampled_from(['Via', 'v', 'VIA ']))}: {place(VIA_FORMS)}" for _ in range(draw(st.integers(0, 2)))
    ]
    names = st.sampled_from(["Contact", "m", "M ", "contact"])
    lines += [f"{draw(names)}:{place(CONTACT_FORMS)}" for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2])))]
    lines += ["Call-ID: x", "CSeq: 1 INVITE", "To: <sip:b@x>", "Max-Forwards: 70", "Record-Route: <sip:p>"]
    lines += [] if kind is None else [f"{draw(st.sampled_from(['Content-Type', 'c']))}: {kind}"]
    return "\r\n".join([*lines, "", body]).encode()


SOURCES = ["203.0.113.9", "10.0.0.1", "192.168.1.20", "100.64.0.1", "192.0.0.200", "2001:db8::5", "fd00::1"]


@settings(max_examples=800, deadline=None)
@given(messages(), st.sampled_from(SOURCES), st.sampled_from([5060, 5061, 31044, 80, 443]), st.sampled_from(TRANSPORTS))
@example(b"INVITE sip:b@x SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1", "10.0.0.1", 5060, "udp")
@example(b"INVITE sip:b@x SIP/2.0\r\nContact: <sip:alice@:5060>\r\n\r\n", "203.0.113.9", 5060, "udp")
def test_all_at_once_agrees_with_one_by_one(raw: bytes, ip: str, port: int, over: str) -> None:
    block = from_payloads([payload(raw, ip, port, over)], np.zeros(1, np.int64))
    assert nat_tests(block).tolist() == told_one_by_one(block)
    (alone,) = by_kernel_alone(block)
    assert alone in (ODD, *told_one_by_one(block))


def corpus() -> list[Path]:
    return sorted([*FIXTURES.glob("*.pcap"), *FIXTURES.glob("*.pcapng")])


def test_it_agrees_on_every_capture() -> None:
    looked = odd = told = 0
    for path in corpus():
        source, decoder = PcapFile(str(path)), Decoder()
        blocks = [m for block in source.blocks() for m in decoder.feed(block)] + decoder.flush()
        source.close()
        for block in blocks:
            expected = told_one_by_one(block)
            assert nat_tests(block).tolist() == expected, path.name
            looked += len(block)
            odd += by_kernel_alone(block).count(ODD)
            told += sum(map(bool, expected))
    assert looked > 500 and told > 50
    assert odd < looked / 10, "usual messages must not need the slow way"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("P-Asserted-Identity: <sip:+441632960001@x>", ("+441632960001", "")),
        ("p-asserted-identity : \"A, B\" <sip:1@x>,<tel:2>", ("1", "")),
        ("P-Asserted-Identity: tel:+441632;x=1,sip:7@x", ("+441632", "")),
        ("P-Asserted-Identity:\r\n <sip:folded@x>", ("folded", "")),
        ("P-Asserted-Identity: <sip:first@x>\r\nP-Asserted-Identity: <tel:second>", ("first", "")),
        ("Remote-Party-ID: \"x\" <sip:party@x>;party=calling\r\nP-Asserted-Identity: <sip:pai@x>", ("pai", "")),
        ("P-Asserted-Identity: <sip:pai@x>\r\nRemote-Party-ID: <sip:party@x>", ("pai", "")),
        ("REMOTE-PARTY-ID: <sip:party@x>", ("party", "")),
        ("P-Preferred-Identity: <sip:wish@x>", ("", "")),
        ("Diversion: <sip:last@x>;reason=user-busy, <sip:first@x>", ("", "last")),
        ("diversion: <tel:+44163296;a=b>\r\nDiversion: <sip:older@x>", ("", "+44163296")),
        ("Diversions: <sip:x@y>\r\nP-Asserted-Identit: <sip:x@y>\r\nRemote: <sip:x@y>", ("", "")),
        ("P-A:\r\nD:\r\nR:\r\nm\r\nv\r\np\r\nDi", ("", "")),
    ],
)  # fmt: skip
def test_asserted_and_diverting_numbers(line: str, said: tuple[str, str]) -> None:
    raw = f"INVITE sip:b@x SIP/2.0\r\nCall-ID: 1\r\n{line}\r\nCSeq: 1 INVITE\r\n\r\n".encode()
    block = from_payloads([payload(raw, "10.0.0.1", 5060, "udp")], np.zeros(1, np.int64))
    pieces = [block.slices[k, 0] for k in (8, 9)]
    assert tuple(block.data[at : at + size].tobytes().decode() for at, size in pieces) == said
