"""The codec table as text, 80 columns wide: offer on the left, answer on the right."""

from __future__ import annotations

import textwrap
from itertools import zip_longest

from diagnose.codec_table import Stream, StreamSide, Table
from sip.text import printable

WIDTH, LABEL, COLUMN = 80, 14, 32
LONGEST = 300
"""Characters of a cell that are shown; --json has all."""


def render(found: tuple[Table, ...]) -> str:
    """All exchanges, or that there is none."""
    if not found:
        return "no offer with SDP was seen in this call"
    return "\n\n".join(_table(t) for t in found)


def _table(t: Table) -> str:
    offer = f"offer {printable(t.offered_in)} (message {t.offer}) by {t.offerer}"
    answer = "no answer"
    if t.answer is not None:
        answer = f"{printable(t.answered_in)} (message {t.answer}) by {t.answerer}"
    more = f"; the same on {t.hops - 1} more hop{'s' if t.hops > 2 else ''}" if t.hops > 1 else ""
    out = _wrapped(f"Exchange {t.number}  ", f"{offer}, {answer}{more}")
    for s in t.streams:
        out += ["", *_stream(s)]
    return "\n".join(out)


def _stream(s: Stream) -> list[str]:
    what = ", ".join(x for x in (", ".join(s.agreed), s.flow) if x)
    title = f"{printable(s.kind)} {s.position}: {s.state}" + (f": {printable(what)}" if what else "")
    out = _wrapped("  ", title)
    if s.why:
        out += _wrapped("    why  ", printable(s.why[: LONGEST * 2]))
    out.append(f"{'':{LABEL}}{'offer':<{COLUMN}} answer" if s.answer else f"{'':{LABEL}}offer")
    rows = (
        ("codecs", _formats),
        ("direction", lambda x: [x.direction]),
        ("ptime", lambda x: [x.ptime]),
        ("DTMF", lambda x: list(x.dtmf)),
        ("profile", lambda x: [x.profile]),
        ("SRTP", lambda x: list(x.srtp)),
        ("address", _address),
    )
    for label, cells in rows:
        out += _row(label, cells(s.offer), cells(s.answer) if s.answer else [])
    for side, name in ((s.offer, "offer"), (s.answer, "answer")):
        if side is not None and side.note:
            out += _wrapped("    media  ", f"{name}: {printable(side.note)}")
    return out


def _formats(side: StreamSide) -> list[str]:
    """One a line, `*` before those that both sides have."""
    lines = [f"{'*' if f.agreed else ' '} {f.pt:>3} {f.name}" + (f" {f.fmtp}" if f.fmtp else "") for f in side.formats]
    return [x.rstrip() for x in lines]


def _address(side: StreamSide) -> list[str]:
    if not side.port:
        return ["port 0"]
    return [f"[{side.address}]:{side.port}" if ":" in side.address else f"{side.address}:{side.port}"]


def _row(label: str, left: list[str], right: list[str]) -> list[str]:
    """Cells that are too long go on below; a row with nothing in it is left out."""
    one, two = ([y for x in cells for y in _cell(printable(x))] for cells in (left, right))
    if not any(one) and not any(two):
        return []
    out = []
    for n, (a, b) in enumerate(zip_longest(one, two, fillvalue="")):
        out.append(f"    {label if n == 0 else '':{LABEL - 4}}{a:<{COLUMN}} {b}".rstrip())
    return out


def _cell(text: str) -> list[str]:
    if not text:
        return [""]
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    return textwrap.wrap(text, COLUMN, subsequent_indent="      ", drop_whitespace=True, break_on_hyphens=False) or [""]


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False)
