"""Session descriptions (RFC 8866) as far as calls need them: streams, codecs, addresses, directions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sip.text import text_of

STATIC = {
    0: ("PCMU", 8000, 1),
    3: ("GSM", 8000, 1),
    4: ("G723", 8000, 1),
    5: ("DVI4", 8000, 1),
    6: ("DVI4", 16000, 1),
    7: ("LPC", 8000, 1),
    8: ("PCMA", 8000, 1),
    9: ("G722", 8000, 1),
    10: ("L16", 44100, 2),
    11: ("L16", 44100, 1),
    12: ("QCELP", 8000, 1),
    13: ("CN", 8000, 1),
    14: ("MPA", 90000, 1),
    15: ("G728", 8000, 1),
    16: ("DVI4", 11025, 1),
    17: ("DVI4", 22050, 1),
    18: ("G729", 8000, 1),
    25: ("CelB", 90000, 1),
    26: ("JPEG", 90000, 1),
    28: ("nv", 90000, 1),
    31: ("H261", 90000, 1),
    32: ("MPV", 90000, 1),
    33: ("MP2T", 90000, 1),
    34: ("H263", 90000, 1),
}
"""Static payload types (RFC 3551 section 6)."""
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")


@dataclass(frozen=True, slots=True)
class Codec:
    """One format of a stream."""

    pt: int
    name: str
    clock: int
    channels: int
    fmtp: str | None = None


@dataclass(frozen=True, slots=True)
class Media:
    """One m= section."""

    kind: str
    port: int
    proto: str
    formats: tuple[str, ...]
    connection: str | None
    """Its own c= address."""
    attributes: tuple[tuple[str, str | None], ...]
    direction: str
    codecs: tuple[Codec, ...]
    address: str
    """Where it wants to receive: its own c= or the session's (RFC 8866 section 5.7); '' where there is none."""
    lines: tuple[tuple[int, str], ...]
    """(0-based line number in the body, text)."""

    def attribute(self, name: str) -> str | None:
        """First value of a=name:…; '' for a flag, None where it is absent."""
        return next((v or "" for n, v in self.attributes if n == name), None)


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A whole body."""

    origin: str
    connection: str | None
    attributes: tuple[tuple[str, str | None], ...]
    media: tuple[Media, ...]
    lines: tuple[str, ...]


def parse_sdp(body: bytes) -> SessionDescription | None:
    """Parse what can be read; None where nothing looks like SDP."""
    lines = tuple(text_of(body).replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n"))
    if not any(len(x) > 1 and x[1] == "=" for x in lines[:8]):
        return None
    head: list[tuple[int, str]] = []
    sections: list[list[tuple[int, str]]] = []
    for n, line in enumerate(lines):
        if line.startswith("m="):
            sections.append([])
        (sections[-1] if sections else head).append((n, line))
    session = _attributes(head)
    connection = _connection(head)
    origin = next((x[2:] for _, x in head if x.startswith("o=")), "")
    return SessionDescription(
        origin, connection, session, tuple(_media(s, session, connection) for s in sections), lines
    )


def _attributes(lines: list[tuple[int, str]]) -> tuple[tuple[str, str | None], ...]:
    out: list[tuple[str, str | None]] = []
    for _, line in lines:
        if line.startswith("a="):
            name, colon, value = line[2:].partition(":")
            out.append((name.strip(), value.strip() if colon else None))
    return tuple(out)


def _connection(lines: list[tuple[int, str]]) -> str | None:
    for _, line in lines:
        if line.startswith("c="):
            parts = line[2:].split()
            return parts[2].partition("/")[0] if len(parts) > 2 else ""
    return None


def _number(text: str) -> int:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1


def _media(lines: list[tuple[int, str]], session: tuple[tuple[str, str | None], ...], connection: str | None) -> Media:
    parts = lines[0][1][2:].split()
    attributes = _attributes(lines)
    own = _connection(lines)
    formats = tuple(parts[3:])
    direction = next(
        (n for n, _ in attributes if n in DIRECTIONS), next((n for n, _ in session if n in DIRECTIONS), "sendrecv")
    )
    return Media(
        parts[0] if parts else "",
        _number(parts[1].partition("/")[0]) if len(parts) > 1 else -1,
        parts[2] if len(parts) > 2 else "",
        formats,
        own,
        attributes,
        direction,
        _codecs(formats, attributes),
        (own if own is not None else connection) or "",
        tuple(lines),
    )


def _codecs(formats: tuple[str, ...], attributes: tuple[tuple[str, str | None], ...]) -> tuple[Codec, ...]:
    maps: Mapping[int, tuple[str, int, int]]
    maps, fmtp = {}, {}
    for name, value in attributes:
        pt, _, rest = (value or "").partition(" ")
        if name == "rtpmap":
            encoding = rest.strip().split("/")
            if not encoding[0]:
                continue
            maps[_number(pt)] = (
                encoding[0],
                max(0, _number(encoding[1])) if len(encoding) > 1 else 0,
                max(1, _number(encoding[2])) if len(encoding) > 2 else 1,
            )
        elif name == "fmtp":
            fmtp[_number(pt)] = rest.strip()
    out = []
    for text in formats:
        pt_number = _number(text)
        if pt_number < 0:
            continue
        name, clock, channels = maps.get(pt_number) or STATIC.get(pt_number) or (f"pt{pt_number}", 0, 1)
        out.append(Codec(pt_number, name, clock, channels, fmtp.get(pt_number)))
    return tuple(out)
