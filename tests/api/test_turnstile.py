"""However many ask at once: some are answered at a time, the others wait, and who waited in vain is told so."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from api import turnstile
from api.serve import ApiServer
from api.turnstile import Turnstile


class Slow:
    """An API whose answers take as long as the door is shut."""

    def __init__(self, at_once: int, seconds: float) -> None:
        self.door, self.lock = threading.Event(), threading.Lock()
        self.inside = self.most = self.asked = 0

        def answer(request: Request) -> PlainTextResponse:
            with self.lock:
                self.inside += 1
                self.asked += 1
                self.most = max(self.most, self.inside)
            self.door.wait(20)
            with self.lock:
                self.inside -= 1
            return PlainTextResponse("yes")

        app = Starlette(routes=[Route("/api/v1/calls", answer), Route("/healthz", lambda r: PlainTextResponse("ok"))])
        self.server = ApiServer(Turnstile(app, at_once, seconds))  # type: ignore[arg-type]
        self.server.start()


@pytest.fixture
def slow() -> Iterator[Slow]:
    slow = Slow(3, 1.0)
    yield slow
    slow.door.set()
    slow.server.stop()


async def ask(slow: Slow, path: str = "/api/v1/calls") -> bytes:
    reader, writer = await asyncio.open_connection(slow.server.host, slow.server.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer


def apart(work: Coroutine[Any, Any, list[bytes]]) -> list[bytes]:
    """Run in a thread of its own: `asyncio.run` leaves the main thread without the loop that other libraries expect."""
    with ThreadPoolExecutor(1) as one:
        return one.submit(asyncio.run, work).result()


def asked(slow: Slow, count: int) -> list[bytes]:
    async def all_at_once() -> list[bytes]:
        return await asyncio.gather(*(ask(slow) for _ in range(count)))

    return apart(all_at_once())


def test_a_thousand_at_once_are_all_answered_a_few_at_a_time(slow: Slow) -> None:
    slow.door.set()
    slow.server.app._seconds = 60.0  # type: ignore[attr-defined]
    answers = asked(slow, 1000)
    assert Counter(a.split()[1] for a in answers) == {b"200": 1000} and all(a.endswith(b"yes") for a in answers)
    assert 1 <= slow.most <= 3


def test_who_waits_in_vain_is_told_when_to_come_back(slow: Slow) -> None:
    threading.Timer(2.0, slow.door.set).start()
    answers = asked(slow, 10)
    assert Counter(a.split()[1] for a in answers) == {b"200": 3, b"503": 7}
    refused = next(a for a in answers if b" 503 " in a)
    assert b"retry-after: 5\r\n" in refused and b"too many questions at once" in refused
    assert Counter(a.split()[1] for a in asked(slow, 10)) == {b"200": 10}, "the doors are free again"


def test_more_than_can_wait_are_refused_at_once(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turnstile, "MOST_WAITING", 2)
    slow.server.app._seconds = 60.0  # type: ignore[attr-defined]
    refused: list[bytes] = []

    async def crowd() -> list[bytes]:
        first = [asyncio.create_task(ask(slow)) for _ in range(5)]
        while slow.inside < 3 or slow.server.app._waiting < 2:  # type: ignore[attr-defined]
            await asyncio.sleep(0.01)
        refused.append(await ask(slow))
        assert b"ok" in await ask(slow, "/healthz"), "whether it lives may always be asked"
        slow.door.set()
        return await asyncio.gather(*first)

    assert Counter(a.split()[1] for a in apart(crowd())) == {b"200": 5}
    assert b" 503 " in refused[0]


def test_who_has_gone_away_is_not_answered(slow: Slow) -> None:
    slow.server.app._seconds = 60.0  # type: ignore[attr-defined]
    gone = [socket.create_connection((slow.server.host, slow.server.port)) for _ in range(8)]
    for one in gone:
        one.sendall(b"GET /api/v1/calls HTTP/1.1\r\nHost: a\r\n\r\n")
    while slow.inside < 3 or slow.server.app._waiting < 5:  # type: ignore[attr-defined]
        time.sleep(0.01)
    for one in gone:
        one.close()
    time.sleep(0.5)
    slow.door.set()
    assert b"yes" in asked(slow, 1)[0]
    assert slow.asked == 4, "three were inside, five gave up waiting, one came later"
