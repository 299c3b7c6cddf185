"""The NAT test flags of Kamailio and OpenSIPS in words: the same number means other tests in the other dialect.

What a captured request gives for them is computed in diagnose.nat; here stands what each flag compares.
"""

from __future__ import annotations

from typing import NamedTuple


class Flag(NamedTuple):
    """One flag of a test function."""

    value: int
    name: str
    compares: str


class Function(NamedTuple):
    """A test function of one dialect."""

    dialect: str
    name: str
    module: str
    flags: tuple[Flag, ...]


_KAMAILIO_PRIVATE = "RFC 1918, 100.64.0.0/10 and 192.0.0.0/24"
_OPENSIPS_PRIVATE = "RFC 1918"

FUNCTIONS = (
    Function(
        "kamailio",
        "nat_uac_test",
        "nathelper",
        (
            Flag(1, "private Contact", f"the host in Contact is private ({_KAMAILIO_PRIVATE})"),
            Flag(2, "Via is not the source", "the address in the top Via is not the one the packet came from"),
            Flag(4, "private Via", "the address in the top Via is private"),
            Flag(8, "private SDP", "a c= line of the SDP holds a private address"),
            Flag(
                16, "Via port is not the source port", "the port in the top Via (5060 if absent) is not the source port"
            ),
            Flag(32, "private source", "the packet came from a private address"),
            Flag(64, "WebSocket", "the request came over WebSocket"),
            Flag(
                128,
                "Contact port is not the source port",
                "the port in Contact (5060 if absent) is not the source port",
            ),
            Flag(256, "SDP is not the source", "the session's c= address is not the one the packet came from"),
        ),
    ),
    Function(
        "opensips",
        "nat_uac_test",
        "nathelper",
        (
            Flag(1, "private-contact", f"the host in Contact is private ({_OPENSIPS_PRIVATE})"),
            Flag(
                2,
                "diff-ip-src-via",
                "the address in the top Via is not the one the packet came from, or Via has a received parameter",
            ),
            Flag(4, "private-via", "the address in the top Via is private"),
            Flag(8, "private-sdp", "the first c= line of the SDP holds a private address"),
            Flag(16, "diff-port-src-via", "the port in the top Via (5060 if absent) is not the source port"),
            Flag(32, "diff-ip-src-contact", "the host in Contact is not the address the packet came from"),
            Flag(
                64,
                "diff-port-src-contact",
                "the port in Contact (by default that of its transport) is not the source port",
            ),
            Flag(
                128,
                "carrier-grade-nat",
                "no test of its own: 100.64.0.0/10 and 192.0.0.0/29 count as private in the tests 1, 4 and 8",
            ),
        ),
    ),
    Function(
        "kamailio",
        "client_nat_test",
        "nat_traversal",
        (
            Flag(1, "private Contact", f"the host in Contact is private ({_KAMAILIO_PRIVATE})"),
            Flag(2, "Via is not the source", "address or port of the top Via are not those the packet came from"),
            Flag(4, "private Via", "the address in the top Via is private"),
        ),
    ),
    Function(
        "opensips",
        "client_nat_test",
        "nat_traversal",
        (
            Flag(1, "private Contact", f"the host in Contact is private ({_OPENSIPS_PRIVATE})"),
            Flag(2, "Via is not the source", "address or port of the top Via are not those the packet came from"),
            Flag(4, "private Via", "the address in the top Via is private"),
            Flag(8, "Contact is not the source", "the host in Contact is not the address the packet came from"),
        ),
    ),
)
