"""`finding:` in a filter: calls that nobody has looked at are diagnosed for it, and an answer is whole or none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import diagnose.local
from diagnose.local import LocalDesk, open_store
from index.importing import import_file
from index.lake import Lake
from sip.errors import TooMuch

PCAPS = Path(__file__).parents[2] / "fixtures" / "pcaps"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[LocalDesk]:
    desk = open_store(Lake(tmp_path / "store"))
    for name in ("basic-call", "missing-ack", "no-common-codec", "nat-answer-side"):
        import_file(desk.archive, str(PCAPS / f"{name}.pcap"), "here")
    yield desk
    desk.close()


def found(desk: LocalDesk, filter: str, limit: int = 100) -> list[str]:
    return [c.call_id.partition("@")[0].partition("-")[0] for c in desk.calls(filter, limit).calls]


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ("finding:missing-ack", ["noack", "natack"]),
        ("finding:missing-ack not finding:private-*", ["noack"]),
        ("not finding:*", ["a84b4c76e66710"]),
        ("finding:no-common-codec or finding:private-*", ["codec", "natack"]),
        ("finding:missing-ack state:failed", []),
    ],
)
def test_calls_that_nobody_looked_at_are_found(desk: LocalDesk, filter: str, expected: list[str]) -> None:
    assert found(desk, filter) == expected


def test_a_page_at_a_time(desk: LocalDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnose.local, "PAGE", 1)
    monkeypatch.setattr(diagnose.local, "FINDING_BUDGET", 600.0)  # one by one takes long on a busy machine
    first = desk.calls("finding:missing-ack", 1)
    assert first.next is not None
    assert [c.call_id.partition("-")[0] for c in first.calls] == ["noack"]
    assert [c.call_id.partition("-")[0] for c in desk.calls("finding:missing-ack", 1, first.next).calls] == ["natack"]


def test_too_much_to_diagnose_is_an_error_and_no_short_list(desk: LocalDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnose.local, "FINDING_BUDGET", -1.0)
    with pytest.raises(TooMuch, match="narrow it"):
        desk.calls("finding:missing-ack")
