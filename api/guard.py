"""Who may ask, and what a browser may do with the answer: the bearer token and the security headers.

Both are plain ASGI, outside of all routes, so that no page can be added without them.
"""

from __future__ import annotations

import hmac
import json
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN_PATHS = ("/healthz",)
DEFAULT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
"""For everything that sets none itself, an SVG opened on its own included: it may draw and nothing else."""
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}


class Guard:
    """Lets a request through when its token is right (or none is wanted); adds the headers to every answer."""

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self.app = app
        self.token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Content-Security-Policy", DEFAULT_POLICY)
            await send(message)

        if self.token and scope["path"] not in OPEN_PATHS and not allowed(scope, self.token):
            await unauthorized(with_headers)
            return
        await self.app(scope, receive, with_headers)


def allowed(scope: Scope, token: str) -> bool:
    """Authorization: Bearer (RFC 6750 section 2.1), or ?token= for links (section 2.3)."""
    scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
    return hmac.compare_digest(given.strip().encode(), token.encode())


async def unauthorized(send: Send) -> None:
    """401 in the API's own form of an error."""
    body = json.dumps({"detail": "a token is needed: send Authorization: Bearer TOKEN, or add ?token=TOKEN"}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"www-authenticate", b"Bearer"),
        (b"content-length", b"%d" % len(body)),
    ]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": body})
