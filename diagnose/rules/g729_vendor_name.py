"""G.729 under a vendor's own name (G729A, G729B, G729AB): no standard knows it, and strict peers ignore the codec."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.annexb import VENDOR_NAMES
from diagnose.call import Call
from diagnose.finding import Finding, public_name
from diagnose.report import fact

NAME = public_name(__name__)
SEVERITY, PRECEDENCE, REFERENCE = "warning", 55, "RFC 3551 section 4.5.6, RFC 4856 section 2.1.9"


def check(call: Call) -> Iterator[Finding]:
    """One finding for each name and the side that uses it, however many hops repeat it."""
    told: set[tuple[str, str]] = set()
    for s in call.steps:
        for media in s.m.sip.sdp.media if s.m.sip.sdp else ():
            for codec in media.codecs:
                if codec.name.upper() not in VENDOR_NAMES or (s.side, codec.name) in told:
                    continue
                told.add((s.side, codec.name))
                yield Finding(
                    NAME,
                    SEVERITY,
                    "certain",
                    f"{s.m.src.ip} names its codec {codec.name}; the registered name is G729.",
                    (
                        fact(
                            s,
                            f"payload type {codec.pt} is called {codec.name}",
                            f"a=rtpmap:{codec.pt} {codec.name}/{codec.clock}",
                        ),
                    ),
                    f"Write `a=rtpmap:{codec.pt} G729/8000` and say Annex B with `a=fmtp:{codec.pt} annexb=no` or yes.",
                    REFERENCE,
                    PRECEDENCE,
                )
