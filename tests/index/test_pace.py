"""Work in the background takes its share of a processor and no more."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from index.columns import HOUR_NS
from index.lake import Lake
from index.pace import Pace
from index.retention import Limits
from index.upkeep import Upkeep
from tests.index.stored import START, call, listed, put


def compute(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_who_took_more_than_its_share_waits(share: float) -> None:
    began, used = time.monotonic(), time.thread_time()
    pace = Pace(share)
    for _ in range(10):
        compute(0.03)
        assert not pace()
    # The last piece may be ahead by what is not worth a pause.
    assert time.thread_time() - used <= share * (time.monotonic() - began + 0.05)


def test_idle_time_is_not_saved_up() -> None:
    pace = Pace(0.25)
    time.sleep(0.5)
    pace()
    began, used = time.monotonic(), time.thread_time()
    compute(0.1)
    pace()
    assert time.thread_time() - used <= 0.25 * (time.monotonic() - began + 0.1)


def test_it_ends_at_once_when_it_is_to_stop() -> None:
    asked = []
    pace = Pace(0.000001, lambda: len(asked) > 2)
    asked.append(1)
    compute(0.05)
    asked += [1, 1]
    assert pace()


def test_putting_hours_in_order_keeps_to_it(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "store")
    for n in range(6):
        put(lake, tmp_path / "a.pcap", *(call(f"{n}-{k}", START, 300) for k in range(300)))
    began, used = time.monotonic(), time.thread_time()
    Upkeep(lake, Limits(1 << 62), "node", share=0.1).round(time.time_ns() + HOUR_NS)
    # Each step asks before it begins; what the last one took is not waited for.
    assert time.thread_time() - used <= 0.1 * (time.monotonic() - began) + 0.5
    assert len(listed(lake)) == 1800
    lake.close()
