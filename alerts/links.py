"""Addresses of one call in the HTTP API: a Call-ID may hold any byte, so it travels percent-encoded as its bytes."""

from __future__ import annotations

from urllib.parse import quote

from sip.text import bytes_of

CALLS = "/api/v1/calls"


def quoted(text: str) -> str:
    """Wire text as one segment of a path (or one value of a query); '/' is encoded too."""
    # A lone '.' or '..' would be taken for a step in the path (RFC 3986 section 5.2.4).
    return quote(bytes_of(text), safe="") if text not in (".", "..") else text.replace(".", "%2E")


def call_url(base_url: str, call_id: str, part: str = "") -> str:
    """`part` is messages, ladder.svg, pcap, …; empty for the call itself."""
    return f"{base_url.rstrip('/')}{CALLS}/{quoted(call_id)}" + (f"/{part}" if part else "")
