"""The list of all findings as a page for users, generated from the rules themselves.

Run `python -m diagnose.catalogue > docs/findings.md` after a change of their words.
"""

from __future__ import annotations

import importlib
import pkgutil

from diagnose import rules
from diagnose.finding import public_name

_HEAD = """# What siptrail finds

Every finding has a severity (critical: the call failed or has no audio; error: it will fail or be cut; warning: a risk;
info: context), a confidence (certain, likely, possible), the evidence with message numbers, what to do, and the
standard it rests on.
A finding may be milder in a call where something makes it harmless; its evidence then says what.

| Finding | Usual severity | What it means | Standard |
|---|---|---|---|
"""


def page() -> str:
    """The page as Markdown."""
    rows = []
    for info in sorted(pkgutil.iter_modules(rules.__path__), key=lambda i: i.name):
        module = importlib.import_module(f"{rules.__name__}.{info.name}")
        meaning = " ".join((module.__doc__ or "").split()).replace("|", "\\|")
        rows.append(f"| `{public_name(info.name)}` | {module.SEVERITY} | {meaning} | {module.REFERENCE} |\n")
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    print(page(), end="")
