"""Media and comparisons over HTTP, of calls with SDP: they hold what the reference says and equal what is computed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from desk_of_sip import serving

from api import schema
from diagnose.codec_table import tables
from diagnose.compare import compare
from diagnose.file_desk import FileDesk

LEGS = Path(__file__).parents[2] / "fixtures" / "pcaps" / "b2bua-two-legs.pcap"
LEG_A, LEG_B = "leg-a-0f55c1d9@198.51.100.20", "leg-b-7e31aa06@192.0.2.10"


@pytest.fixture(scope="module")
def desk() -> Iterator[FileDesk]:
    found = FileDesk(str(LEGS), "n1", frozenset({5060}), True)
    yield found
    found.close()


@pytest.fixture(scope="module")
def url(desk: FileDesk) -> Iterator[str]:
    with serving(desk) as address:
        yield f"{address}/api/v1/calls"


def test_media(desk: FileDesk, url: str) -> None:
    answer = httpx.get(f"{url}/{LEG_A}/media")
    assert answer.status_code == 200
    schema.CallMedia.model_validate_json(answer.text, extra="forbid")
    (exchange,) = answer.json()["exchanges"]
    assert exchange["streams"][0]["agreed"] == list(tables(desk.trace(LEG_A))[0].streams[0].agreed) != []
    assert exchange["streams"][0]["answer"]["direction"] == "sendrecv"


def test_comparison(desk: FileDesk, url: str) -> None:
    answer = httpx.get(f"{url}/{LEG_A}/compare/{LEG_B}")
    assert answer.status_code == 200
    schema.Comparison.model_validate_json(answer.text, extra="forbid")
    found = answer.json()
    assert (found["first"]["call_id"], found["second"]["call_id"], found["equal"]) == (LEG_A, LEG_B, False)
    wanted = compare(desk.trace(LEG_A), desk.trace(LEG_B))
    assert [d["what"] for d in found["differences"]] == [d.what for d in wanted.differences] == ["User-Agent"] * 2
    assert len(found["steps"]) == len(wanted.steps) == 7
