"""`siptrail retention` on a store of its own, and through a running service."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from index.columns import HOUR_NS
from index.lake import Lake
from siptrail.cli import app
from siptrail.config import share, size_bytes
from tests.index.stored import START, call, listed, put


def siptrail(*arguments: str, code: int = 0) -> Result:
    """Run a command to its end."""
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=code == 0)
    assert code or result.exit_code == 0, result.output
    return result


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with calls of three hours, long ago."""
    lake = Lake(tmp_path / "store")
    put(lake, tmp_path / "a.pcap", *(call(f"c{n}", START + n * HOUR_NS) for n in range(3)))
    lake.close()
    return tmp_path / "store"


def reopened(store: Path) -> list[str]:
    lake = Lake(store)
    try:
        return listed(lake)
    finally:
        lake.close()


def test_sizes_and_shares() -> None:
    assert (size_bytes("1.5 GB"), size_bytes("800mb"), share("95%"), share("off")) == (3 << 29, 800 << 20, 0.95, None)
    for wrong in ("50", "GB", "-1GB"):
        with pytest.raises(ValueError, match="not a size"):
            size_bytes(wrong)
    for wrong in ("95", "100%", "0%"):
        with pytest.raises(ValueError, match="not a share"):
            share(wrong)


def test_a_dry_run_says_what_would_go_and_leaves_it(store: Path) -> None:
    text = siptrail("retention", "--dry-run", "--store", str(store)).stdout
    assert re.search(r"would remove 2026-01-05 10:00 \(3 messages, .+\): older than 7 days", text)
    assert len(text.splitlines()) == 4 and reopened(store) == ["c0", "c1", "c2"]


def test_retention_removes_and_frees_at_once(store: Path) -> None:
    record: dict[str, Any] = json.loads(siptrail("retention", "--json", "--store", str(store)).stdout)
    assert [(h["slot"]["hour"], h["reason"]) for h in record["hours"]] == [(10, "age"), (11, "age"), (12, "age")]
    assert record["freed"] >= sum(h["size"] for h in record["hours"]) > 0
    assert reopened(store) == [] and not list((store / "data").rglob("day=*"))
    counted = json.loads(siptrail("stats", "--json", "--store", str(store)).stdout)["removed"]
    assert (counted["hours age"], counted["messages age"]) == (3, 9)
    assert "nothing must go" in siptrail("retention", "--store", str(store)).stdout


def test_the_time_can_be_given(store: Path) -> None:
    assert "nothing must go" in siptrail("retention", "--keep", "5000w", "--store", str(store)).stdout
    assert reopened(store) == ["c0", "c1", "c2"]
