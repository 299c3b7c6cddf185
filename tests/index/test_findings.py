"""Verdicts on calls: the latest holds, wherever it is, and nobody works out again what is in the store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from diagnose.engine import fingerprint, load_rules
from diagnose.local import LocalDesk
from index.archive import Archive
from index.columns import HOUR_NS
from index.compaction import compact_all
from index.filter import parse_filter
from index.findings import Verdict
from index.importing import import_file
from index.lake import Lake
from tests.index.stored import START, call, capture

PCAPS = Path(__file__).resolve().parents[2] / "fixtures" / "pcaps"
NOW = START + 48 * HOUR_NS


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    found = Archive(Lake(tmp_path / "store"), lambda: NOW)
    import_file(found, str(capture(tmp_path / "a.pcap", call("one", START), call("two", START + HOUR_NS))), "n")
    found.flush()
    yield found
    found.close()


def said(call_id: str, *names: str, at: int = NOW, start: int = START) -> Verdict:
    return Verdict(call_id, start, 3, at, "rules", tuple((n, "error", f'{{"name": "{n}"}}') for n in names))


def matching(archive: Archive, text: str) -> list[str]:
    return sorted(c.call_id for c in archive.calls(parse_filter(text, NOW), 10))


@pytest.mark.parametrize("kept", [False, True], ids=["in memory", "in the lake"])
def test_calls_are_found_by_what_was_said_of_them(archive: Archive, kept: bool) -> None:
    archive.verdicts.remember([said("one", "missing-ack", "nat-test-bits"), said("two", start=START + HOUR_NS)])
    for _ in range(2 if kept else 0):
        archive.verdicts.keep()
    assert matching(archive, "finding:nat-*") == ["one"]
    assert matching(archive, "finding:*") == ["one"], "nothing wrong is no finding"
    assert matching(archive, "not finding:missing-ack") == ["two"]
    first, second = sorted(archive.known_verdicts(archive.calls(None, 10)), key=lambda v: v.call_id)
    assert first == said("one", "missing-ack", "nat-test-bits"), "in the order of telling"
    assert second == said("two", start=START + HOUR_NS)


def test_the_latest_verdict_holds_wherever_it_is(archive: Archive) -> None:
    def now_said() -> tuple[str, ...]:
        (found,) = archive.known_verdicts([c for c in archive.calls(None, 10) if c.call_id == "one"])
        return tuple(name for name, _, _ in found.findings)

    archive.verdicts.remember([said("one", "missing-ack", at=NOW)])
    archive.verdicts.keep()
    archive.verdicts.keep()
    archive.verdicts.remember([said("one", "session-expired", at=NOW + 1)])
    assert now_said() == ("session-expired",) and matching(archive, "finding:missing-ack") == []
    archive.verdicts.keep()
    archive.verdicts.keep()
    assert now_said() == ("session-expired",) and matching(archive, "finding:missing-ack") == []
    archive.verdicts.remember([said("one", at=NOW + 2)])
    assert now_said() == () and matching(archive, "finding:*") == []
    archive.verdicts.keep()
    archive.verdicts.keep()
    assert now_said() == () and matching(archive, "finding:*") == []
    assert archive.lake is not None
    compact_all(archive.lake, NOW + 10**6 * HOUR_NS)
    assert now_said() == () and matching(archive, "finding:*") == []


def test_a_desk_takes_over_what_the_same_rules_said(tmp_path: Path) -> None:
    def desk(rules_are: str) -> LocalDesk:
        found = Archive(Lake(tmp_path / "store"), lambda: NOW + 10**5 * HOUR_NS)
        return LocalDesk(found, rules=load_rules(), rules_are=rules_are)

    first = desk("these")
    import_file(first.archive, str(PCAPS / "missing-ack.pcap"), "n")
    first.archive.flush()
    (call,) = first.calls("finding:missing-ack").calls
    first.close()
    again = desk("these")
    # Whoever works it out again finds nothing now.
    again.rules = ()
    (same,) = again.calls().calls
    assert (same.findings, same.headline, same.severity) == (call.findings, call.headline, call.severity)
    again.close()
    other = desk("others")
    other.rules = ()
    (judged,) = other.calls().calls
    assert judged.findings == () and other.calls("finding:missing-ack").calls == ()
    other.close()


def test_a_verdict_on_fewer_messages_is_not_taken_over(tmp_path: Path) -> None:
    found = Archive(Lake(tmp_path / "store"), lambda: NOW)
    import_file(found, str(PCAPS / "basic-call.pcap"), "n")
    (call,) = found.calls(None, 1)
    old = Verdict(call.call_id, call.start, 2, call.end + HOUR_NS, "these", (("missing-ack", "error", "{}"),))
    found.verdicts.remember([replace(old)])
    desk = LocalDesk(found, rules_are="these")
    assert desk.calls().calls[0].findings == ()
    desk.close()


def test_the_fingerprint_changes_with_the_rules(tmp_path: Path) -> None:
    assert fingerprint() == fingerprint()
    before = fingerprint(tmp_path)
    (tmp_path / "mine.py").write_text("def check(call): return ()")
    mine = fingerprint(tmp_path)
    (tmp_path / "mine.py").write_text("def check(call): return []")
    assert len({before, mine, fingerprint(tmp_path)}) == 3
