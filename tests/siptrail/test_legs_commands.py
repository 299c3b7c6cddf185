"""Legs of a call as a user asks for them: the list with its reasons, one ladder, one pcap."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sip.errors import SiptrailError
from siptrail.cli import app
from siptrail.config import load

PCAPS = Path(__file__).parents[2] / "fixtures" / "pcaps"
CALL = str(PCAPS / "legs-through-switch.pcap")
FIRST, TRIED, ANSWERED = "legs-a-5d20e1@198.51.100.20", "0c1f66aa-first", "0c1f66aa-second"


def siptrail(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def test_the_legs_with_what_each_link_rests_on() -> None:
    text = siptrail("legs", TRIED, "--pcap", CALL).stdout
    assert [line[0] for line in text.splitlines() if line[0].isalpha()] == ["A", "B", "C"]
    assert text.count("made for A: called number 441632960077 and 7712441632960077 end alike") == 2
    assert "perhaps" not in text and "legs-n-881b" not in text


def test_the_legs_for_machines() -> None:
    record = json.loads(siptrail("legs", FIRST, "--json", "--pcap", CALL).stdout)
    assert [c["call_id"] for c in record["calls"]] == [FIRST, TRIED, ANSWERED]
    assert all(c["sure"] for c in record["calls"])
    assert {(x["parent"], x["child"]) for x in record["links"]} == {(FIRST, TRIED), (FIRST, ANSWERED)}


def test_one_ladder_for_all_legs() -> None:
    text = siptrail("ladder", "--legs", ANSWERED, "--pcap", CALL).stdout
    assert text.startswith(f"Call-ID A  {FIRST}\nCall-ID B  {TRIED}\nCall-ID C  {ANSWERED}\n")
    drawn = [line.split("─ ", 1)[1].split(" ─")[0] for line in text.splitlines() if "─ " in line]
    assert drawn[0].startswith("A INVITE") and any(x.startswith("B 503") for x in drawn)
    assert any(x.startswith("C 200 OK") for x in drawn)
    rows = json.loads(siptrail("ladder", "--legs", FIRST, "--format", "json", "--pcap", CALL).stdout)
    assert rows["legs"] == [FIRST, TRIED, ANSWERED] and {r["leg"] for r in rows["rows"]} == {0, 1, 2}


def test_one_pcap_for_all_legs(tmp_path: Path) -> None:
    out = str(tmp_path / "legs.pcap")
    siptrail("pcap", TRIED, "--legs", "-o", out, "--pcap", CALL)
    listed = siptrail("calls", "--json", "--pcap", out).stdout.splitlines()
    assert {json.loads(line)["call_id"] for line in listed} == {FIRST, TRIED, ANSWERED}


def test_a_call_that_stands_alone() -> None:
    assert siptrail("legs", "legs-n-881b@198.51.100.33", "--pcap", CALL).stdout == "this call has no other leg here\n"
    siptrail("legs", "9d31-onward", "--pcap", str(PCAPS / "legs-that-could-be-two.pcap"))


def test_a_call_names_its_other_legs() -> None:
    assert f"Leg      {TRIED}  (192.0.2.10:5060 to 203.0.113.50:5060, failed 503)" in siptrail(
        "show", FIRST, "--pcap", CALL
    ).stdout  # fmt: skip
    assert json.loads(siptrail("show", FIRST, "--json", "--pcap", CALL).stdout)["legs"] == [TRIED, ANSWERED]


def test_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIPTRAIL_LEGS", '{"headers": ["X-Ref"], "hosts": [["192.0.2.1", "192.0.2.2"]]}')
    rules = load(None).legs.rules()
    assert rules.headers == ("X-Ref",) and rules.host("192.0.2.2") == "192.0.2.1"
    monkeypatch.delenv("SIPTRAIL_LEGS")
    file = tmp_path / "c.toml"
    file.write_text('[legs]\nstrip = ["("]\n')
    with pytest.raises(SiptrailError, match=r"setting legs.strip in .*'\(' is no regular expression"):
        load(file)
