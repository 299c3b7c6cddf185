"""Private by whose definition: the first and the last address of each range, and their neighbours outside."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.ip import is_ip, is_private, is_private_kamailio, is_private_opensips, is_public, literal

US, K, S, C = "ours", "kamailio", "opensips", "carrier"
"""Ours, Kamailio, OpenSIPS, OpenSIPS with its carrier-grade-nat flag; `narrow` is Kamailio with nat_addr_mode 0."""
N = "narrow"
EVERYWHERE = {US, K, N, S, C}

RANGES = [
    # first, last, neighbour before, neighbour after, who calls it private
    ("10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0", EVERYWHERE),
    ("172.16.0.0", "172.31.255.255", "172.15.255.255", "172.32.0.0", EVERYWHERE),
    ("192.168.0.0", "192.168.255.255", "192.167.255.255", "192.169.0.0", EVERYWHERE),
    ("100.64.0.0", "100.127.255.255", "100.63.255.255", "100.128.0.0", {US, K, N, C}),
    ("192.0.0.0", "192.0.0.7", "191.255.255.255", None, {US, K, N, C}),
    ("192.0.0.8", "192.0.0.255", None, "192.0.1.0", {K}),
    ("169.254.0.0", "169.254.255.255", "169.253.255.255", "169.255.0.0", {US}),
    ("127.0.0.0", "127.255.255.255", "126.255.255.255", "128.0.0.0", {US}),
    ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fbff::", "fe00::", {US}),
    ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe7f::", None, {US}),
    ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None, None, {US}),
    ("::1", "::1", None, "::2", {US}),
]


def who(host: str) -> set[str]:
    said = {
        US: is_private(host),
        K: is_private_kamailio(host),
        N: is_private_kamailio(host, addr_mode=0),
        S: is_private_opensips(host),
        C: is_private_opensips(host, cgnat=True),
    }
    return {name for name, private in said.items() if private}


@pytest.mark.parametrize(("first", "last", "before", "after", "private"), RANGES, ids=[r[0] for r in RANGES])
def test_boundaries(first: str, last: str, before: str | None, after: str | None, private: set[str]) -> None:
    assert who(first) == who(last) == private
    assert all(who(outside) == set() for outside in (before, after) if outside)
    assert is_public(first) == (US not in private)


@pytest.mark.parametrize(
    ("host", "dialects"),
    [
        ("[fd00::1]", {US}),
        ("fe80::1%eth0", {US}),
        # The proxies test dotted IPv4 only, so a mapped address is private to nobody but us.
        ("::ffff:10.0.0.1", {US}),
        ("[::ffff:192.168.1.1]", {US}),
        ("::ffff:192.0.2.1", set()),
        ("10.0.0.1.example.com", set()),
        ("192.168.1", set()),
        ("192.168.1.256", set()),
        ("localhost", set()),
        ("", set()),
    ],
)
def test_spellings(host: str, dialects: set[str]) -> None:
    assert who(host) == dialects


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("198.51.100.1", True),
        ("192.0.2.1", True),
        ("203.0.113.1", True),
        ("2001:db8::1", True),
        ("8.8.8.8", True),
        ("[2600::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("224.0.0.1", False),
        ("ff02::1", False),
        ("10.1.2.3", False),
        ("example.com", False),
        ("", False),
    ],
)
def test_public(host: str, public: bool) -> None:
    assert is_public(host) == public


@pytest.mark.parametrize(
    ("host", "address"),
    [
        (" 192.0.2.1 ", "192.0.2.1"),
        ("[::1]", "::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("192.0.2.1:5060", None),
        ("a", None),
    ],
)
def test_literal(host: str, address: str | None) -> None:
    found = literal(host)
    assert (None if found is None else str(found)) == address and is_ip(host) == (address is not None)


@given(st.one_of(st.text(max_size=40), st.ip_addresses().map(str)))
def test_nothing_is_both(host: str) -> None:
    assert not (is_private(host) and is_public(host))
    assert who(host) == set() or is_ip(host)
