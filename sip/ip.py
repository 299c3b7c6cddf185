"""Which addresses are private, by whose definition."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Net = IPv4Network | IPv6Network
_RFC1918 = tuple(ip_network(n) for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
_CGNAT = ip_network("100.64.0.0/10")
_KAMAILIO = (*_RFC1918, _CGNAT, ip_network("192.0.0.0/29"))
_WIDE = ip_network("192.0.0.0/24")
_OURS = (
    *_KAMAILIO,
    ip_network("169.254.0.0/16"),
    ip_network("127.0.0.0/8"),
    ip_network("fc00::/7"),
    ip_network("fe80::/10"),
    ip_network("fec0::/10"),
    ip_network("::1/128"),
)


@lru_cache(maxsize=65536)
def literal(host: str) -> IPv4Address | IPv6Address | None:
    """The address that `host` is, None for a name. Brackets and IPv4-mapped forms are taken off."""
    try:
        found = ip_address(host.strip().strip("[]"))
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found


def is_ip(host: str) -> bool:
    """Whether `host` is an address, not a name."""
    return literal(host) is not None


def _inside(found: IPv4Address | IPv6Address | None, nets: tuple[Net, ...]) -> bool:
    # An address is in no network of the other version.
    return found is not None and any(found in net for net in nets)


@lru_cache(maxsize=65536)
def _ipv4(host: str) -> IPv4Address | None:
    """The dialects know dotted IPv4 only: an IPv4-mapped address is no IPv4 address to them."""
    try:
        return IPv4Address(host.strip())
    except ValueError:
        return None


@lru_cache(maxsize=65536)
def is_private(host: str) -> bool:
    """Not reachable from the public network: RFC 1918, 6598, 7335, link-local, loopback, and their IPv6 kin.

    Documentation ranges (RFC 5737, 3849) count as public: laboratories use them in place of public addresses."""
    return _inside(literal(host), _OURS)


def is_public(host: str) -> bool:
    """An address that is not private; a name is neither."""
    found = literal(host)
    return found is not None and not is_private(host) and not found.is_unspecified and not found.is_multicast


def is_private_kamailio(host: str, addr_mode: int = 1) -> bool:
    """Kamailio's `is1918addr`: IPv4 literals only; all of 192.0.0.0/24 with nat_addr_mode 1 (its default)."""
    return _inside(_ipv4(host), (*_KAMAILIO, _WIDE) if addr_mode else _KAMAILIO)


def is_private_opensips(host: str, cgnat: bool = False) -> bool:
    """OpenSIPS: RFC 1918, with the carrier-grade-nat flag also 100.64/10 and 192.0.0.0/29."""
    return _inside(_ipv4(host), _KAMAILIO if cgnat else _RFC1918)
