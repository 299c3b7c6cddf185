"""Real captures from other projects' test suites: `siptrail stats` counts what tshark counts.

SIPTRAIL_CORPUS names a folder with pcaps/ in it, and pcaps/TRUTH.json holds what tshark counts. Every difference that
is meant stands in DIFFERENCES with its reason; one that is not listed fails, and so does one that is listed but gone.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from siptrail.cli import app

FACTS = ("packets", "messages", "call_ids", "methods", "finals", "transports")

DIFFERENCES: dict[tuple[str, str], tuple[Any, str]] = {}
"""(file, fact) -> (what siptrail counts, why that is right). Empty: the two agree on every capture.

What could come in here: tshark counts SIP quoted inside ICMP errors, and takes TCP port 6060 for X11."""


def _corpus() -> Path | None:
    folder = os.environ.get("SIPTRAIL_CORPUS")
    return Path(folder) / "pcaps" if folder else None


def _truth() -> list[dict[str, Any]]:
    folder = _corpus()
    return json.loads((folder / "TRUTH.json").read_text("utf-8")) if folder else []


TRUTH = _truth()


def _counted_by_tshark(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "packets": record["packets"],
        "messages": record["msgs"],
        "call_ids": record["callids"],
        "methods": record["methods"],
        "finals": {key.replace(":", " "): count for key, count in record["finals"].items()},
        "transports": record["transports"],
    }


@pytest.mark.needs("corpus")
@pytest.mark.parametrize("record", TRUTH or [{}], ids=[r["file"] for r in TRUTH] or ["no corpus"])
def test_stats_are_those_of_tshark(record: dict[str, Any]) -> None:
    folder = _corpus()
    assert folder is not None
    result = CliRunner().invoke(
        app, ["stats", "--pcap", str(folder / record["file"]), "--json"], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    counted = json.loads(result.stdout)
    expected = _counted_by_tshark(record)
    for fact in FACTS:
        expected[fact] = DIFFERENCES.get((record["file"], fact), (expected[fact], ""))[0]
    assert {fact: counted[fact] for fact in FACTS} == expected


@pytest.mark.needs("corpus")
def test_every_capture_of_the_corpus_is_compared_and_every_explanation_is_of_one() -> None:
    folder = _corpus()
    assert folder is not None
    captures = {str(p.relative_to(folder)) for p in folder.rglob("*.pcap*")}
    named = {record["file"] for record in TRUTH}
    assert captures == named
    facts = {(r["file"], fact): value for r in TRUTH for fact, value in _counted_by_tshark(r).items()}
    for place, (ours, why) in DIFFERENCES.items():
        assert why and facts[place] != ours, f"{place} needs no explanation"
