"""The flags of the NAT tests in words are those that diagnose.nat computes: same values, same names."""

from __future__ import annotations

from collections import defaultdict

from calls import NAT, PHONE, PROXY, Packet, request, sdp, trace

from diagnose.nat import masks
from diagnose.texts.nat_bits import FUNCTIONS

NEVER_COMPUTED = {("opensips nat_uac_test", 128)}
"""It widens what other tests call private, and is no test."""


def test_every_flag_that_is_computed_is_explained_under_its_own_name() -> None:
    far = (f"{PHONE}:5062", f"<sip:alice@{PHONE}:5063>", sdp(PHONE), f"{NAT}:31044", "udp")
    near = (f"{PHONE}:5062", f"<sip:alice@{PHONE}:5063>", sdp(PHONE), f"{PHONE}:5060", "ws")
    computed = defaultdict(dict)
    for via, contact, body, src, over in (far, near):
        call = trace(Packet(0, src, f"{PROXY}:5060", request(via=via, contact=contact, body=body), over))
        for mask in masks(call.messages[0]):
            computed[mask.dialect.lower()].update({b.value: b.name for b in mask.bits})
    told = {
        f"{f.dialect} {f.name}": {
            x.value: x.name for x in f.flags if (f"{f.dialect} {f.name}", x.value) not in NEVER_COMPUTED
        }
        for f in FUNCTIONS
    }
    assert told == dict(computed)
