"""Lists look at few calls first, and give what looking at all of them gives."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from index import listing
from index.archive import Archive
from index.columns import HOUR_NS
from index.compaction import compact_all
from index.filter import parse_filter
from index.importing import import_file
from index.lake import Lake
from index.summary import CallSummary
from tests.index.stored import START, call, capture, frame, message

NOW = START + 100 * HOUR_NS
FILTERS = [
    "",
    "from:1001",
    "src:203.0.113.5",
    "not src:203.0.113.5",
    "src:203.0.113.5 state:completed",
    "src:203.0.113.6 or code:200",
    "not (src:203.0.113.6 state:in-call)",
    "call-id:~7",
    "method:BYE",
    "state:in-call",
    "code:200 not method:INVITE",
    "talk:>1h",
    "state:completed",
    "talk:<2h code:200",
    "messages:>1",
    "until:2026-01-05T12:00:00Z state:completed",
    "number:~zzz",
    "since:2026-01-05T12:00:00Z",
    "finding:missing-ack or src:203.0.113.6",
]


def traffic(seed: int) -> list[list[tuple[int, bytes]]]:
    """Calls of all lengths, some of them begun before the capture; in no order."""
    rand = random.Random(seed)
    out = []
    for n in range(60):
        at, length = START + rand.randrange(5 * HOUR_NS), rand.choice((10**6, 10**9, HOUR_NS // 3, 2 * HOUR_NS))
        src, name = rand.choice((5, 6)), f"call-{n}"
        steps = [
            (at, frame(message("INVITE sip:2002@b.example SIP/2.0", name, "1 INVITE").replace(b";tag=2", b""), src)),
            (at + 10**6, frame(message("SIP/2.0 200 OK", name, "1 INVITE"), 10, src)),
            (at + length, frame(message("BYE sip:2002@b.example SIP/2.0", name, "2 BYE"), src)),
        ]
        out.append(steps[rand.choice((0, 0, 0, 1, 2)) : rand.choice((1, 2, 3, 3, 3))] or steps[2:])
    rand.shuffle(out)
    return out


@pytest.fixture(scope="module", params=["store", "half in memory", "memory"])
def archive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    tmp_path = tmp_path_factory.mktemp("listing")
    lake = None if request.param == "memory" else Lake(tmp_path / "store")
    found = Archive(lake, lambda: NOW)
    calls = traffic(3)
    for n in range(0, len(calls), 20):
        import_file(found, str(capture(tmp_path / f"{n}.pcap", *calls[n : n + 20])), "n")
        if request.param == "store" or n == 0:
            found.flush()
    yield found
    found.close()


def paged(archive: Archive, text: str, page: int) -> list[CallSummary]:
    out: list[CallSummary] = []
    where = parse_filter(text, NOW) if text else None
    while True:
        last = (out[-1].start, out[-1].call_id) if out else None
        some = archive.calls(where, page, last)
        out += some
        if len(some) < page:
            return out


@pytest.mark.parametrize("text", FILTERS)
def test_a_list_is_the_same_however_few_are_looked_at(
    archive: Archive, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "FEW", 1000)
    monkeypatch.setattr(listing, "SOME", 1000)
    monkeypatch.setattr(listing, "MANY", 8)
    all_of_them = archive.calls(parse_filter(text, NOW) if text else None, 1000)
    assert text in ("number:~zzz",) or 0 < len(all_of_them) <= 60
    for few, many in ((1, 8), (2, 20_000)):
        monkeypatch.setattr(listing, "FEW", few)
        monkeypatch.setattr(listing, "SOME", few)
        monkeypatch.setattr(listing, "MANY", many)
        assert paged(archive, text, 11) == all_of_them, (few, many)


def test_a_long_call_that_has_just_ended_does_not_hide_a_younger_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lasting(name: str, since: int, hours: float) -> list[tuple[int, bytes]]:
        at = START + since * HOUR_NS
        return [
            (at, frame(message("INVITE sip:2002@b.example SIP/2.0", name, "1 INVITE").replace(b";tag=2", b""))),
            (at + 10**6, frame(message("SIP/2.0 200 OK", name, "1 INVITE"), 10, 5)),
            (at + int(hours * HOUR_NS), frame(message("BYE sip:2002@b.example SIP/2.0", name, "2 BYE"))),
        ]

    monkeypatch.setattr(listing, "SOME", 1)
    found = Archive(Lake(tmp_path / "store"), lambda: NOW)
    some = lasting("older", 0, 9.9), lasting("younger", 1, 2), lasting("new", 9, 0.1), lasting("newest", 9, 0.2)
    import_file(found, str(capture(tmp_path / "a.pcap", *some)), "n")
    found.flush()
    assert [c.call_id for c in found.calls(parse_filter("talk:>1h", NOW), 1)] == ["younger"]
    found.close()


@pytest.mark.parametrize("text", ["", "src:203.0.113.5", "messages:>0", "not code:404"])
def test_a_call_of_a_clock_that_was_never_set_is_listed(tmp_path: Path, text: str) -> None:
    found = Archive(Lake(tmp_path / "store"), lambda: NOW)
    try:
        calls = [[(at + n, packet) for n, (_, packet) in enumerate(call(f"at-{at}", START))] for at in (5, START)]
        import_file(found, str(capture(tmp_path / "a.pcap", *calls)), "n")
        where = parse_filter(text, NOW) if text else None
        assert [c.start for c in found.calls(where, 10)] == [START, 5]
    finally:
        found.close()


@pytest.mark.parametrize("text", ["", "src:203.0.113.5", "state:completed"])
def test_pages_stay_as_they_were_while_calls_arrive_begin_and_end(tmp_path: Path, text: str) -> None:
    found = Archive(Lake(tmp_path / "store"), lambda: NOW)
    try:
        import_file(found, str(capture(tmp_path / "old.pcap", *traffic(4))), "n")
        where = parse_filter(text, NOW) if text else None
        before = [(c.start, c.call_id) for c in found.calls(where, 1000)]
        seen: list[tuple[int, str]] = []
        while True:
            page = found.calls(where, 7, seen[-1] if seen else None)
            seen += [(c.start, c.call_id) for c in page]
            if len(page) < 7:
                break
            # Newer calls that match every filter come, and hours are put in order.
            n = len(seen)
            at = START + 6 * HOUR_NS + n * 10**9
            call = [
                (
                    at,
                    frame(message("INVITE sip:2002@b.example SIP/2.0", f"new-{n}", "1 INVITE").replace(b";tag=2", b"")),
                ),
                (at + 10**6, frame(message("SIP/2.0 200 OK", f"new-{n}", "1 INVITE"), 10, 5)),
                (at + 2 * 10**6, frame(message("BYE sip:2002@b.example SIP/2.0", f"new-{n}", "2 BYE"))),
            ]
            import_file(found, str(capture(tmp_path / f"new-{n}.pcap", call)), "n")
            if n > 14 and found.lake is not None:
                compact_all(found.lake, NOW)
        assert seen == before
        assert len(found.calls(where, 1000)) == len(before) + (len(seen) - 1) // 7
    finally:
        found.close()
