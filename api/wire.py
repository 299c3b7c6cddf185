"""Call-IDs in addresses: any byte but CR and LF may come percent-encoded, and is matched exactly.

A server decodes %2F before it routes, and takes bytes that are not UTF-8 for U+FFFD. So the path is split here
while it is still encoded, and only then decoded, by sip.text.text_of; queries likewise. It owns nothing else.
"""

from __future__ import annotations

from urllib.parse import quote, unquote, unquote_to_bytes, urlencode

from starlette.types import ASGIApp, Receive, Scope, Send

from alerts.links import CALLS
from sip.errors import NotFound
from sip.text import text_of

MARK = "="
"""Stands before the Call-ID in the path that routing sees, so that an empty one is a segment too."""

COMPARE = "compare"
"""The one part of a call after which a second Call-ID comes."""


class WireText:
    """ASGI middleware: after it, `path` has each Call-ID as one encoded segment, and the query is plain UTF-8."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "query_string": canonical_query(scope.get("query_string", b""))}
            root = scope.get("root_path", "")
            raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
            path = canonical_path(raw, f"{root}{CALLS}/".encode())
            if path is not None:
                scope["path"] = path
        await self.app(scope, receive, send)


def canonical_path(raw: bytes, prefix: bytes) -> str | None:
    """The path for routing when `raw` is about one call, else None."""
    if not raw.startswith(prefix):
        return None
    call_id, slash, rest = raw.removeprefix(prefix).partition(b"/")
    part, second, other = rest.partition(b"/")
    tail = f"{COMPARE}/{_segment(other)}" if second and part == COMPARE.encode() else unquote(rest.decode("latin-1"))
    return prefix.decode() + _segment(call_id) + (f"/{tail}" if slash else "")


def _segment(call_id: bytes) -> str:
    """A Call-ID as one segment for routing, whatever its bytes."""
    return MARK + quote(wire_text(call_id), safe="")


def canonical_query(raw: bytes) -> bytes:
    """The same query with every value as UTF-8."""
    if not raw:
        return raw
    pairs = [pair.partition(b"=") for pair in raw.replace(b"+", b" ").split(b"&") if pair]
    return urlencode([(wire_text(name), wire_text(value)) for name, _, value in pairs]).encode()


def wire_text(encoded: bytes) -> str:
    """Percent-encoded bytes as text that gives the same bytes back."""
    return text_of(unquote_to_bytes(encoded))


def routed_call_id(segment: str) -> str:
    """The Call-ID out of a segment that `WireText` wrote."""
    if not segment.startswith(MARK):
        raise NotFound("no such page")
    return unquote(segment.removeprefix(MARK))
