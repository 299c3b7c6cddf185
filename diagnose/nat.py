"""The NAT tests of Kamailio and OpenSIPS for the messages of a trace. What they test is in `sip.nat`."""

from __future__ import annotations

from index.trace import TraceMessage
from sip import nat
from sip.nat import Bit, Mask, same_host

__all__ = ["Bit", "Mask", "client_test", "kamailio", "masks", "opensips", "same_host"]


def _sent(m: TraceMessage) -> nat.Sent:
    return nat.Sent(m.sip, m.src.ip, m.src.port, m.transport)


def kamailio(m: TraceMessage) -> Mask:
    """Kamailio's nat_uac_test with every flag set, for a request."""
    return nat.kamailio(_sent(m))


def opensips(m: TraceMessage) -> Mask:
    """OpenSIPS' nat_uac_test with the flags 1 to 64 set, for a request."""
    return nat.opensips(_sent(m))


def client_test(m: TraceMessage, dialect: str) -> Mask:
    """`client_nat_test` of module nat_traversal."""
    return nat.client_test(_sent(m), dialect)


def masks(m: TraceMessage) -> tuple[Mask, ...]:
    """All four results for a request."""
    return nat.masks(_sent(m))
