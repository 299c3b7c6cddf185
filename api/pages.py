"""The two pages for a browser: whole files, read once, each with a policy that lets only its own script run."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "page"
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Page:
    """A page and its Content-Security-Policy."""

    html: str
    policy: str


def load(name: str) -> Page:
    """Read a page; its inline scripts are allowed by their hashes (CSP level 3, section 6.7.3.3)."""
    html = (FOLDER / name).read_text("utf-8")
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in _SCRIPT.findall(html)]
    hashes = " ".join(f"'sha256-{digest}'" for digest in digests)
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; connect-src 'self'; img-src 'self' data:;"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Page(html, policy)


PAGES = {"/": load("index.html"), "/docs": load("docs.html")}
