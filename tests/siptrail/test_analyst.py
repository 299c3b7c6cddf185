"""Which calls are diagnosed in the background, when, and how often."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from capture.pipeline import Decoder
from capture.sources.pcapfile import PcapFile
from diagnose.local import LocalDesk
from index.archive import Archive
from index.columns import Rows, to_rows
from index.copies import Copies
from index.summary import CallSummary
from siptrail import analyst as module
from siptrail.analyst import SETTLE_NS, SILENCE_NS, Analyst

PCAPS = Path(__file__).parents[2] / "fixtures" / "pcaps"


def recorded(*names: str) -> tuple[Archive, LocalDesk, Analyst, int]:
    """These captures, as if they had just been seen; the last time is that of their last packet."""
    last = 0
    archive = Archive(None, lambda: last)
    desk = LocalDesk(archive)
    analyst = Analyst(archive.calls_of, desk.diagnosed)
    for name in names:
        decoder, copies = Decoder(), Copies()
        for frames in PcapFile(str(PCAPS / f"{name}.pcap")).blocks():
            for block in (*decoder.feed(frames), *decoder.flush()):
                copies.mark(block)
                rows = to_rows(block, "n")
                archive.add(rows)
                analyst.observe(rows)
                last = max(last, int(block.ts.max()))
    return archive, desk, analyst, last


def rows_of(name: str) -> Rows:
    (frames,) = PcapFile(str(PCAPS / f"{name}.pcap")).blocks()
    (block,) = Decoder().feed(frames)
    return to_rows(block, "n")


@pytest.mark.parametrize(
    ("name", "waits"),
    [
        ("server-error", True),
        ("retransmissions", True),
        ("basic-call", False),
        ("auth-407", False),
        ("cancelled", False),
    ],
)
def test_failed_and_odd_calls_are_looked_at(name: str, waits: bool) -> None:
    archive, _, analyst, _ = recorded(name)
    assert bool(analyst.waiting()) == waits
    archive.close()


def test_a_failed_call_is_diagnosed_soon_and_once_more_when_nothing_can_come_any_more() -> None:
    archive, desk, analyst, last = recorded("server-error")
    waiting = analyst.waiting()
    assert analyst.look(last - 10**12) == 0, "not yet"
    assert analyst.look(last + SETTLE_NS) == waiting
    found = archive.known_verdicts(archive.calls(None, 10))
    assert any(name == "server-error" for v in found for name, _, _ in v.findings)
    assert analyst.look(last + SETTLE_NS) == 0
    assert analyst.look(last + SILENCE_NS) == waiting and analyst.waiting() == 0, "and that is the end of it"
    assert analyst.done == 2 * waiting
    desk.close()


def test_what_does_not_fit_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 0)
    archive, _, analyst, _ = recorded("server-error")
    assert analyst.waiting() == 0 and analyst.left > 0
    told = {m.name: m.samples[0].value for m in analyst.metrics().collect()}
    assert told["siptrail_diagnosis_left"] == analyst.left
    archive.close()


def test_a_call_that_nobody_answered_is_expected() -> None:
    archive, desk, analyst, last = recorded("invite-unanswered")
    (call,) = [c for c in archive.calls(None, 10) if c.method == "INVITE"][:1]
    analyst.expect(call.call_id, last)
    analyst.look(last + SILENCE_NS)
    assert archive.known_verdicts([call])
    desk.close()


def test_a_call_that_nobody_looked_at_goes_before_one_that_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    archive, desk, _, last = recorded("server-error", "invite-unanswered")
    asked: list[str] = []

    def calls_of(call_ids: Sequence[str], since: int) -> list[CallSummary]:
        asked.extend(call_ids)
        return archive.calls_of(call_ids, since)

    analyst = Analyst(calls_of, desk.diagnosed)
    failed = next(c.call_id for c in archive.calls(None, 10) if c.final_code and c.final_code >= 500)
    silent = next(c.call_id for c in archive.calls(None, 10) if c.state == "unanswered")
    analyst.observe(rows_of("server-error"))
    analyst.look(last + SETTLE_NS)
    asked.clear()
    monkeypatch.setattr(module, "TOGETHER", 1)
    analyst.expect(silent, last)
    for _ in range(2):
        analyst.look(last + 2 * SILENCE_NS)
    assert asked == [silent, failed]
    desk.close()
