"""Questions about few hours read the files of these hours, and no others, wherever the store is."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from index.columns import HOUR_NS
from index.compaction import compact_all
from index.hours import data_files
from index.lake import Lake
from index.leg_search import families_of
from sip.errors import Unreachable
from tests.index.stored import START, call, put


def test_a_damaged_hour_keeps_no_call_of_another_from_being_told(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "store")
    (at, invite), *rest = call("here", START)
    put(lake, tmp_path / "a.pcap", [(at, invite.replace(b">;tag=2", b">" + 6 * b" ")), *rest])
    archive = put(lake, tmp_path / "b.pcap", call("elsewhere", START + 5 * HOUR_NS))
    compact_all(lake, time.time_ns() + HOUR_NS)
    lake.know_hours()
    with lake.reading() as cur:
        files = data_files(cur, ["messages", "packed", "calls"])
    slot = max(f.slot for f in files if f.slot is not None)
    for file in files:
        if file.slot == slot:
            file.path.write_bytes(b"damaged")
    assert archive.call("here").messages == 3
    assert len(archive.trace("here").messages) == 3 and len(archive.frames(["here"])) == 3
    assert [leg.call_id for leg in families_of(archive, ["here"])["here"].legs] == ["here"]
    with pytest.raises(Unreachable) as told:
        archive.trace("elsewhere")
    assert "too small to be a Parquet file" in str(told.value) and "SELECT" not in str(told.value)
    lake.close()


@pytest.mark.parametrize("name", ["o'clock", "a store [1] of *", "ünïcode {x}"])
def test_the_folder_of_a_store_may_have_any_name(tmp_path: Path, name: str) -> None:
    lake = Lake(tmp_path / name)
    archive = put(lake, tmp_path / "a.pcap", call("one", START), call("other", START + HOUR_NS))
    for _ in range(2):
        assert [c.call_id for c in archive.calls(None, 9)] == ["other", "one"]
        assert len(archive.trace("one").messages) == 3 and len(archive.frames(["other"])) == 3
        compact_all(lake, time.time_ns() + HOUR_NS)
    lake.close()
