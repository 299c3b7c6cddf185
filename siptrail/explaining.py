"""What `siptrail explain` prints: meanings of a topic in 80 columns, or the kinds of topics."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence

from diagnose.explain import KINDS, Explanation

WIDTH = 80


def meanings(topic: str, found: Sequence[Explanation], as_json: bool) -> str:
    """All meanings, the nearest first."""
    if as_json:
        return json.dumps({"topic": topic, "explanations": [e.to_json() for e in found]}, ensure_ascii=True)
    return "\n\n".join(_meaning(e) for e in found)


def kinds(as_json: bool) -> str:
    """What can be asked."""
    if as_json:
        return json.dumps({"kinds": [{"kind": k, "words": w, "example": e} for k, w, e in KINDS]})
    out = ["siptrail explain TOPIC, where TOPIC is", ""]
    out += [f"  {words:<50}siptrail explain {example}" for _, words, example in KINDS]
    return "\n".join(out)


def _meaning(e: Explanation) -> str:
    title = e.name + (f"  ({e.kind}, usually {e.severity})" if e.severity else f"  ({e.kind})")
    out = [title, *_wrapped("  ", e.means)]
    out += [line for fact in e.facts for line in _wrapped("    - ", fact)]
    if e.look:
        out += _wrapped("  Next: ", e.look)
    if e.reference:
        out += _wrapped("  See:  ", e.reference)
    return "\n".join(out)


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_on_hyphens=False,
        break_long_words=False,
    )
