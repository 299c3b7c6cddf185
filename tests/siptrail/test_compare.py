"""`siptrail compare`: a good and a bad call out of one capture or two, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sip.errors import NotFound, SiptrailError
from siptrail.cli import app

PCAPS = Path(__file__).parents[2] / "fixtures" / "pcaps"
BASIC, REFUSED, LEGS = (str(PCAPS / f"{n}.pcap") for n in ("basic-call", "no-common-codec", "b2bua-two-legs"))
GOOD, BAD = "a84b4c76e66710@198.51.100.20", "codec-488-70cf@192.0.2.10"
LEG_A, LEG_B = "leg-a-0f55c1d9@198.51.100.20", "leg-b-7e31aa06@192.0.2.10"
GOLDEN = """\
A  leg-a-0f55c1d9@198.51.100.20
   200 OK, 7 messages
   hosts 1 198.51.100.20, 2 192.0.2.10
B  leg-b-7e31aa06@192.0.2.10
   200 OK, 7 messages
   hosts 1 192.0.2.10, 2 203.0.113.50

What differs, the most telling first
  1  User-Agent  [INVITE, host 1 to 2; message A 1, B 1, 3 times]
       A  Larkbell PBX 4.2.1
       B  Ternbridge SBC 3.8
  2  User-Agent  [180 Ringing (INVITE), host 2 to 1; message A 3, B 3, 3 times]
       A  Ternbridge SBC 3.8
       B  Fjordline Gateway 12.1

  A                                    B
     1 INVITE 1→2                         1 INVITE 1→2
     2 100 Trying 2→1                     2 100 Trying 2→1
     3 180 Ringing 2→1                    3 180 Ringing 2→1
     4 200 OK 2→1                         4 200 OK 2→1
     5 ACK 1→2                            5 ACK 1→2
     6 BYE 1→2                            6 BYE 1→2
     7 200 OK 2→1                         7 200 OK 2→1
"""


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["compare", *arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def test_two_calls_of_one_capture() -> None:
    assert run(LEG_A, LEG_B, "--pcap", LEGS).stdout == GOLDEN


def test_two_captures_and_differences_are_no_error() -> None:
    found = json.loads(run(GOOD, BAD, "--pcap", BASIC, "--other-pcap", REFUSED, "--json").stdout)
    assert (found["first"]["call_id"], found["second"]["call_id"], found["equal"]) == (GOOD, BAD, False)
    first, warning, second = found["differences"][:3]
    assert (first["kind"], first["first"], first["second"]) == ("code", "200 OK", "488 Not Acceptable Here")
    assert (warning["what"], warning["second"]) == ("Warning", '304 fjordline "Media type not available"')
    assert (second["what"], second["second"]) == ("SDP audio 1 codecs", "G729/8000, telephone-event/8000")
    weights = [d["weight"] for d in found["differences"]]
    assert weights == sorted(weights, reverse=True)


def test_a_store_and_a_capture(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    CliRunner().invoke(app, ["import", BASIC, "--store", store], catch_exceptions=False)
    assert "488 Not Acceptable Here" in run(GOOD, BAD, "--store", store, "--other-pcap", REFUSED).stdout


def test_a_call_equals_itself() -> None:
    assert "Nothing differs but" in run(GOOD, GOOD, "--pcap", BASIC).stdout
    assert json.loads(run(GOOD, GOOD, "--pcap", BASIC, "--other-pcap", BASIC, "--json").stdout)["equal"] is True


def test_a_call_that_is_not_there_and_wrong_use() -> None:
    for pair in ((GOOD, "none"), ("none", GOOD)):
        with pytest.raises(NotFound):
            run(*pair, "--pcap", BASIC)
    with pytest.raises(NotFound):
        run(GOOD, GOOD, "--pcap", BASIC, "--other-pcap", REFUSED)
    with pytest.raises(SiptrailError, match="standard input"):
        run(GOOD, BAD, "--pcap", "-", "--other-pcap", "-")


@pytest.mark.parametrize(
    "name", ["hostile", "retransmissions", "fragment-lost", "strange-call-id", "ipv6", "tcp-stream"]
)
def test_every_call_of_odd_captures_can_be_compared(name: str) -> None:
    capture = str(PCAPS / f"{name}.pcap")
    listed = CliRunner().invoke(app, ["calls", "--json", "--pcap", capture]).stdout.splitlines()
    for call_id in [json.loads(line)["call_id"] for line in listed][:3]:
        text = run("--pcap", BASIC, "--other-pcap", capture, "--", GOOD, call_id).stdout
        assert max(map(len, text.splitlines())) <= 80 and "What differs" in text
