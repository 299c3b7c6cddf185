"""The page of findings is that of the rules."""

from __future__ import annotations

from pathlib import Path

from diagnose.catalogue import page


def test_the_page_is_not_stale() -> None:
    written = Path(__file__).parents[2] / "docs" / "findings.md"
    assert written.read_text("utf-8") == page(), "run: python -m diagnose.catalogue > docs/findings.md"
