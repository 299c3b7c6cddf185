"""G.729 under a name of a vendor's own (G729A, G729B, G729AB): no standard knows it, and strict peers ignore the codec."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.annexb import VENDOR_NAMES
from diagnose.call import Call
from diagnose.finding import Finding
from diagnose.report import fact

NAME, SEVERITY, PRECEDENCE, REFERENCE = (
    "g729-vendor-name",
    "warning",
    55,
    "RFC 3551 section 4.5.6, RFC 4856 section 2.1.9",
)


def check(call: Call) -> Iterator[Finding]:
    """One finding for each name and sender."""
    told: set[tuple[str, str]] = set()
    for s in call.steps:
        for media in s.m.sip.sdp.media if s.m.sip.sdp else ():
            for codec in media.codecs:
                if codec.name.upper() in VENDOR_NAMES and (s.m.src.ip, codec.name) not in told:
                    told.add((s.m.src.ip, codec.name))
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
