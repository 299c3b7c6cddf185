"""One text about a status code, a method or a term."""

from __future__ import annotations

from typing import NamedTuple


class Text(NamedTuple):
    """What it is, what to look at next, where it is written, and by which other names people ask for it."""

    means: str
    look: str
    reference: str
    names: tuple[str, ...] = ()
