"""The torture messages of RFC 4475 and RFC 5118: valid ones read right, invalid ones read as far as they go.

The messages are not part of the repository; the folder that SIPTRAIL_CORPUS names holds them under torture/.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sip.message import SipMessage, parse_message

pytestmark = pytest.mark.needs("corpus")


def torture(name: str, folder: str = "rfc4475") -> SipMessage:
    path = Path(os.environ["SIPTRAIL_CORPUS"]) / "torture" / folder / f"{name}.dat"
    if not path.exists():
        pytest.skip(f"SIPTRAIL_CORPUS has no torture/{folder}/{name}.dat")
    return parse_message(path.read_bytes())


# name: method, code, From user, To user, top Via (transport, host, port), CSeq number
VALID = {
    "wsinv": ("INVITE", 0, "jdrosen", "vivekg", ("UDP", "192.0.2.2", None), 9),
    "esc01": ("INVITE", 0, "I%20have%20spaces", "%75se%72", ("UDP", "host5.example.net", None), 234234),
    "esc02": ("RE%47IST%45R", 0, "resource", "resource", ("TCP", "host.example.com", None), 29344),
    "escnull": ("REGISTER", 0, "null-%00-null", "null-%00-null", ("UDP", "host5.example.com", None), 14398234),
    "lwsdisp": ("OPTIONS", 0, "caller", "user", ("UDP", "funky.example.com", None), 60),
    "semiuri": ("OPTIONS", 0, "caller", "j_user", ("UDP", "192.0.2.1", None), 8),
    "transports": ("OPTIONS", 0, "caller", "user", ("UDP", "t1.example.com", None), 60),
    "unreason": ("INVITE", 200, "user", "user", ("UDP", "192.0.2.198", None), 35),
    "noreason": ("INVITE", 100, "user", "user", ("UDP", "192.0.2.105", None), 35),
    "mpart01": ("MESSAGE", 0, "fluffy", "kumiko", ("UDP", "127.0.0.1", 5070), 1),
    "longreq": ("INVITE", 0, "amazinglylongcallername" * 5, "user", ("TCP", "sip33.example.com", None), 3882340),
    "badbranch": ("OPTIONS", 0, "caller", "user", ("UDP", "192.0.2.1", None), 8),
    "zeromf": ("OPTIONS", 0, "caller", "user", ("UDP", "host1.example.com", None), 39234321),
    "cparam01": ("REGISTER", 0, "watson", "watson", ("UDP", "saturn.example.com", 5060), 2),
    "cparam02": ("REGISTER", 0, "watson", "watson", ("UDP", "saturn.example.com", 5060), 3),
    "regescrt": ("REGISTER", 0, "user", "user", ("UDP", "host5.example.com", None), 14398234),
    "sdp01": ("INVITE", 0, "caller", "j_user", ("UDP", "192.0.2.15", None), 8),
    "inv2543": ("INVITE", 0, "+13035551111", "+16505552222", ("UDP", "iftgw.example.com", None), 56),
    "unkscm": ("OPTIONS", 0, "caller", "user", ("TCP", "host9.example.com", None), 3923423),
    "bext01": ("OPTIONS", 0, "caller", "j_user", ("TLS", "fold-and-staple.example.com", None), 8),
    "invut": ("INVITE", 0, "caller", "j.user", ("UDP", "somehost.example.com", None), 235448),
    "regaut01": ("REGISTER", 0, "j.user", "j.user", ("TCP", "192.0.2.253", None), 9338),
    # Not valid, but readable as what they mean.
    "lwsruri": ("INVITE", 0, "caller", "user", ("UDP", "192.0.2.1", 5060), 2130706432),
    "lwsstart": ("INVITE", 0, "caller", "user", ("UDP", "host1.example.com", None), 1893884),
    "ltgtruri": ("INVITE", 0, "caller", "user", ("UDP", "192.0.2.5", None), 1),
    "escruri": ("INVITE", 0, "caller", "user", ("UDP", "host-of-the-hour.example.com", None), 149209342),
    "baddate": ("INVITE", 0, "caller", "user", ("UDP", "host.example.com", None), 1392934),
    "badaspec": ("OPTIONS", 0, "a.g.bell", "t.watson", ("UDP", "host4.example.com", 5060), 3923239),
    "badvers": ("OPTIONS", 0, "a.g.bell", "t.watson", ("UDP", "c.example.com", None), 1),
    "mismatch01": ("OPTIONS", 0, "caller", "j.user", ("UDP", "host.example.com", None), 8),
    "mismatch02": ("NEWMETHOD", 0, "caller", "j.user", ("UDP", "host.example.net", None), 8),
    "trws": ("OPTIONS", 0, "local-resource", "remote-target", ("TCP", "host1.examle.com", None), 238923),
    "regbadct": ("REGISTER", 0, "user", "user", ("UDP", "135.180.130.133", 5060), 1),
    "badinv01": ("INVITE", 0, "caller", "j.user", ("UDP", "192.0.2.15", None), 8),
    "novelsc": ("OPTIONS", 0, "caller", "user", ("TCP", "host9.example.com", None), 3923423),
    "bcast": ("INVITE", 200, "user", "user", ("UDP", "192.0.2.198", None), 35),
    "unksm2": ("REGISTER", 0, "", "", ("UDP", "192.0.2.21", 5060), 234902),
}


@pytest.mark.parametrize("name", VALID)
def test_pieces(name: str) -> None:
    m = torture(name)
    method, code, from_user, to_user, via, cseq = VALID[name]
    assert m.from_ is not None and m.to is not None and m.top_via is not None
    assert (m.method, m.code, m.cseq) == (method, code, cseq)
    if name == "longreq":
        assert m.from_.uri.user.startswith("amazinglylongcallername") and len(m.vias) == 34
    else:
        assert m.from_.uri.user == from_user
    assert m.to.uri.user == to_user
    assert (m.top_via.transport, m.top_via.host, m.top_via.port) == via
    if name not in ("mpart01", "wsinv"):
        assert m.call_id.startswith(f"{name}.")
    assert m.defects == ()


DEFECTS = {
    "baddn": ["no blank line ends the headers"],
    "bigcode": ["'4294967301' is no status code"],
    "clerr": ["Content-Length says 9999, 154 bytes are there"],
    "dblreq": ["Content-Length says 0, 450 bytes are there"],
    "insuf": ["no Call-ID"],
    "mcl01": ["Content-Length says 13, 67 bytes are there"],
    "multi01": ["2 Call-IDs"],
    "ncl": ["Content-Length '-999' is no number"],
}


@pytest.mark.parametrize("name", DEFECTS)
def test_what_is_wrong_is_named(name: str) -> None:
    assert list(torture(name).defects) == DEFECTS[name]


def test_every_way_to_write_white_space() -> None:
    m = torture("wsinv")
    assert [(v.transport, v.host, v.branch) for v in m.vias] == [
        ("UDP", "192.0.2.2", "390skdjuw"),
        ("TCP", "spindle.example.com", "z9hG4bK9ikj8"),
        ("UDP", "192.168.255.111", "z9hG4bK30239"),
    ]
    assert m.from_ is not None and (m.from_.display, m.from_.tag) == ('J Rosenberg \\"', "98asjd8")
    assert m.contacts[0].display == 'Quoted string ""'
    assert m.contacts[0].params == {"newparam": "newvalue", "secondparam": None, "q": "0.33"}
    assert m.first("NewFangledHeader") == "newfangled value continued newfangled value"
    assert m.to is not None and m.to.tag == "1918181833n"
    assert m.sdp is not None and [s.kind for s in m.sdp.media] == ["audio", "video"]


def test_every_character_that_a_token_may_hold() -> None:
    m = torture("intmeth")
    assert m.method == m.cseq_method == "!interesting-Method0123456789_*+`.%indeed'~"
    assert m.call_id == "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"
    assert m.to is not None and m.to.display == "BEL:\x07 NUL:\x00 DEL:\x7f"
    assert m.from_ is not None and (m.from_.display, m.from_.tag) == (
        "token1~` token2'+_ token3*%!.-",
        "_token~1'+`*%!-.",
    )


def test_an_unbalanced_quote_gives_no_address() -> None:
    m = torture("quotbal")
    assert m.to is not None and (m.to.uri.user, m.to.uri.host, m.to.params) == ("", "", {})


def test_numbers_too_large_are_none() -> None:
    assert torture("scalar02").cseq is None and torture("scalarlg").cseq is None
    assert torture("scalarlg").code == 503


def test_an_escaped_letter_makes_another_header() -> None:
    assert [c.uri.user for c in torture("esc02").contacts] == ["alias1", "alias3"]


@pytest.mark.parametrize(
    ("name", "host", "port"),
    [
        ("ipv6-good", "2001:db8::9:1", None),
        ("ipv4-mapped-ipv6", "::ffff:192.0.2.10", 19823),
        ("mult-ip-in-header", "2001:db8::9:1", 6050),
        ("port-ambiguous", "2001:db8::9:1", None),
    ],
)
def test_ipv6_in_via(name: str, host: str, port: int | None) -> None:
    via = torture(name, "rfc5118").top_via
    assert via is not None and (via.host, via.port) == (host, port)


@pytest.mark.parametrize("name", ["via-received-param-no-delim", "via-received-param-with-delim"])
def test_ipv6_in_received(name: str) -> None:
    via = torture(name, "rfc5118").top_via
    assert via is not None and (via.params["received"] or "").strip("[]") == "2001:db8::9:255"


def test_both_versions_in_one_session() -> None:
    sdp = torture("mult-ip-in-sdp", "rfc5118").sdp
    assert sdp is not None and sdp.connection is None
    assert [s.address for s in sdp.media] == ["192.0.2.1", "2001:db8::1"]


def test_every_message_of_the_folder_can_be_read() -> None:
    every = sorted((Path(os.environ["SIPTRAIL_CORPUS"]) / "torture").rglob("*.dat"))
    if not every:
        pytest.skip("SIPTRAIL_CORPUS has no torture/")
    for path in every:
        m = parse_message(path.read_bytes())
        assert m.method and m.raw == path.read_bytes(), path.name
        assert m.vias or path.name == "none", path.name
