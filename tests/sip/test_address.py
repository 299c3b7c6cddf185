"""Via, name-addr and URI values: IPv6, quotes, parameters, white space, and garbage that gives empty parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.address import LONGEST_KEPT, parse_name_addr, parse_params, parse_uri, parse_via, split_list


@pytest.mark.parametrize(
    ("text", "scheme", "user", "host", "port", "params"),
    [
        ("sip:alice@example.com", "sip", "alice", "example.com", None, {}),
        ("SIPS:alice@example.com:5061", "sips", "alice", "example.com", 5061, {}),
        ("sip:example.com", "sip", "", "example.com", None, {}),
        ("sip:alice:secret@example.com", "sip", "alice", "example.com", None, {}),
        ("sip:1;isub=2@h", "sip", "1", "h", None, {}),
        ("sip:what?@h", "sip", "what?", "h", None, {}),
        ("sip:a@h:5080;transport=tcp;lr;X=1;x=2", "sip", "a", "h", 5080, {"transport": "tcp", "lr": None, "x": "1"}),
        ("sip:a@h;empty=", "sip", "a", "h", None, {"empty": ""}),
        ("sip:a@h;p=1?Subject=x;y", "sip", "a", "h", None, {"p": "1"}),
        ("sip:a@[2001:db8::1]:5070", "sip", "a", "2001:db8::1", 5070, {}),
        ("sip:[2001:db8::1]", "sip", "", "2001:db8::1", None, {}),
        ("sip:2001:db8::1", "sip", "", "2001:db8::1", None, {}),
        ("sip:[2001:db8::1", "sip", "", "2001:db8::1", None, {}),
        ("sip:a@h:99999", "sip", "a", "h", 99999, {}),
        ("sip:a@h:0", "sip", "a", "h", 0, {}),
        ("sip:a@h:-1", "sip", "a", "h", None, {}),
        ("sip:a@h:123456789012", "sip", "a", "h", None, {}),
        ("sip:a@h:٥", "sip", "a", "h", None, {}),
        ("sip:a@h:", "sip", "a", "h", None, {}),
        ("tel:+44-1632;phone-context=uk", "tel", "+44-1632", "", None, {"phone-context": "uk"}),
        ("tel:911@gateway", "tel", "911", "", None, {}),
        ("mailto:joe@example.com", "mailto", "joe", "example.com", None, {}),
        ("urn:service:sos", "urn", "", "service:sos", None, {}),
        ("*", "", "", "*", None, {}),
        ("", "", "", "", None, {}),
        ("192.0.2.1:5060", "", "", "", None, {}),
        ('"a" sip:b@c', "", "", "", None, {}),
        (" \t sip:a@h \r\n", "sip", "a", "h", None, {}),
        ("sip:%61lice@h", "sip", "%61lice", "h", None, {}),
    ],
)
def test_uri(text: str, scheme: str, user: str, host: str, port: int | None, params: dict[str, str | None]) -> None:
    uri = parse_uri(text)
    assert (uri.scheme, uri.user, uri.host, uri.port, dict(uri.params)) == (scheme, user, host, port, params)
    assert uri.text == text.strip()


@pytest.mark.parametrize(
    ("text", "display", "user", "host", "params"),
    [
        ("<sip:a@h>", "", "a", "h", {}),
        ("<sip:a@h>;tag=1", "", "a", "h", {"tag": "1"}),
        ("Alice <sip:a@h>", "Alice", "a", "h", {}),
        ("Alice<sip:a@h>", "Alice", "a", "h", {}),
        ('"Alice, \\"A\\" <x>; y" <sip:a@h> ; tag = 1', 'Alice, "A" <x>; y', "a", "h", {"tag": "1"}),
        ('"C:\\\\dir\\\\" <sip:a@h>', "C:\\dir\\", "a", "h", {}),
        ('"\\e\\\\\\"" <sip:a@h>', 'e\\"', "a", "h", {}),
        ("sip:a@h;tag=1", "", "a", "h", {"tag": "1"}),
        ("<sip:a@h;tag=uri>;tag=header", "", "a", "h", {"tag": "header"}),
        ('<sip:a@h>;p="x;y=\\"z\\"";lr', "", "a", "h", {"p": 'x;y="z"', "lr": None}),
        ("<sip:a@h>;TAG=1;tag=2", "", "a", "h", {"tag": "1"}),
        ("<sip:a@h", "", "a", "h", {}),
        ('"Mr. User <sip:a@h>;tag=1', '"Mr. User <sip:a@h>;tag=1', "", "", {}),
        ("*", "", "", "*", {}),
        ("", "", "", "", {}),
        ("<>", "", "", "", {}),
        ("<tel:+1>;x", "", "+1", "", {"x": None}),
        ("<sip:a@[::1]:5060>;received=[::2]", "", "a", "::1", {"received": "[::2]"}),
    ],
)
def test_name_addr(text: str, display: str, user: str, host: str, params: dict[str, str | None]) -> None:
    found = parse_name_addr(text)
    assert (found.display, found.uri.user, found.uri.host, dict(found.params)) == (display, user, host, params)
    assert found.tag == (params.get("tag") or "")


@pytest.mark.parametrize(
    ("text", "transport", "host", "port", "params"),
    [
        ("SIP/2.0/UDP h:5060;branch=z9hG4bK1;rport", "UDP", "h", 5060, {"branch": "z9hG4bK1", "rport": None}),
        ("SIP/2.0/udp h", "UDP", "h", None, {}),
        ("SIP / 2.0 / TCP  h : 5060 ;  branch = b", "TCP", "h", 5060, {"branch": "b"}),
        ("SIP  /   2.0  /UDP    192.0.2.2;branch=1", "UDP", "192.0.2.2", None, {"branch": "1"}),
        ("SIP/2.0/TLS\t[2001:db8::1]:5061", "TLS", "2001:db8::1", 5061, {}),
        ("SIP/2.0/UDP 2001:db8::1;received=192.0.2.1", "UDP", "2001:db8::1", None, {"received": "192.0.2.1"}),
        ("SIP/2.0/UDP h:70000", "UDP", "h", 70000, {}),
        ("SIP/2.0/UDP h:port", "UDP", "h", None, {}),
        ("SIP/2.0/UDP", "UDP", "", None, {}),
        ("garbage", "GARBAGE", "", None, {}),
        ("", "", "", None, {}),
        (";;,;", "", "", None, {",": None}),
    ],
)
def test_via(text: str, transport: str, host: str, port: int | None, params: dict[str, str | None]) -> None:
    via = parse_via(text)
    assert (via.transport, via.host, via.port, dict(via.params)) == (transport, host, port, params)
    assert via.branch == (params.get("branch") or "")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a, b", ["a", "b"]),
        (" , a,,", ["a"]),
        ('"a,b", <c,d>, e', ['"a,b"', "<c,d>", "e"]),
        ('"a\\",b", c', ['"a\\",b"', "c"]),
        ("a> , b", ["a>", "b"]),
        ('"open, b', ['"open, b']),
        ("", []),
    ],
)
def test_split_list(text: str, parts: list[str]) -> None:
    assert split_list(text) == parts


@given(st.text(max_size=80))
def test_nothing_raises_and_nothing_is_invented(text: str) -> None:
    for part in split_list(text):
        assert part in text
    for host in (parse_uri(text).host, parse_name_addr(text).uri.host):
        assert host in text
    via = parse_via(text)
    assert all(c in text for c in via.host) and (via.port is None or str(via.port).strip("0") in text)


_token = st.text("abcXYZ019-_.~", min_size=1, max_size=8)


@given(
    display=st.text(max_size=12),
    user=_token,
    host=st.one_of(_token, st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(lambda a: f"[{a}]")),
    port=st.none() | st.integers(0, 65535),
    params=st.dictionaries(_token.map(str.lower), st.none() | _token, max_size=4),
)
def test_what_is_written_is_what_is_read(
    display: str, user: str, host: str, port: int | None, params: dict[str, str | None]
) -> None:
    quoted = '"' + display.replace("\\", "\\\\").replace('"', '\\"') + '"'
    tail = "".join(f";{k}" if v is None else f";{k}={v}" for k, v in params.items())
    place = host if port is None else f"{host}:{port}"
    found = parse_name_addr(f"{quoted} <sip:{user}@{place}{tail}>{tail}")
    assert (found.display, found.uri.user, found.uri.host, found.uri.port) == (display, user, host.strip("[]"), port)
    assert found.params == found.uri.params == parse_params(tail) == params
    via = parse_via(f"SIP/2.0/UDP {place}{tail}")
    assert (via.host, via.port, via.params) == (host.strip("[]"), port, params)


@given(st.text(alphabet=",;= ab\\t>\\\\", max_size=30))
def test_values_without_quotes_are_split_as_those_with_quotes(text: str) -> None:
    """There is a short way for them; a quoted value at the end takes the long way."""
    assert split_list(f'{text},"q"') == [*split_list(text), '"q"']


def test_values_are_remembered_but_not_long_ones() -> None:
    """A call's messages repeat them; whoever sends very long ones must not fill the memory."""
    via = "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"
    assert parse_via(via) is parse_via(via)
    long = f"{via};x={'y' * LONGEST_KEPT}"
    assert parse_via(long) is not parse_via(long)
    assert parse_via(long) == parse_via(long) and parse_via(long).branch == "z9hG4bK1"
