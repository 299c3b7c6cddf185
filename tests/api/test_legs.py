"""The legs of a call over HTTP: as the reference says, and the same through the client as in the service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from desk_of_sip import serving

from api import schema
from api.client import HttpDesk
from diagnose.file_desk import FileDesk
from sip.errors import NotFound

CALL = Path(__file__).parents[2] / "fixtures" / "pcaps" / "legs-through-switch.pcap"
FIRST, TRIED, ANSWERED = "legs-a-5d20e1@198.51.100.20", "0c1f66aa-first", "0c1f66aa-second"


@pytest.fixture(scope="module")
def desk() -> Iterator[FileDesk]:
    found = FileDesk(str(CALL), "n1", frozenset({5060}), True)
    yield found
    found.close()


@pytest.fixture(scope="module")
def address(desk: FileDesk) -> Iterator[str]:
    with serving(desk) as url:
        yield url


def test_the_legs(desk: FileDesk, address: str) -> None:
    answer = httpx.get(f"{address}/api/v1/calls/{TRIED}/legs")
    assert answer.status_code == 200
    schema.Legs.model_validate_json(answer.text, extra="forbid")
    assert [c["call_id"] for c in answer.json()["calls"]] == [FIRST, TRIED, ANSWERED]
    remote = HttpDesk(address)
    assert remote.legs(TRIED) == desk.legs(TRIED)
    with pytest.raises(NotFound):
        remote.legs("nobody")
    remote.close()


def test_the_ladder_and_the_packets_of_all_legs(desk: FileDesk, address: str) -> None:
    calls = f"{address}/api/v1/calls/{FIRST}"
    assert httpx.get(f"{calls}/ladder.json?legs=true").json()["legs"] == [FIRST, TRIED, ANSWERED]
    assert httpx.get(f"{calls}/ladder.json").json()["legs"] == []
    drawn = httpx.get(f"{calls}/ladder?legs=1", headers={"Accept": "text/plain"}).text
    assert drawn.startswith(f"Call-ID A  {FIRST}\n")
    remote = HttpDesk(address)
    assert remote.pcap(FIRST, legs=True) == desk.pcap(FIRST, legs=True) == httpx.get(f"{calls}/pcap?legs=1").content
    assert len(remote.pcap(FIRST, legs=True)) > len(remote.pcap(FIRST))
    remote.close()


def test_findings_tell_what_the_other_legs_tell(address: str) -> None:
    found = httpx.get(f"{address}/api/v1/calls/{TRIED}/findings").json()["findings"]
    assert "answered-on-another-leg" in [f["name"] for f in found]


@pytest.mark.parametrize("call_id", [TRIED, "legs-n-881b@198.51.100.33", FIRST])
def test_one_headline_in_the_list_the_findings_and_every_ladder(desk: FileDesk, address: str, call_id: str) -> None:
    calls = f"{address}/api/v1/calls"
    (listed,) = [c for c in httpx.get(calls).json()["calls"] if c["call_id"] == call_id]
    found = httpx.get(f"{calls}/{call_id}/findings").json()["findings"]
    assert listed["headline"] == httpx.get(f"{calls}/{call_id}").json()["headline"]
    assert listed["headline"] == (found[0]["headline"] if found else "")
    assert bool(listed["headline"]) == (call_id != FIRST)
    told = f"{found[0]['severity'].upper()}  {found[0]['headline']}" if found else ""
    drawn = {suffix: httpx.get(f"{calls}/{call_id}/ladder.{suffix}").text for suffix in ("txt", "svg", "mmd")}
    assert told in drawn["txt"].splitlines()
    assert told.split("(")[0] in drawn["svg"] and told.split("(")[0] in drawn["mmd"]
    assert httpx.get(f"{calls}/{call_id}/ladder.json").json()["headline"] == told
