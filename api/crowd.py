"""How many questions are answered at once, and how many may wait: a thousand must not take a thousand threads.

It is plain ASGI, outside of all routes. A question that finds no place, or waits too long for one, is told so at once
(503, with Retry-After). Work that is not a question (an import, a backup) takes no place.
"""

from __future__ import annotations

import asyncio
import json

from starlette.types import ASGIApp, Receive, Scope, Send

AT_ONCE = 12
"""Each has a thread and a cursor of the store; more than a few per core only take turns."""
WAITING = 1000
PATIENCE = 25.0
"""Seconds that a question waits; clients commonly give up after 30."""


class Crowd:
    """Lets so many questions through at once; the others wait in order."""

    def __init__(
        self, app: ASGIApp, at_once: int = AT_ONCE, waiting: int = WAITING, patience: float = PATIENCE
    ) -> None:
        self.app = app
        self.at_once, self.most, self.patience = at_once, waiting, patience
        self._places: asyncio.Semaphore | None = None
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].startswith("/api/"):
            await self.app(scope, receive, send)
            return
        if self._places is None:
            self._places = asyncio.Semaphore(self.at_once)
        if self._waiting >= self.most:
            await refused(send, f"{self._waiting} questions wait already")
            return
        self._waiting += 1
        try:
            await asyncio.wait_for(self._places.acquire(), self.patience)
        except TimeoutError:
            await refused(send, f"too many others were asked before and took {self.patience:g} s")
            return
        finally:
            self._waiting -= 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._places.release()


async def refused(send: Send, why: str) -> None:
    """503 in the API's own form of an error."""
    body = json.dumps({"detail": f"the service is busy: {why}; ask again in a moment"}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"retry-after", b"2"),
        (b"content-length", b"%d" % len(body)),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
