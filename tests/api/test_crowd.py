"""Very many questions at once: each is answered or refused in words, and few threads do it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from api.crowd import AT_ONCE, Crowd
from api.serve import ApiServer
from api.server import create_app
from index.summary import CallPage
from tests.api.desk_of_sip import SipDesk


class Slow(SipDesk):
    """Answers lists slowly, and counts how many it is asked for at once."""

    seconds = 0.01

    def calls(self, filter: str = "", limit: int = 100, before: str | None = None) -> CallPage:
        with LOCK:
            COUNTS["now"] += 1
            COUNTS["most"] = max(COUNTS["most"], COUNTS["now"])
        time.sleep(self.seconds)
        with LOCK:
            COUNTS["now"] -= 1
        return super().calls("", limit, before)


LOCK, COUNTS = threading.Lock(), Counter[str]()


@pytest.fixture
def desk() -> Iterator[Slow]:
    COUNTS.clear()
    yield Slow(["one", "two"])


async def ask(url: str, count: int) -> list[httpx.Response]:
    limits = httpx.Limits(max_connections=count)
    async with httpx.AsyncClient(timeout=60, limits=limits, trust_env=False) as client:
        return await asyncio.gather(*(client.get(f"{url}/api/v1/calls?limit=1") for _ in range(count)))


def test_all_are_answered_by_few_threads(desk: Slow) -> None:
    server = ApiServer(create_app(desk, version="1"))
    server.start()
    try:
        before = threading.active_count()
        answers = asyncio.run(ask(server.url, 300))
        assert {a.status_code for a in answers} == {200}
        assert 1 < COUNTS["most"] <= AT_ONCE
        assert threading.active_count() - before < 60
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("waiting", "patience", "why"), [(5, 30.0, "5 questions wait already"), (1000, 0.3, "took 0.3 s")]
)
def test_whoever_finds_no_place_is_told_so(desk: Slow, waiting: int, patience: float, why: str) -> None:
    Slow.seconds, app = 0.2, create_app(desk, version="1")
    server = ApiServer(Crowd(app, at_once=2, waiting=waiting, patience=patience))  # type: ignore[arg-type]
    server.start()
    try:
        answers = asyncio.run(ask(server.url, 60))
        told = [a for a in answers if a.status_code == 503]
        assert {a.status_code for a in answers} == {200, 503} and len(told) > 10
        assert all(why in a.json()["detail"] and "\n" not in a.json()["detail"] for a in told)
        assert all(a.headers["Retry-After"] == "2" for a in told)
        assert httpx.get(f"{server.url}/api/v1/calls", trust_env=False).status_code == 200, "and it goes on"
    finally:
        Slow.seconds = 0.01
        server.stop()
