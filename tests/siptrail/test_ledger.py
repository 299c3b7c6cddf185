"""What was missed is remembered by interface and time, stored once, and told with the calls that were alive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from index.lake import Lake
from index.schema import LATER
from index.trace import Loss
from siptrail.ledger import Ledger

S = 1_000_000_000


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    lake = Lake(tmp_path / "store")
    yield lake
    lake.close()


def test_losses_close_to_each_other_become_one(lake: Lake) -> None:
    ledger = Ledger(lake, "node")
    for at in (10, 11, 20):
        ledger.lost(Loss("eth0", at * S, at * S + S // 2, 7, "kernel"), "kernel_drops")
    ledger.lost(Loss("eth1", 11 * S, 12 * S, 1, "kernel"), "kernel_drops")
    assert ledger.between(0, 100 * S) == (
        Loss("eth0", 10 * S, 11 * S + S // 2, 14, "kernel"),
        Loss("eth0", 20 * S, 20 * S + S // 2, 7, "kernel"),
        Loss("eth1", 11 * S, 12 * S, 1, "kernel"),
    )
    assert ledger.between(13 * S, 19 * S) == ()
    assert ledger.totals() == {"kernel_drops": 22}
    assert ledger.interfaces({"eth0": True, "eth1": False}) == [
        {"name": "eth0", "recording": True, "kernel_drops": 21},
        {"name": "eth1", "recording": False, "kernel_drops": 1},
    ]


def test_counts_and_losses_survive_a_restart_and_are_stored_once(lake: Lake) -> None:
    ledger = Ledger(lake, "node")
    ledger.add("eth0", {"packets": 5})
    ledger.lost(Loss("eth0", S, 2 * S, 3, "kernel"), "kernel_drops")
    ledger.store()
    ledger.add("eth0", {"packets": 2})
    ledger.store()
    ledger.store()
    later = Ledger(lake, "node")
    assert later.totals() == {"packets": 7, "kernel_drops": 3}
    assert later.between(0, 10 * S) == ledger.between(0, 10 * S) == (Loss("eth0", S, 2 * S, 3, "kernel"),)


def test_a_store_from_before_losses_were_kept_is_brought_up_to_date(tmp_path: Path) -> None:
    first = Lake(tmp_path / "store")
    first.con.execute("DROP TABLE lake.losses")
    for table, names in LATER.items():
        for name in sorted(names):
            first.con.execute(f"ALTER TABLE lake.{table} DROP COLUMN {name}")
    first.con.execute("DROP TABLE lake.captures")
    first.con.execute("DROP TABLE lake.findings")
    first.con.execute("DROP TABLE lake.packed")
    first.con.execute("UPDATE lake.about SET value = '1' WHERE name = 'schema'")
    first.close()
    second = Lake(tmp_path / "store")
    second.lose("node", [Loss("eth0", S, 2 * S, 3, "kernel")])
    assert len(second.losses(0, 3 * S)) == 1
    second.close()
