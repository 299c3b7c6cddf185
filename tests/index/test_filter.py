"""The filter language over real rows: every key and operator, errors that point, and no text that becomes SQL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import dpkt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from api.client import HttpDesk
from api.serve import ApiServer
from api.server import create_app
from capture.frames import Frame
from diagnose.file_desk import FileDesk
from index.archive import Archive
from index.filter import KEYS, FilterError, parse_filter
from index.findings import Verdict
from index.importing import import_file
from index.lake import Lake
from index.pcapfile import write_capture
from sip.errors import Misread, SiptrailError
from sip.nat import DIALECTS, NAMES

START = 1_767_607_200_000_000_000
"""2026-01-05T10:00:00Z"""
MINUTE, SECOND = 60 * 10**9, 10**9


def packet(payload: bytes, src: str, sport: int, dst: str, dport: int, tcp: bool = False) -> bytes:
    if tcp:
        segment = dpkt.tcp.TCP(sport=sport, dport=dport, seq=1, ack=1, flags=dpkt.tcp.TH_ACK, data=payload)
    else:
        segment = dpkt.udp.UDP(sport=sport, dport=dport, data=payload, ulen=len(payload) + 8)
    proto = 6 if tcp else 17
    if ":" in src:
        ip = dpkt.ip6.IP6(
            src=ip_address(src).packed, dst=ip_address(dst).packed, nxt=proto, hlim=64, plen=len(segment), data=segment
        )
        return bytes(dpkt.ethernet.Ethernet(type=0x86DD, data=ip))
    ip = dpkt.ip.IP(src=ip_address(src).packed, dst=ip_address(dst).packed, p=proto, id=sport & 0xFF | 1, data=segment)
    return bytes(dpkt.ethernet.Ethernet(type=0x0800, data=ip))


class Calls:
    """Captured calls, one a minute."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.at = START

    def add(
        self,
        call_id: str,
        method: str = "INVITE",
        code: int | None = 200,
        reason: str = "OK",
        *,
        who: tuple[str, str] = ("1001", "2002"),
        ua: str = "phone",
        src: tuple[str, int] = ("203.0.113.5", 5060),
        dst: tuple[str, int] = ("198.51.100.10", 5060),
        payloads: str = "8",
        ring: float | None = None,
        talk: float | None = None,
        tcp: bool = False,
        head: str = "",
        hung_up: bool = False,
    ) -> None:
        sdp = f"v=0\r\nc=IN IP4 203.0.113.5\r\nm=audio 4000 RTP/AVP {payloads}\r\n" if method == "INVITE" else ""
        at = self.at

        def send(after: float, start: str, cseq: str, back: bool, body: str = "") -> None:
            text = (
                f"{start}\r\nVia: SIP/2.0/UDP x;branch=z9hG4bK1\r\nFrom: <sip:{who[0]}@a>;tag=1\r\n"
                f"To: <sip:{who[1]}@b>{';tag=2' if back else ''}\r\nCSeq: {cseq}\r\nUser-Agent: {ua}\r\n"
                f"Call-ID: {call_id}\r\n{'' if back else head}Content-Length: {len(body)}\r\n\r\n{body}"
            )
            a, b = (dst, src) if back else (src, dst)
            data = packet(text.encode(), *a, *b, tcp)
            self.frames.append(Frame(at + round(after * SECOND), 1, "eth0", len(data), data))

        send(0, f"{method} sip:{who[1]}@b SIP/2.0", f"1 {method}", False, sdp)
        if ring is not None:
            send(ring, "SIP/2.0 180 Ringing", f"1 {method}", True)
        if code is not None:
            send((ring or 0) + 2, f"SIP/2.0 {code} {reason}", f"1 {method}", True, sdp if code == 200 else "")
        if talk is not None:
            send((ring or 0) + 2 + talk, "BYE sip:b SIP/2.0", "2 BYE", hung_up)
        self.at += MINUTE


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileDesk]:
    made = Calls()
    made.add("talked@host", who=("441632960001", "2002"), ua="Asterisk PBX 18", ring=0.1, talk=3)
    made.add(
        "busy%_x",
        code=486,
        reason="Busy Here",
        who=("alice", "2002"),
        ua="friendly-scanner",
        payloads="18 8",
        head="Diversion: <sip:+44999@x>;reason=no-answer\r\n",
    )
    made.add("o'neil;--", "REGISTER", who=("o'neil", "o'neil"), src=("203.0.113.77", 5070))
    made.add(
        "full@six",
        code=503,
        reason="Server at max cps/channels",
        who=("100%", "x_y"),
        src=("2001:db8::5", 5060),
        dst=("2001:db8::10", 5080),
        ring=5,
        head='P-Asserted-Identity: "x" <sip:+441632960777@x>\r\n',
    )
    made.add("silent", code=None, who=("+4930123", "0044555"), dst=("10.1.2.3", 5060))
    made.add(
        'a "b" (c)',
        code=404,
        reason="Not Found",
        who=("bob", "*67"),
        src=("10.255.255.255", 5060),
        head="Contact: <sip:b@10.255.255.255>\r\n",
    )
    made.add("ABC*def:x", "OPTIONS", who=("007", "xzy"), src=("192.0.2.1", 5061), tcp=True)
    made.add("long@host", who=("441632960002", "911"), ua='say "hi"', payloads="0", ring=1, talk=3600, hung_up=True)
    path = tmp_path_factory.mktemp("filter") / "calls.pcap"
    path.write_bytes(write_capture(sorted(made.frames, key=lambda f: f.ts)))
    found = FileDesk(str(path), "node1", frozenset({5060, 5061, 5070, 5080}), wait=True, rules=())
    names = {"full@six": ("capacity-rejection",), "silent": ("invite-unanswered", "odd_name")}
    found.archive.verdicts.remember(
        Verdict(c, START, 1, START, "", tuple((n, "error", "{}") for n in some)) for c, some in names.items()
    )
    yield found
    found.close()


ALL = {"talked@host", "busy%_x", "o'neil;--", "full@six", "silent", 'a "b" (c)', "ABC*def:x", "long@host"}
CALLS = {"talked": "talked@host", "busy": "busy%_x", "reg": "o'neil;--", "full": "full@six", "silent": "silent"}
CALLS |= {"lost": 'a "b" (c)', "options": "ABC*def:x", "long": "long@host"}


def ids(desk: FileDesk, text: str) -> set[str]:
    found = [c.call_id for c in desk.archive.calls(parse_filter(text, desk.archive.now()), 100)]
    assert len(found) == len(set(found))
    return set(found)


# filter, names of the calls that match
TABLE = [
    ("from:441632960001", "talked"),
    ("from:441632*", "talked long"),
    ("from:*960002", "long"),
    ("from:4416", ""),
    ("from:~LIC", "busy"),
    ("from:ALICE", ""),
    ("from:o'neil", "reg"),
    ("from:100%", "full"),
    ("from:10*%", "full"),
    ("from:1%", ""),
    ("to:x_y", "full"),
    ("to:x*y", "full options"),
    ("to:*_*", "full"),
    ("to:2002", "talked busy"),
    ("number:441632960001", "talked"),
    ("number:2002", "talked busy"),
    ("number:~0", "talked busy full silent options long"),
    ("src:203.0.113.5", "talked busy silent long"),
    ("src:203.0.113.0/24", "talked busy reg silent long"),
    ("src:203.0.113.64/26", "reg"),
    ("src:203.0.113.77/24", "talked busy reg silent long"),
    ("src:10.0.0.0/8", "lost"),
    ("src:10.255.255.254/31", "lost"),
    ("src:10.255.255.254/32", ""),
    ("src:11.0.0.0/8", ""),
    ("dst:10.0.0.0/8", "silent"),
    ("ip:10.0.0.0/8", "silent lost"),
    ("ip:0.0.0.0/0", "talked busy reg silent lost options long"),
    ("src:203.0.113.77:5070", "reg"),
    ("src:203.0.113.77:5060", ""),
    ("src:203.0.113.0/24:5070", "reg"),
    ("src:203.0.*", "talked busy reg silent long"),
    ("dst:*:5080", "full"),
    ("src:2001:db8::5", "full"),
    ("src:2001:DB8:0:0::5", "full"),
    ("src:[2001:db8::5]", "full"),
    ("ip:[2001:db8::10]:5080", "full"),
    ("ip:[2001:db8::10]:5060", ""),
    ("src:2001:db8::5/128", "full"),
    ("src:2001:db8::*", "full"),
    ("code:486", "busy"),
    ("code:4xx", "busy lost"),
    ("code:5XX", "full"),
    ("code:>=400", "busy full lost"),
    ("code:>404", "busy full"),
    ("code:<400", "talked reg options long"),
    ("code:<=404", "talked reg lost options long"),
    ("code:=503", "full"),
    ('code:"503"', "full"),
    ("code:6xx", ""),
    ("reason:~MAX", "full"),
    ('reason:"Busy Here"', "busy"),
    ("reason:Busy*", "busy"),
    ("reason:busy*", ""),
    ("ua:~asterisk", "talked"),
    ("ua:phone", "reg full silent lost options"),
    ('ua:"say \\"hi\\""', "long"),
    ("ua:friendly-*", "busy"),
    ("node:node1", " ".join(CALLS)),
    ("node:other", ""),
    ("method:register", "reg"),
    ("method:INVITE", "talked busy full silent lost long"),
    ("method:opt*", "options"),
    ("state:completed", "talked long"),
    ("state:BUSY", "busy"),
    ("state:ok", "reg options"),
    ("state:*ed", "talked full silent lost long"),
    ("state:unanswered", "silent"),
    ("transport:tcp", "options"),
    ("transport:UDP", "talked busy reg full silent lost long"),
    ("codec:g729", "busy"),
    ("codec:PCMA", "talked busy full silent lost"),
    ("codec:pcm*", "talked busy full silent lost long"),
    ("codec:~729", "busy"),
    ("codec:pcm", ""),
    ("codec:g*a", ""),
    ("call-id:talked@host", "talked"),
    ("call-id:*@host", "talked long"),
    ("call-id:~HOST", "talked long"),
    ("call-id:busy%_x", "busy"),
    ("call-id:busy*x", "busy"),
    ("call-id:%", ""),
    ("call-id:_____", ""),
    ("call-id:o'neil;--", "reg"),
    ('call-id:"a \\"b\\" (c)"', "lost"),
    ('call-id:"a \\"b"*', "lost"),
    ("CALL-ID:silent", "silent"),
    ("pdd:>4s", "full"),
    ("pdd:>4", "full"),
    ("pdd:100ms", "talked"),
    ("pdd:<=0.1s", "talked"),
    ("pdd:5000ms", "full"),
    ("ring:2s", "talked full long"),
    ("talk:3", "talked"),
    ("talk:<4s", "talked"),
    ("talk:1h", "long"),
    ("talk:60m", "long"),
    ("talk:60min", "long"),
    ("talk:>1d", ""),
    ("talk:>=3000ms", "talked long"),
    ("messages:1", "silent"),
    ("messages:>3", "talked long"),
    ("messages:<2", "silent"),
    ("retransmissions:0", " ".join(CALLS)),
    ("retransmissions:>0", ""),
    ("finding:capacity-rejection", "full"),
    ("finding:*-*", "full silent"),
    ("finding:~UNANSWERED", "silent"),
    ("finding:odd_name", "silent"),
    ("finding:odd-name", ""),
    ("since:2026-01-05T10:05:00Z", "lost options long"),
    ("since:2026-01-05T10:05:00.000001Z", "options long"),
    ("until:2026-01-05T10:01:00Z", "talked busy"),
    ("since:2026-01-05", " ".join(CALLS)),
    ("until:2026-01-05", ""),
    # The file ends 67 minutes and 3 seconds after it began: that is "now".
    ("since:62m", "options long"),
    ("since:1.01h", "long"),
    ("since:1d", " ".join(CALLS)),
    ("until:1d", ""),
    ("since:99999999999999999999d", " ".join(CALLS)),
    ("since:10:05", "lost options long"),
    ("until:10:00:30", "talked"),
    ("since:23:59", " ".join(CALLS)),
    ("interface:calls.pcap", " ".join(CALLS)),
    ("interface:eth*", ""),
    ("pai:+441632960777", "full"),
    ("pai:~1632", "full"),
    ("pai:*", "talked busy reg full silent lost options long"),
    ("not pai:~4", "talked busy reg silent lost options long"),
    ("diversion:+44999", "busy"),
    ("diversion:~999 from:alice", "busy"),
    ("ended:caller", "talked"),
    ("ended:CALLEE", "long"),
    ("not ended:*", "busy reg full silent lost options"),
    ("nat:private-contact", "lost"),
    ("nat:PRIVATE-*", "lost"),
    ("nat:private-source", "lost"),
    ("nat:diff-port-src-via", "reg options"),
    ("nat:diff-ip-src-sdp", "full lost"),
    ("not nat:diff-ip-src-sdp", "talked busy reg silent options long"),
    ("nat:diff-ip-src-via", " ".join(CALLS)),
    ("nat:kamailio=1", "lost"),
    ("nat:kamailio=19", " ".join(CALLS)),
    ("nat:kamailio=48", "reg lost options"),
    ("nat:opensips=1", "lost"),
    ("nat:opensips=32", ""),
    ("nat:opensips=16", "reg options"),
    ("nat:kamailio-client=1", "lost"),
    ("nat:opensips-client=9", "lost"),
    ("nat:opensips-client=8", ""),
    ("src:2001:db8::/32", "full"),
    ("ip:[2001:db8::10]:5080", "full"),
    ("src:2001:db8::4/126", "full"),
    ("src:2001:db8::8/125", ""),
    ("dst:2001:db8::8/124", ""),
    ("dst:2001:db8::1f/124", "full"),
    ("ip:::/0", "full"),
    # A word on its own.
    ("203.0.113.77", "reg"),
    ("198.51.100.10", "talked busy reg lost options long"),
    ("203.0.113.77:5070", "reg"),
    ("[2001:db8::10]:5080", "full"),
    ("10.0.0.0/8", "silent lost"),
    ("2001:db8::5", "full"),
    ("63296000", "talked long"),
    ("441632960001", "talked"),
    ("+441632960001", "talked"),
    ("00441632960001", "talked"),
    ("4930123", "silent"),
    ("0044555", "silent"),
    ("007", "options"),
    ("*67", "lost"),
    ("44*1", "talked long"),
    ("911", "long"),
    ("silent", "silent"),
    ("sile", "silent"),
    ("SILENT", ""),
    ("alice", "busy"),
    ("ali*", "busy"),
    ("*@host", "talked long"),
    ("%_x", "busy"),
    ("_", "busy"),
    ("ABC*def:x", "options"),
    ("'neil;--", "reg"),
    ('"a \\"b\\" (c)"', "lost"),
    ("sip:alice@a", ""),
    # Words together.
    ("from:441632* talk:>1m", "long"),
    ("from:441632* and talk:>1m", "long"),
    ("code:486 or code:503", "busy full"),
    ("code:486 OR code:503 AND src:2001:db8::5", "busy full"),
    ("(code:486 or code:503) src:2001:db8::5", "full"),
    ("not method:INVITE", "reg options"),
    ("NOT method:INVITE from:007", "options"),
    ("not (method:INVITE or from:007)", "reg"),
    ("not not from:007", "options"),
    ("not code:200", "busy full silent lost"),
    ("not talk:>0s", "busy reg full silent lost options"),
    ("not code:>0", "silent"),
    ("((from:007))", "options"),
    ("from:007 or (code:4xx not reason:~found)", "options busy"),
    ('"not" or "or" or "and"', ""),
    ("", " ".join(CALLS)),
    ("  \t ", " ".join(CALLS)),
]


@pytest.mark.parametrize(("text", "names"), TABLE, ids=[t or "empty" for t, _ in TABLE])
def test_which_calls_match(desk: FileDesk, text: str, names: str) -> None:
    assert ids(desk, text) == {CALLS[name] for name in names.split()}


# filter, names of the calls that may match whatever their diagnosis will say
POSSIBLE = [
    ("finding:odd_name", " ".join(CALLS)),
    ("not finding:odd_name", " ".join(CALLS)),
    ("not not finding:odd_name", " ".join(CALLS)),
    ("not (from:alice finding:odd_name) from:alice", "busy"),
    ("finding:odd_name from:alice", "busy"),
    ("not finding:odd_name code:4xx", "busy lost"),
    ("not (finding:odd_name or code:4xx)", "talked reg full silent options long"),
    ("finding:odd_name or from:alice", " ".join(CALLS)),
    # Calls without an answer, whose code nobody knows, are not asked about for a code.
    ("finding:odd_name code:>0", "talked busy reg full lost options long"),
    ("finding:odd_name not code:>0", "silent"),
    ("finding:odd_name or not talk:>0s", " ".join(CALLS)),
    ("finding:odd_name talk:>0s", "talked long"),
    ("from:alice (finding:a or finding:b)", "busy"),
    ("from:alice from:bob finding:a", ""),
]


@pytest.mark.parametrize(("text", "names"), POSSIBLE, ids=[t for t, _ in POSSIBLE])
def test_which_calls_are_worth_a_diagnosis(desk: FileDesk, text: str, names: str) -> None:
    possible = parse_filter(text, desk.archive.now()).possible
    assert possible is not None and possible.possible is None
    found = {c.call_id for c in desk.archive.calls(possible, 100)}
    assert found == {CALLS[name] for name in names.split()}
    assert found >= ids(desk, text)


def test_without_findings_nothing_is_worth_a_diagnosis() -> None:
    assert [t for t, _ in TABLE if "finding" not in t and parse_filter(t, START).possible is not None] == []


def test_every_key_is_in_the_table() -> None:
    assert {text.partition(":")[0].lower() for text, names in TABLE if names} >= set(KEYS) - {
        "text"
    }  # it has tests of its own


def test_every_key_and_test_name_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "filter.md").read_text()
    keys = {key for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE) for key in re.findall(r"`([a-z-]+)`", row)}
    assert keys >= set(KEYS) and keys <= {*KEYS, *NAMES}
    assert all(f"`{name}`" in page for name in (*NAMES, *DIALECTS))


def test_a_time_of_day_that_is_still_to_come_is_yesterdays(desk: FileDesk) -> None:
    now = START + 6 * MINUTE
    assert parse_filter("since:10:05", now).parameters == (START + 5 * MINUTE,)
    assert parse_filter("since:10:06", now).parameters == (now,)
    assert parse_filter("since:10:07", now).parameters == (START + 7 * MINUTE - 86_400 * SECOND,)
    assert parse_filter("since:2h", now).parameters == (now - 120 * MINUTE,)


def test_longer_ago_than_there_is_time() -> None:
    assert parse_filter(f"since:{'9' * 400}d", START).parameters == (0,)


def test_a_backslash_in_quotes_keeps_any_character() -> None:
    assert parse_filter('from:a"\\\n\\"\\\\ "b', START).parameters == ('a\n"\\ b',)


# filter, the wrong character (^ under it), a part of what is said
ERRORS = [
    ("from:", "     ^", "from: needs a value"),
    ("from: 1001", "     ^", "from: needs a value"),
    ("FROM:~", "      ^", "needs a value"),
    ("caller:1001", "^", "there is no key 'caller' (keys: call-id, code"),
    ("code:503 callid:x", "         ^", "there is no key 'callid'"),
    ("Form:x", "^", "there is no key 'Form'"),
    ("call-idd:x", "^", "there is no key 'call-idd'"),
    ("code:abc", "     ^", "'abc' is no amount (write for example code:503)"),
    ("code:7xx", "     ^", "is no amount"),
    ("code:!=200", "     ^", "is no amount"),
    ("code:4s", "     ^", "is no amount"),
    ("messages:3ms", "         ^", "is no amount"),
    ("from:1 pdd:fast", "           ^", "'fast' is no amount (write for example talk:>4s)"),
    ("pdd:>4S", "    ^", "is no amount"),
    ("pdd:-1s", "    ^", "is no amount"),
    ("pdd:٣s", "    ^", "is no amount"),
    ("talk:=>4s", "     ^", "is no amount"),
    ("src:example.com", "    ^", "'example.com' is no IP address"),
    ("src:300.1.2.3", "    ^", "is no IP address"),
    ("src:10.0.0.0/33", "    ^", "is no network (write for example 203.0.113.0/24)"),
    ("src:x/8", "    ^", "is no network"),
    ("src:2001:db8::/129", "    ^", "is no network"),
    ("nat:19", "    ^", "19 means other tests to each proxy: write kamailio=19 or opensips="),
    ("nat:kamailio=512", "             ^", "kamailio has no NAT test '512'"),
    ("nat:opensips=128", "             ^", "opensips has no NAT test '128'"),
    ("nat:kamailio-client=8", "                    ^", "has no NAT test '8'"),
    ("nat:opensips=0", "             ^", "has no NAT test '0'"),
    ("nat:opensips=x", "             ^", "has no NAT test 'x'"),
    ("nat:freeswitch=1", "    ^", "'freeswitch' is none of kamailio, opensips"),
    ("nat:private", "    ^", "there is no NAT test 'private' (private-contact, "),
    ("src:10.0.0.1:65536", "    ^", "65536 is no port"),
    ("src:10.0.0.1:" + "9" * 5000, "    ^", "is no port"),
    ("10.0.0.1:99999", "^", "is no port"),
    ("10.0.0.0/99", "^", "is no network"),
    ("since:yesterday", "      ^", "is no time (write 2h, 10:42 or 2026-01-31T10:42:00Z, in UTC)"),
    ("since:24:00", "      ^", "is no time"),
    ("until:10:60", "      ^", "is no time"),
    ("until:10:42:61", "      ^", "is no time"),
    ("until:2026-13-01", "      ^", "is no time"),
    ("until:2026-01-31T10:42:00+01:00", "      ^", "is no time"),
    ("since:5 h", "      ^", "is no time"),
    ("(from:a", "^", "this bracket is not closed"),
    ("from:a (to:b (code:200)", "       ^", "this bracket is not closed"),
    ("from:a)", "      ^", "a bracket closes that none opened"),
    (")", "^", "')' needs something before it"),
    ("()", " ^", "')' needs something before it"),
    ("or from:a", "^", "'or' needs something before it"),
    ("from:a and and from:b", "           ^", "'and' needs something before it"),
    ("from:a or", "         ^", "something is missing"),
    ("from:a and", "          ^", "something is missing"),
    ("not", "   ^", "something is missing"),
    ('from:"a b', "     ^", "this quote is not closed"),
    ('from:a "', "       ^", "this quote is not closed"),
    ('"a\\"', "^", "this quote is not closed"),
    ('from:a""" b', "        ^", "this quote is not closed"),
    ('""', "^", "there is nothing to look for"),
    ("from:a\udcff", "      ^", "this is no character"),
    ("not " * 60 + "x", " " * 200 + "^", "nested too deep"),
    ("(" * 60 + "x" + ")" * 60, " " * 50 + "^", "nested too deep"),
]


@pytest.mark.parametrize(("text", "mark", "said"), ERRORS, ids=[ascii(e[0][:40]) for e in ERRORS])
def test_errors_point_at_what_is_wrong(text: str, mark: str, said: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse_filter(text, START)
    line = str(caught.value)
    assert said in line and caught.value.column == mark.index("^") + 1
    assert f"at character {mark.index('^') + 1} of " in line
    assert "\n" not in line and len(line) < 600 and caught.value.exit_code == 2


def test_the_service_tells_the_place_and_the_client_hands_it_on(desk: FileDesk) -> None:
    server = ApiServer(create_app(desk, version="1"))
    server.start()
    try:
        with pytest.raises(Misread, match="there is no key 'colour'") as caught:
            HttpDesk(server.url).calls('from:"a b" colour:red')
        assert (caught.value.position, caught.value.text) == (12, 'from:"a b" colour:red')
        (call,) = HttpDesk(server.url).calls("nat:private-contact").calls
        assert call == desk.calls("nat:private-contact").calls[0]
        assert call.nat_kamailio == 1 + 2 + 32 + 256 and "private-contact" in call.nat
    finally:
        server.stop()


HOSTILE = [
    "x'; DROP TABLE hot_calls; --",
    '"); DROP TABLE hot_calls; --',
    "' OR '1'='1",
    "x') OR 1=1 --",
    "%",
    "_",
    "\\",
    "?",
    "$now",
    "{source}",
    "$1",
    ":name",
    "E'\\\\x27'",
    "\x00",
    "/- -/",
    "ü\u202e\uefff",
]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize(
    "key", ["from", "reason", "ua", "codec", "call-id", "finding", "state", "number", "method", None]
)
def test_nothing_of_the_text_becomes_sql(desk: FileDesk, key: str | None, value: str) -> None:
    quoted = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    prefix = f"{key}:" if key else ""
    plain, hostile = parse_filter(f"{prefix}plain", START), parse_filter(prefix + quoted, START)
    assert hostile.sql == plain.sql and len(hostile.parameters) == hostile.sql.count("?")
    matching = {"%": {"busy%_x"}, "_": {"busy%_x"}}.get(value, set()) if key is None else set()
    assert ids(desk, prefix + quoted) == matching
    contains = parse_filter(f"{prefix}~{quoted}", START) if key else hostile
    assert not any(part in contains.sql for part in ("DROP", "1=1", "--", "source", "$"))
    assert ids(desk, "") == ALL, "the calls are still there"


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("key", ["code", "pdd", "messages", "src", "since"])
def test_what_is_no_number_address_or_time_is_refused(key: str, value: str) -> None:
    quoted = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    with pytest.raises(FilterError):
        parse_filter(f"{key}:{quoted}", START)


def test_parts_of_any_text_are_found_literally(desk: FileDesk) -> None:
    for call_id in ALL:
        quoted = '"' + call_id.replace("\\", "\\\\").replace('"', '\\"') + '"'
        assert ids(desk, f"call-id:~{quoted}") == {call_id}
        assert ids(desk, f"call-id:{quoted}") == {call_id}


_NOW = START + 67 * MINUTE
_word = st.one_of(
    st.sampled_from([t for t, _ in TABLE] + [e[0] for e in ERRORS if len(e[0]) < 60]),
    st.sampled_from(["(", ")", "and", "or", "not", '"', "\\", "~", "*", ":", "%", " ", "\n", "\x85", "١", "\ud800"]),
    st.sampled_from([f"{key}:" for key in KEYS]),
    st.text(max_size=8),
)


def compiled(text: str) -> tuple[str, list[object]] | None:
    """None where the text is refused, in the way it is to be."""
    try:
        return parse_filter(text, _NOW).to_sql()
    except SiptrailError as error:
        assert isinstance(error, FilterError)
        assert 1 <= error.column <= len(text) + 1
        line = str(error)
        assert line.isprintable() and line.startswith("filter: ") and len(line) < 700
        return None


@given(
    st.one_of(st.text(max_size=60), st.lists(_word, max_size=8).map(" ".join), st.lists(_word, max_size=5).map("".join))
)
@example("codec:g*a")
@example("src:::/0")
def test_any_text_is_understood_or_refused_in_one_line(text: str) -> None:
    found = compiled(text)
    if found is not None:
        sql, parameters = found
        assert sql.count("?") == len(parameters)
        known = r"nat & \?|- len|\[\]|lambda z: '0'|lpad\(g, 4, '0'\)|[a-z_]+|[A-Z]+|[0-9]+|[ ().,:?<>=+*]|'[%.,:\\]*'"
        assert re.fullmatch(f"(?:{known})*+", sql), sql


@given(st.lists(_word, max_size=6).map(" ".join))
def test_what_is_understood_can_be_asked(desk: FileDesk, text: str) -> None:
    try:
        where = parse_filter(text, _NOW)
    except FilterError:
        return
    archive: Archive = desk.archive
    found = {c.call_id for c in archive.calls(where, 100)}
    assert found <= ALL
    if where.possible is not None:
        assert found <= {c.call_id for c in archive.calls(where.possible, 100)}


def test_a_long_filter(desk: FileDesk) -> None:
    assert ids(desk, " or ".join(f"from:{n}" for n in range(2000))) == set()
    assert ids(desk, " ".join(["method:INVITE"] * 500)) == ids(desk, "method:INVITE")


def test_the_same_calls_from_a_store(desk: FileDesk, tmp_path: Path) -> None:
    """Hot rows and stored rows answer alike."""
    path = tmp_path / "all.pcap"
    path.write_bytes(write_capture(desk.archive.frames(sorted(ALL))))
    stored = Archive(Lake(tmp_path / "store"), lambda: _NOW)
    import_file(stored, str(path), "node1", sip_ports=frozenset({5060, 5061, 5070, 5080}))
    assert stored.hot_rows()[0] == 0
    for text in ("from:441632*", "src:203.0.113.0/24", "code:4xx", "codec:pcm*", "not code:200", "pdd:>4s", "silent"):
        found = {c.call_id for c in stored.calls(parse_filter(text, _NOW), 100)}
        assert found == ids(desk, text), text
    stored.close()
