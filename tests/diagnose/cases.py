"""For each rule a call that must fire and its near miss, which differs in the one thing that matters.

The tables of the files `cases_*.py` beside this one join it.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from calls import (
    CALLED,
    CALLER,
    FAR,
    INVITE_TIMES,
    NAT,
    OK_TIMES,
    PHONE,
    PROXY,
    START,
    Packet,
    ack,
    answered,
    bye,
    reply,
    request,
    resent,
    sdp,
)
from case import Call, Case

from index.trace import Loss

BEHIND_NAT = f"{NAT}:31044"
PRIVATE = f"<sip:alice@{PHONE}:5060>"
INVITE = request()
G729, EVENTS = "a=rtpmap:18 G729/8000", "a=rtpmap:101 telephone-event/8000"


OK = reply(INVITE, 200, contact=f"<sip:bob@{CALLED}>")
_LATE_INVITE = (Packet(2.5, CALLER, CALLED, INVITE), Packet(2.6, CALLER, CALLED, ack(INVITE)))


def unanswered() -> Call:
    return tuple(resent(Packet(0, CALLER, CALLED, INVITE), *INVITE_TIMES))


def no_ack(times: tuple[float, ...] = OK_TIMES, target: str = f"<sip:bob@{PHONE}>") -> Call:
    ok = Packet(2, CALLED, CALLER, reply(INVITE, 200, contact=target))
    over = Packet(34, CALLED, CALLER, bye(CALLED, from_tag="called", to_tag="caller"))
    return (Packet(0, CALLER, CALLED, INVITE), *resent(ok, *times), over)


def without_rport(rport: bool) -> Call:
    invite = request(via=f"{PHONE}:5060", rport=rport)
    first = Packet(0, BEHIND_NAT, CALLED, invite)
    return (*resent(first, 0.5, 1.5), Packet(0.1, CALLED, f"{NAT}:5060", reply(invite, 100, "Trying")))


def from_nat(contact: str = PRIVATE, media: str = PHONE, **more: Any) -> Call:
    invite = request(via=f"{PHONE}:5060", contact=contact, body=sdp(media), **more)
    return (
        Packet(0, BEHIND_NAT, CALLED, invite),
        Packet(1, CALLED, BEHIND_NAT, reply(invite, 200, contact=f"<sip:bob@{CALLED}>", body=sdp(PROXY))),
        Packet(1.1, BEHIND_NAT, CALLED, ack(invite)),
    )


def refused(code: int, reason: str, *extra: str, body: str = "") -> Call:
    invite = request(body=sdp(NAT, "0 8"))
    return (
        Packet(0, CALLER, CALLED, invite),
        Packet(1, CALLED, CALLER, reply(invite, code, reason, extra=extra, body=body)),
        Packet(1.1, CALLER, CALLED, request("ACK", to_tag="called", contact="")),
    )


def lan(source: str) -> Call:
    """A phone that tells its own address to a server in the same private network."""
    invite = request(via=f"{PHONE}:5060", contact=PRIVATE, body=sdp(PHONE))
    return (
        Packet(0, f"{source}:5060", "10.0.0.5:5060", invite),
        Packet(1, "10.0.0.5:5060", f"{source}:5060", reply(invite, 486, "Busy Here")),
    )


CASES: dict[str, Case] = {
    "answer-without-offered-codec": Case(
        answered(sdp(NAT, "0 101", EVENTS), sdp(PROXY, "18 101", G729, EVENTS)),
        answered(sdp(NAT, "0 101", EVENTS), sdp(PROXY, "18 0")),
        "error",
        "certain",
        (PROXY, "PCMU and telephone-event", "G729"),
        (1, 2),
    ),
    "capacity-rejection": Case(
        refused(503, "Server at max cps", "Retry-After: 5"),
        refused(503, "Service Unavailable"),
        "critical",
        "certain",
        (PROXY, "503", "Server at max cps"),
        (2, 2),
    ),
    "clocks-disagree": Case(
        (Packet(0, CALLED, CALLER, OK, tap="eth1"), *_LATE_INVITE),
        (Packet(0, CALLED, CALLER, OK), *_LATE_INVITE),  # at one point, the INVITE before was missed
        "info",
        "certain",
        ("n, eth0", "n, eth1", "2.5 s", "200", "INVITE"),
        (1, 2),
    ),
    "capture-loss": Case(
        answered(sdp(), sdp(PROXY)),
        answered(sdp(), sdp(PROXY)),
        "info",
        "certain",
        ("12 packets", "eth7", "22:13:2"),
        (None,),
        tap={"losses": (Loss("eth7", START, START + 1_000_000_000, 12, "kernel"),)},
        near_tap={},
    ),
    "g729-annexb-ambiguous": Case(
        answered(sdp(NAT, "18 0", G729), sdp(PROXY, "18", G729)),
        answered(sdp(NAT, "18 0", G729, "a=fmtp:18 annexb=no"), sdp(PROXY, "18", G729)),
        "warning",
        "certain",
        ("offer and answer", NAT, PROXY, "Annex B (VAD)"),
        (1, 2, None, None),
    ),
    "g729-annexb-mismatch": Case(
        answered(sdp(NAT, "18", "a=fmtp:18 annexb=no"), sdp(PROXY, "18", "a=fmtp:18 annexb=yes")),
        answered(sdp(NAT, "18", "a=fmtp:18 annexb=no"), sdp(PROXY, "18", "a=fmtp:18 annexb=no")),
        "warning",
        "certain",
        (f"{NAT} offered no", f"{PROXY} answered yes", "not in use", "ignored the offer"),
        (1, 2, None, None),
    ),
    "g729-vendor-name": Case(
        answered(sdp(NAT, "97 0", "a=rtpmap:97 G729AB/8000"), sdp(PROXY, "0")),
        answered(sdp(NAT, "97 0", "a=rtpmap:97 G729/8000"), sdp(PROXY, "0")),
        "warning",
        "certain",
        (NAT, "G729AB"),
        (1,),
    ),
    "invite-unanswered": Case(
        unanswered(),
        (*unanswered(), Packet(0.2, CALLED, CALLER, reply(INVITE, 100, "Trying"))),
        "critical",
        "certain",
        (CALLED, "7 sent"),
        (1,),
        tap={"heard": frozenset({NAT, PROXY})},
        near_tap={"heard": frozenset({NAT, PROXY})},
    ),
    "missing-ack": Case(
        no_ack(),
        (*no_ack(()), Packet(2.1, CALLER, CALLED, ack(INVITE))),
        "critical",
        "certain",
        (PROXY, "hung up after 32.0 s", f"sip:bob@{PHONE}"),
        (2, 2, 13),
    ),
    "missing-rport": Case(
        without_rport(False),
        without_rport(True),
        "error",
        "certain",
        (BEHIND_NAT, "port 5060 instead of 31044"),
        (1, 2, 3),
    ),
    "nat-test-bits": Case(
        from_nat(),
        lan(PHONE),
        "info",
        "certain",
        (
            BEHIND_NAT,
            "Kamailio nat_uac_test = 415 (1+2+4+8+16+128+256)",
            "OpenSIPS nat_uac_test = 127 (1+2+4+8+16+32+64)",
        ),
        (1,) * 13,
    ),
    "no-common-codec": Case(
        refused(488, "Not Acceptable Here", 'Warning: 304 x "Media type not available"', body=sdp(PROXY, "18")),
        refused(486, "Busy Here"),
        "critical",
        "certain",
        (PROXY, "PCMU and PCMA", "488 Not Acceptable Here"),
        (1, 2, 2, 2),
    ),
    "one-sided-capture": Case(
        unanswered(),
        unanswered(),
        "warning",
        "likely",
        (NAT,),
        (1, 7),
        near_tap={"heard": frozenset({NAT, PROXY})},
    ),
    "private-contact-to-public-peer": Case(
        from_nat(media=FAR),
        from_nat(contact=f"<sip:alice@{NAT}:31044>", media=FAR),
        "error",
        "certain",
        (NAT, PHONE, PROXY, "BYE and re-INVITE towards the caller"),
        (1,),
    ),
    "private-sdp-to-public-peer": Case(
        from_nat(contact=f"<sip:alice@{NAT}:31044>"),
        from_nat(contact=f"<sip:alice@{NAT}:31044>", media=NAT),
        "error",
        "likely",
        (NAT, PHONE, PROXY, "audio", "the caller will not hear the called side"),
        (1, 1),
    ),
}

for _file in sorted(Path(__file__).parent.glob("cases_*.py")):
    CASES |= importlib.import_module(_file.stem).CASES
