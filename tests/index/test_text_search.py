"""`text:` in filters: found in any message, in memory and in the store, hour by hour, and never without a bound."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from capture.pipeline import Decoder
from capture.sources.pcapfile import PcapFile
from diagnose import local
from diagnose.file_desk import FileDesk
from diagnose.local import LocalDesk
from index.archive import Archive
from index.columns import HOUR_NS, to_rows
from index.compaction import compact_all
from index.filter import FilterError, parse_filter
from index.lake import Lake
from sip.errors import SiptrailError
from tests.index.stored import START, call, capture, put

NOW = START + 100 * HOUR_NS
SINCE = "since:2026-01-05T00:00:00Z"


def named(call_id: str, at: int, header: str) -> list[tuple[int, bytes]]:
    """A call whose last message has a header of its own, of the same length as the padding that it replaces."""
    packets = call(call_id, at, 40)
    when, data = packets[2]
    text = f"X-Padding: {'x' * 40}".encode()
    assert text in data and len(header) <= len(text)
    return [*packets[:2], (when, data.replace(text, header.encode().ljust(len(text))))]


@pytest.fixture(params=["fresh", "in order"])
def desk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[LocalDesk]:
    lake = Lake(tmp_path / "store")
    put(
        lake,
        tmp_path / "a.pcap",
        named("old", START + 1, "X-Carrier: Seven"),
        named("new", START + 5 * HOUR_NS, "X-Carrier: SEVEN"),
        named("other", START + 5 * HOUR_NS + 1, "X-Carrier: Eight"),
        # It began in one hour and ended in the next.
        named("late", START + HOUR_NS - 10**6, "X-Carrier: Nine"),
    )
    if request.param == "in order":
        compact_all(lake, time.time_ns() + HOUR_NS)
    archive = Archive(lake, lambda: NOW)
    yield LocalDesk(archive)
    archive.close()


def found(desk: LocalDesk, filter: str) -> list[str]:
    """Call-IDs of all pages."""
    out, before = [], None
    while True:
        page = desk.calls(filter, 2, before)
        out += [c.call_id for c in page.calls]
        before = page.next
        if before is None:
            return out


@pytest.mark.parametrize("seconds", [0.0, 10.0])
def test_a_text_is_found_in_any_message(desk: LocalDesk, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(local, "TEXT_SECONDS", seconds)
    for _ in range(2):  # the second time from what is remembered of closed hours
        assert found(desk, f'text:"x-carrier: seven" {SINCE}') == ["new", "old"]
        assert found(desk, f"text:X-Carrier {SINCE}") == ["other", "new", "late", "old"]
        assert found(desk, f'text:"carrier: nine" {SINCE}') == ["late"]
        assert found(desk, f"text:~seven not text:x-nothing from:1001 {SINCE}") == ["new", "old"]
        assert found(desk, f"not text:seven {SINCE}") == ["other", "late"]
        assert found(desk, f"(text:eight or text:nine) {SINCE}") == ["other", "late"]
        assert found(desk, f"text:nothing-of-the-kind {SINCE}") == []
        assert found(desk, "text:seven since:2026-01-05T14:00:00Z") == ["new"]
        assert found(desk, f"text:seven {SINCE} until:2026-01-05T14:00:00Z") == ["old"]


def test_pages_say_how_far_back_was_looked(desk: LocalDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "TEXT_SECONDS", 0.0)
    page = desk.calls(f"text:seven {SINCE}", 10)
    assert [c.call_id for c in page.calls] == ["new"]
    # In the hours between nothing was recorded.
    assert page.searched == START + 2 * HOUR_NS and page.next == f"{page.searched - 1}:"
    last, shares = None, [page.progress]
    while page.next is not None:
        page = desk.calls(f"text:seven {SINCE}", 10, page.next)
        assert last is None or page.searched is None or page.searched < last
        last = page.searched
        shares += [page.progress] if page.progress is not None else []
    assert page.searched is None and page.progress is None
    assert all(s is not None and 0 <= s <= 1 for s in shares) and shares == sorted(shares)  # type: ignore[type-var]


def test_rows_in_memory_are_looked_at_too(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "store")
    archive = Archive(lake, lambda: NOW)
    path = capture(tmp_path / "x.pcap", named("hot", START, "X-Carrier: Seven"), call("cold", START + 1))
    source, decoder = PcapFile(str(path)), Decoder()
    for block in source.blocks():
        for messages in (*decoder.feed(block), *decoder.flush()):
            archive.add(to_rows(messages, "node"))
    source.close()
    desk = LocalDesk(archive)
    assert found(desk, f"text:seven {SINCE}") == ["hot"]
    archive.flush()
    assert found(desk, f"text:seven {SINCE}") == ["hot"]
    archive.close()


def test_an_hour_that_got_more_is_looked_at_again(desk: LocalDesk, tmp_path: Path) -> None:
    assert found(desk, f"text:seven {SINCE}") == ["new", "old"]
    assert desk.archive.lake is not None
    put(desk.archive.lake, tmp_path / "b.pcap", named("more", START + 2, "X-Carrier: Seven"))
    assert found(desk, f"text:seven {SINCE}") == ["new", "more", "old"]


def test_a_capture_needs_no_bound_and_a_store_does(desk: LocalDesk, tmp_path: Path) -> None:
    for filter in ("text:seven", f"text:seven or {SINCE}", f"text:seven not {SINCE}", "text:seven until:10:42"):
        with pytest.raises(SiptrailError, match="since:2h"):
            desk.calls(filter)
    path = capture(tmp_path / "x.pcap", named("file", START, "X-Carrier: Seven"), call("no", START))
    alone = FileDesk(str(path), "node", frozenset({5060}), True)
    assert [c.call_id for c in alone.calls("text:seven").calls] == ["file"]
    alone.close()


def test_what_is_too_short_is_refused_at_its_place() -> None:
    for text, column in (("text:ab", 6), ('from:1 text:"a"', 13), ("text:", 6)):
        with pytest.raises(FilterError) as told:
            parse_filter(text, NOW)
        assert told.value.column == column, text


def test_hostile_texts_are_looked_for_as_they_are(desk: LocalDesk) -> None:
    for text in ("'; DROP TABLE", r"\\d+[(*", "ünïcödé", "100%_"):
        quoted = text.replace('"', "")
        assert found(desk, f'text:"{quoted}" {SINCE}') == []
