"""Some questions at a time: the others wait for their turn, in order, and are refused in words when it does not come.

Plain ASGI before all routes. However many ask, recording goes on: a question that waits costs a socket and no thread.
It knows nothing of what is asked.
"""

from __future__ import annotations

import asyncio
import json

from starlette.types import ASGIApp, Message, Receive, Scope, Send

AT_ONCE = 8
MOST_WAITING = 4000
WAIT_SECONDS = 20.0
RETRY_SECONDS = 5
FREE = ("/api/v1/imports", "/api/v1/store", "/api/v1/interfaces", "/api/v1/alerts")
"""What takes as long as it takes, one at a time, or asks nothing of the store."""


class Turnstile:
    """Counts who is inside, who waits, and who was refused."""

    def __init__(self, app: ASGIApp, at_once: int = AT_ONCE, seconds: float = WAIT_SECONDS) -> None:
        self.app = app
        self._seconds = seconds
        self._inside = asyncio.Semaphore(at_once)
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = str(scope.get("path", ""))
        asks = path.startswith("/api/v1/") or path == "/metrics"
        if scope["type"] != "http" or not asks or path.startswith(FREE):
            await self.app(scope, receive, send)
            return
        if not self._inside.locked():
            # Never suspended: whoever comes in the same moment finds it taken, and nobody counts as waiting.
            await self._inside.acquire()
            try:
                await self.app(scope, receive, send)
            finally:
                self._inside.release()
            return
        if self._waiting >= MOST_WAITING:
            await refuse(send)
            return
        line = _Line(receive)
        self._waiting += 1
        try:
            await asyncio.wait_for(self._inside.acquire(), self._seconds)
        except TimeoutError:
            await refuse(send)
            return
        finally:
            self._waiting -= 1
            line.over()
        try:
            if not line.hung_up:
                await self.app(scope, line.receive, send)
        finally:
            self._inside.release()


class _Line:
    """Notices that somebody who waits has gone away: nobody would read the answer."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._heard: list[Message] = []
        self.hung_up = False
        self._listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        while True:
            message = await self._receive()
            self._heard.append(message)
            if message["type"] == "http.disconnect":
                self.hung_up = True
                return
            if message.get("more_body"):
                return  # the rest is for who reads it

    def over(self) -> None:
        """Whoever waited is inside, or was refused."""
        self._listening.cancel()

    async def receive(self) -> Message:
        """What was heard meanwhile, then the rest."""
        return self._heard.pop(0) if self._heard else await self._receive()


async def refuse(send: Send) -> None:
    """503 in the API's own form of an error, with a time to come back (RFC 9110 section 10.2.3)."""
    text = f"too many questions at once; try again in {RETRY_SECONDS} s, or ask less often"
    body = json.dumps({"detail": text}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"retry-after", b"%d" % RETRY_SECONDS),
        (b"content-length", b"%d" % len(body)),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
