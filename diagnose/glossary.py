"""All terms of `siptrail explain`, and by which names people ask for them. The words stand in diagnose.texts."""

from __future__ import annotations

import re

from diagnose.texts.entry import Text
from diagnose.texts.terms_calls import CALLS
from diagnose.texts.terms_more import MORE

TERMS: dict[str, Text] = {**CALLS, **MORE}


def key(name: str) -> str:
    """A name as it is compared: case, dashes, underscores and quotes do not matter."""
    return " ".join(re.sub(r"[\s_/\"'-]+", " ", name.lower()).split())


def by_name() -> dict[str, str]:
    """Every name and other name of a term, as `key` has it, with the term it leads to; own names go first."""
    found = {key(other): term for term, text in TERMS.items() for other in text.names}
    return found | {key(term): term for term in TERMS}
