"""Reason headers (RFC 3326) taken apart, and which ISDN causes belong to which SIP codes (RFC 3398)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diagnose.call import Step
from sip.address import parse_params
from sip.codes import q850, reason_phrase

TO_SIP: dict[int, tuple[int, ...]] = {
    **dict.fromkeys((1, 2, 3, 26), (404,)),
    17: (486, 600),
    18: (408,),
    **dict.fromkeys((19, 20), (480,)),
    21: (403, 603),
    22: (410, 301),
    23: (410,),
    27: (502,),
    28: (484,),
    29: (501,),
    31: (480,),
    **dict.fromkeys((34, 38, 41, 42, 47, 58, 88), (503,)),
    **dict.fromkeys((55, 57, 87), (403,)),
    **dict.fromkeys((65, 70), (488,)),
    79: (501,),
    102: (504,),
    **dict.fromkeys((111, 127), (500,)),
}
"""RFC 3398 section 7.2.4.1: the code that a gateway gives for a cause; 500 for any other."""
TO_Q850: dict[int, int] = {
    400: 41,
    **dict.fromkeys((401, 402, 403, 407, 603), 21),
    **dict.fromkeys((404, 485, 604), 1),
    405: 63,
    **dict.fromkeys((406, 415, 501), 79),
    **dict.fromkeys((408, 504), 102),
    410: 22,
    **dict.fromkeys((413, 414, 416, 420, 421, 423, 505, 513), 127),
    480: 18,
    **dict.fromkeys((481, 500, 503), 41),
    **dict.fromkeys((482, 483), 25),
    484: 28,
    **dict.fromkeys((486, 600), 17),
    502: 38,
}
"""Section 8.2.6.1: the other way."""
_USER, _NUMBER, _NETWORK, _MEDIA = "the called party", "the number", "the network", "the media"
_CAUSES = {
    **dict.fromkeys((17, 18, 19, 20, 21), _USER),
    **dict.fromkeys((1, 3, 22, 28), _NUMBER),
    **dict.fromkeys((27, 34, 38, 41, 42, 44, 47, 102), _NETWORK),
    **dict.fromkeys((65, 70, 88), _MEDIA),
}
_CODES = {
    **dict.fromkeys((403, 408, 480, 486, 600, 603), _USER),
    **dict.fromkeys((404, 410, 484, 485, 604), _NUMBER),
    **dict.fromkeys((500, 502, 503, 504), _NETWORK),
    **dict.fromkeys((415, 488, 606), _MEDIA),
}


@dataclass(frozen=True, slots=True)
class Cause:
    """One value of a Reason header."""

    protocol: str
    number: int
    text: str
    line: str

    @property
    def isdn(self) -> bool:
        """An ISDN cause, as opposed to a SIP code."""
        return self.protocol in ("Q.850", "Q850")

    @property
    def words(self) -> str:
        """'User busy (Q.850 cause 17)', in the sender's own words where it has any."""
        own = self.text or (q850(self.number) if self.isdn else reason_phrase(self.number))
        return f"{own} ({self.protocol} {'cause ' if self.isdn else ''}{self.number})"


def causes(step: Step) -> Iterator[Cause]:
    """What a message's Reason headers say."""
    lines = {f.value: f"{f.written}: {f.value}" for f in step.m.sip.fields("Reason")}
    for value in step.m.sip.all("Reason"):
        protocol, _, rest = value.partition(";")
        params = parse_params(rest)
        number = params.get("cause") or ""
        if number.isdecimal() and len(number) < 4:
            line = next((line for whole, line in lines.items() if value in whole), "")
            yield Cause(protocol.strip().upper(), int(number), params.get("text") or "", line)


def expected(cause: int) -> tuple[int, ...]:
    """SIP codes that stand for an ISDN cause."""
    return TO_SIP.get(cause, (500,))


def contradicts(code: int, cause: int) -> bool:
    """Code and cause blame different things, and no table pairs them. Unspecific ones contradict nothing."""
    if code in expected(cause) or TO_Q850.get(code) == cause:
        return False
    one, other = _CODES.get(code), _CAUSES.get(cause)
    return one is not None and other is not None and one != other
