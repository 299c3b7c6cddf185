"""A search that needs more than it may have is an error in words, here and over HTTP, and the store goes on."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from pathlib import Path

import duckdb
import httpx
import pytest

from api.serve import ApiServer
from api.server import create_app
from diagnose.local import LocalDesk
from index import archive as archive_module
from index.archive import Archive
from index.deadlines import Deadlines
from index.filter import parse_filter
from index.lake import Lake
from sip.errors import TooMuch
from tests.index.stored import START, call, put

ALL = "not src:192.0.2.1 talk:>999h"
"""Nothing matches, and every call must be added up to know."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lake = Lake(tmp_path / "store")
    put(lake, tmp_path / "a.pcap", *(call(f"{n:06}-{'x' * 40}", START + n * 10**7) for n in range(6000)))
    lake.close()
    return tmp_path / "store"


def test_more_memory_than_allowed(folder: Path) -> None:
    archive = Archive(Lake(folder, memory="14MB"), lambda: START)
    with pytest.raises(TooMuch, match=r"needs more memory than allowed; narrow it, for example with since:1h"):
        archive.calls(parse_filter(ALL, START), 10)
    server = ApiServer(create_app(LocalDesk(archive), version="1"))
    server.start()
    answer = httpx.get(f"{server.url}/api/v1/calls", params={"filter": ALL}, trust_env=False, timeout=60)
    assert answer.status_code == 504 and "narrow it" in answer.json()["detail"]
    server.stop()
    archive.close()
    again = Archive(Lake(folder), lambda: START)
    assert again.calls(parse_filter(ALL, START), 10) == [] and len(again.calls(None, 10)) == 10
    again.close()


def test_longer_than_allowed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert archive_module.DEADLINE == 30.0, "docs/filter.md says so"
    archive = Archive(Lake(folder), lambda: START)
    monkeypatch.setattr(archive_module, "DEADLINE", 0.0)
    for _ in range(3):
        with pytest.raises(TooMuch, match=r"took longer than 0 s; narrow it, for example with since:1h"):
            archive.calls(parse_filter(ALL, START), 10)
    monkeypatch.setattr(archive_module, "DEADLINE", 30.0)
    assert len(archive.calls(None, 10)) == 10
    archive.close()


def test_a_deadline_between_two_statements_holds_for_the_next() -> None:
    con, deadlines = duckdb.connect(), Deadlines()
    with deadlines.within(con, 0.05):
        time.sleep(0.3)
        with pytest.raises(duckdb.InterruptException):
            con.execute("SELECT count(*) FROM range(1000000000000) a WHERE a.range % 3 = 1").fetchall()
    assert con.execute("SELECT 1").fetchall() == [(1,)]


def test_many_questions_have_one_thread_for_their_deadlines() -> None:
    con, deadlines, before = duckdb.connect(), Deadlines(), set(threading.enumerate())
    with ExitStack() as stack:
        for _ in range(500):
            stack.enter_context(deadlines.within(con, 60))
        # Threads of other tests may end meanwhile.
        assert [t.name for t in threading.enumerate() if t not in before] == ["deadlines"]
