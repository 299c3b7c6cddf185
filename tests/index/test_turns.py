"""What takes memory in the background goes one after the other, and nobody waits for ever."""

from __future__ import annotations

import threading
import time

import pytest

from index import turns
from index.turns import Turns


def test_the_second_one_waits_for_the_first() -> None:
    mine, order = Turns(), list[str]()
    inside = threading.Event()

    def second() -> None:
        inside.wait()
        with mine.mine():
            order.append("second")

    other = threading.Thread(target=second)
    other.start()
    with mine.mine():
        inside.set()
        time.sleep(0.2)
        order.append("first")
    other.join()
    assert order == ["first", "second"]


def test_who_waited_long_enough_goes_on_and_leaves_the_turn_to_whom_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "MOST_SECONDS", 0.05)
    mine = Turns()
    with mine.mine():
        with mine.mine():
            pass
        held = mine._lock.locked()
    assert held and not mine._lock.locked()
