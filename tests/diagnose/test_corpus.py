"""Real captures from other projects' test suites: the findings are those that reading their packets gave.

SIPTRAIL_CORPUS names a folder with pcaps/ in it; corpus.toml holds what must come out of each, and why that is right.
Doubled packets (a mirror port that copies both directions) must change nothing of it.
"""

from __future__ import annotations

import os
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import dpkt
import pytest
from calls import RULES

from diagnose.file_desk import FileDesk
from diagnose.finding import Finding

EXPECTED: dict[str, dict[str, Any]] = tomllib.loads((Path(__file__).parent / "corpus.toml").read_text("utf-8"))
LARGE = 5_000_000
"""Bytes above which a capture is not doubled as well."""
NAMES = {rule.name for rule in RULES}
PORTS = frozenset({5060})

each_capture = pytest.mark.parametrize("name", EXPECTED)


def _folder() -> Path:
    return Path(os.environ["SIPTRAIL_CORPUS"]) / "pcaps"


@cache
def _told(path: Path) -> dict[str, tuple[Finding, ...]]:
    """The findings of every call."""
    desk = FileDesk(str(path), "here", PORTS, True, rules=RULES)
    try:
        return {c.call_id: desk.findings(c.call_id) for c in desk.calls(limit=10_000).calls}
    finally:
        desk.close()


@pytest.mark.needs("corpus")
@each_capture
def test_findings_are_those_that_its_packets_show(name: str) -> None:
    calls = Counter(finding for found in _told(_folder() / name).values() for finding in {f.name for f in found})
    assert dict(calls) == EXPECTED[name]["findings"], EXPECTED[name]["why"]


@pytest.mark.needs("corpus")
@each_capture
def test_doubled_packets_change_nothing(name: str, tmp_path: Path) -> None:
    path = _folder() / name
    if path.stat().st_size > LARGE:
        pytest.skip(f"{name} is too large to be read twice")
    with path.open("rb") as source:
        reader = dpkt.pcap.UniversalReader(source)
        packets, link = list(reader), reader.datalink()
    # Microseconds are what these captures have; a finer clock than the original's would only move the copies.
    twice = tmp_path / "twice.pcap"
    with twice.open("wb") as sink:
        writer = dpkt.pcap.Writer(sink, snaplen=262_144, linktype=link)
        for ts, data in _doubled(packets):
            writer.writepkt(data, float(ts))
    assert _told(twice) == _told(path)


def _doubled(packets: list[tuple[float, bytes]]) -> Iterator[tuple[float, bytes]]:
    """Each packet again 1 ms later, in the order in which a mirror would send them."""
    waiting: list[tuple[float, bytes]] = []
    last = 0.0
    for ts, data in packets:
        backwards, last = ts < last, ts
        while waiting and (backwards or waiting[0][0] <= ts):
            yield waiting.pop(0)
        yield ts, data
        waiting.append((ts + 0.001, data))
    yield from waiting


@pytest.mark.needs("corpus")
def test_every_capture_of_the_corpus_was_read() -> None:
    folder = _folder()
    assert {str(p.relative_to(folder)) for p in folder.rglob("*.pcap*")} == set(EXPECTED)


@each_capture
def test_every_entry_names_rules_that_are_there_and_says_why(name: str) -> None:
    entry = EXPECTED[name]
    assert set(entry) == {"findings", "why"} and entry["why"].strip()
    assert set(entry["findings"]) <= NAMES and all(count > 0 for count in entry["findings"].values())
