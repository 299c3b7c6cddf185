"""The NAT tests of Kamailio and OpenSIPS, of a request and where it came from: the same numbers differ in meaning.

Kamailio 6 `nathelper`: nat_uac_test; OpenSIPS 3 `nathelper`: nat_uac_test; both `nat_traversal`: client_nat_test.
`capture.natscan` does the same with many messages at once, and must agree.
"""

from __future__ import annotations

from dataclasses import dataclass

from sip.address import SipUri
from sip.ip import is_private_kamailio, is_private_opensips, literal
from sip.message import SipMessage
from sip.sdp import SessionDescription


@dataclass(frozen=True, slots=True)
class Sent:
    """A request, and where the packet came from."""

    sip: SipMessage
    ip: str
    port: int
    transport: str


@dataclass(frozen=True, slots=True)
class Bit:
    """One test that is true."""

    value: int
    name: str
    compared: str
    """The two compared values in words."""


@dataclass(frozen=True, slots=True)
class Mask:
    """A dialect's result: its number and the bits it is made of."""

    dialect: str
    bits: tuple[Bit, ...]

    @property
    def number(self) -> int:
        """The sum of the true bits."""
        return sum(b.value for b in self.bits)

    def __str__(self) -> str:
        parts = "+".join(str(b.value) for b in self.bits)
        return f"{self.dialect} = {self.number}" + (f" ({parts})" if len(self.bits) > 1 else "")


def same_host(a: str, b: str) -> bool:
    """Literal comparison of addresses; names are never equal to an address."""
    first, second = literal(a), literal(b)
    return first is not None and first == second


def _place(m: Sent) -> str:
    return f"[{m.ip}]:{m.port}" if ":" in m.ip else f"{m.ip}:{m.port}"


def _contact(m: Sent) -> SipUri | None:
    """The first Contact; none where it is missing or `*`."""
    return next((c.uri for c in m.sip.contacts if c.uri.host not in ("", "*")), None)


def _c_lines(sdp: SessionDescription) -> tuple[list[str], list[list[str]]]:
    """The session's own c= and the one that holds for each stream, as words."""
    first = next((n for m in sdp.media[:1] for n, _ in m.lines), len(sdp.lines))
    session = next((x[2:].split() for x in sdp.lines[:first] if x.startswith("c=")), [])
    return session, [next((x[2:].split() for _, x in m.lines if x.startswith("c=")), session) for m in sdp.media]


def _ends_the_test(words: list[str]) -> bool:
    """Both proxies look no further at a line that is not IPv4, or that holds a stream at 0.0.0.0."""
    return len(words) < 3 or words[1] != "IP4" or words[2] == "0.0.0.0"


def sdp_private(sdp: SessionDescription) -> str | None:
    """First private stream address, as Kamailio finds it: it stops at a stream that is not IPv4 or is 0.0.0.0."""
    for words in _c_lines(sdp)[1]:
        if _ends_the_test(words):
            return None
        if is_private_kamailio(words[2]):
            return words[2]
    return None


def sdp_private_opensips(sdp: SessionDescription) -> str | None:
    """The first c= of the body alone, as OpenSIPS tests it: other streams are never looked at."""
    words = next((x[2:].split() for x in sdp.lines if x.startswith("c=")), [])
    return words[2] if not _ends_the_test(words) and is_private_opensips(words[2]) else None


def kamailio(m: Sent) -> Mask:
    """Kamailio's nat_uac_test with every flag set, for a request."""
    via, contact = m.sip.top_via, _contact(m)
    source, port = m.ip, m.port
    bits = []
    if contact and is_private_kamailio(contact.host):
        bits.append(Bit(1, "private Contact", f"Contact says {contact.host}, which is private"))
    if via and not same_host(via.host, source):
        bits.append(Bit(2, "Via is not the source", f"Via says {via.host}, the packet came from {source}"))
    if via and is_private_kamailio(via.host):
        bits.append(Bit(4, "private Via", f"Via says {via.host}, which is private"))
    if m.sip.sdp and (private := sdp_private(m.sip.sdp)):
        bits.append(Bit(8, "private SDP", f"SDP says {private}, which is private"))
    if via and (via.port or 5060) != port:
        bits.append(
            Bit(
                16,
                "Via port is not the source port",
                f"Via says port {via.port or '5060 (by default)'}, the packet came from port {port}",
            )
        )
    if is_private_kamailio(source):
        bits.append(Bit(32, "private source", f"the packet came from {source}, which is private"))
    if m.transport in ("ws", "wss"):
        bits.append(Bit(64, "WebSocket", f"it came over {m.transport}"))
    if contact and (contact.port or 5060) != port:
        bits.append(
            Bit(
                128,
                "Contact port is not the source port",
                f"Contact says port {contact.port or '5060 (by default)'}, the packet came from port {port}",
            )
        )
    session = m.sip.sdp.connection if m.sip.sdp else None
    if session and literal(session) is not None and not same_host(session, source):
        bits.append(
            Bit(256, "SDP is not the source", f"the session's c= says {session}, the packet came from {source}")
        )
    return Mask("Kamailio nat_uac_test", tuple(bits))


def uri_port(uri: SipUri) -> int:
    """A URI's port as OpenSIPS completes it: by scheme and transport, other than Kamailio's 5060 for all."""
    transport = (uri.params.get("transport") or ("tls" if uri.scheme == "sips" else "udp")).lower()
    return uri.port or {"tls": 5061, "ws": 80, "wss": 443}.get(transport, 5060)


def opensips(m: Sent) -> Mask:
    """OpenSIPS' nat_uac_test with the flags 1 to 64 set, for a request."""
    via = m.sip.top_via
    contacts = [c.uri for c in m.sip.contacts if c.uri.host not in ("", "*")]
    source, port = m.ip, m.port
    bits = []
    contact = next((c for c in contacts if is_private_opensips(c.host)), None)
    if contact:
        bits.append(Bit(1, "private-contact", f"Contact says {contact.host}, which is private"))
    if via and (not same_host(via.host, source) or "received" in via.params):
        bits.append(Bit(2, "diff-ip-src-via", f"Via says {via.host}, the packet came from {source}"))
    if via and is_private_opensips(via.host):
        bits.append(Bit(4, "private-via", f"Via says {via.host}, which is private"))
    if m.sip.sdp and (private := sdp_private_opensips(m.sip.sdp)):
        bits.append(Bit(8, "private-sdp", f"the first c= of the SDP says {private}, which is private"))
    if via and (via.port or 5060) != port:
        bits.append(
            Bit(
                16,
                "diff-port-src-via",
                f"Via says port {via.port or '5060 (by default)'}, the packet came from port {port}",
            )
        )
    contact = next((c for c in contacts if not same_host(c.host, source)), None)
    if contact:
        bits.append(Bit(32, "diff-ip-src-contact", f"Contact says {contact.host}, the packet came from {source}"))
    contact = next((c for c in contacts if uri_port(c) != port), None)
    if contact:
        said = contact.port or f"{uri_port(contact)} (by default)"
        text = f"Contact says port {said}, the packet came from port {port}"
        bits.append(Bit(64, "diff-port-src-contact", text))
    return Mask("OpenSIPS nat_uac_test", tuple(bits))


def client_test(m: Sent, dialect: str) -> Mask:
    """`client_nat_test` of module nat_traversal: test 2 compares IP and port; OpenSIPS adds 8."""
    via, contact = m.sip.top_via, _contact(m)
    private = is_private_kamailio if dialect == "Kamailio" else is_private_opensips
    bits = []
    if contact and private(contact.host):
        bits.append(Bit(1, "private Contact", f"Contact says {contact.host}, which is private"))
    if via and (not same_host(via.host, m.ip) or (via.port or 5060) != m.port):
        bits.append(
            Bit(2, "Via is not the source", f"Via says {via.host}:{via.port or 5060}, the packet came from {_place(m)}")
        )
    if via and private(via.host):
        bits.append(Bit(4, "private Via", f"Via says {via.host}, which is private"))
    if dialect == "OpenSIPS" and contact and not same_host(contact.host, m.ip):
        bits.append(Bit(8, "Contact is not the source", f"Contact says {contact.host}, the packet came from {m.ip}"))
    return Mask(f"{dialect} client_nat_test", tuple(bits))


def masks(m: Sent) -> tuple[Mask, ...]:
    """All four results for a request."""
    return kamailio(m), opensips(m), client_test(m, "Kamailio"), client_test(m, "OpenSIPS")


# ---- all results as one number, for columns and searches: Kamailio's nine bits, then OpenSIPS' seven, then two.
OPENSIPS_AT = 9
CLIENT_CONTACT, CLIENT_SOURCE = 1 << 16, 1 << 17
"""OpenSIPS' client_nat_test 1 and 8, which look at the first Contact only; its other tests are nat_uac_test's."""


def packed(m: Sent) -> int:
    """All four results of a request in one number; 0 for a response."""
    if not m.sip.is_request:
        return 0
    client = client_test(m, "OpenSIPS").number
    out = kamailio(m).number | opensips(m).number << OPENSIPS_AT
    return out | (CLIENT_CONTACT if client & 1 else 0) | (CLIENT_SOURCE if client & 8 else 0)


def kamailio_number(bits: int) -> int:
    """Kamailio's nat_uac_test out of the one number."""
    return bits & 0x1FF


def opensips_number(bits: int) -> int:
    """OpenSIPS' nat_uac_test out of the one number."""
    return bits >> OPENSIPS_AT & 0x7F


_CLIENTS = {
    "kamailio-client": (1, 2 | 16, 4, 0),
    "opensips-client": (CLIENT_CONTACT, 2 | 16, 4 << OPENSIPS_AT, CLIENT_SOURCE),
}
"""What the bits 1, 2, 4 and 8 of client_nat_test are made of."""
DIALECTS = ("kamailio", "opensips", *_CLIENTS)
NAMES = {
    "private-contact": 1 | 1 << OPENSIPS_AT,
    "private-via": 4 | 4 << OPENSIPS_AT,
    "private-sdp": 8 | 8 << OPENSIPS_AT,
    "private-source": 32,
    "diff-ip-src-via": 2 | 2 << OPENSIPS_AT,
    "diff-port-src-via": 16 | 16 << OPENSIPS_AT,
    "diff-ip-src-contact": 32 << OPENSIPS_AT,
    "diff-port-src-contact": 128 | 64 << OPENSIPS_AT,
    "diff-ip-src-sdp": 256,
    "websocket": 64,
}
"""What is true where one of these bits is set, whatever the proxy: after OpenSIPS' own names."""


def names_of(bits: int) -> tuple[str, ...]:
    """The names of all that is true."""
    return tuple(name for name, some in NAMES.items() if bits & some)


def mask_of(dialect: str, number: int) -> int:
    """The bits of which one must be set where a dialect's test with this number of flags is true; 0 for a number that
    the dialect does not have."""
    if dialect in _CLIENTS:
        parts = _CLIENTS[dialect]
        known = sum(1 << k for k, some in enumerate(parts) if some)
        return sum(some for k, some in enumerate(parts) if number >> k & 1) if number and not number & ~known else 0
    most, at = (0x1FF, 0) if dialect == "kamailio" else (0x7F, OPENSIPS_AT)
    return number << at if 0 < number <= most else 0
