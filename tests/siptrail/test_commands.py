"""The commands on captures of the repository: what they print, for people and for machines, and how they end."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from capture.sources.pcapfile import CHUNK
from siptrail import __version__
from siptrail.cli import app
from siptrail.importer import WONDER

PCAPS = Path(__file__).parents[2] / "fixtures" / "pcaps"
BASIC, AUTH, LEGS = (str(PCAPS / f"{name}.pcap") for name in ("basic-call", "auth-407", "b2bua-two-legs"))
STRANGE = str(PCAPS / "strange-call-id.pcap")
CALL_ID = "a84b4c76e66710@198.51.100.20"
FIELDS = {
    *("call_id", "start", "end", "state", "method", "from_user", "to_user", "src", "dst", "transport", "final_code"),
    *("final_reason", "messages", "pdd_ms", "ring_ms", "talk_ms", "codecs", "findings", "node"),
}
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6,9}Z")


def siptrail(*arguments: str, code: int = 0) -> Result:
    """Run a command to its end."""
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def listed(*arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in siptrail("calls", "--json", *arguments).stdout.splitlines()]


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store with two captures in it."""
    folder = str(tmp_path / "store")
    siptrail("import", BASIC, LEGS, "--store", folder)
    return folder


# ---------------------------------------------------------------- lists and counts


def test_calls_for_machines() -> None:
    (call,) = listed("--pcap", BASIC)
    assert set(call) >= FIELDS
    assert RFC3339.fullmatch(call["start"]) and RFC3339.fullmatch(call["end"])
    assert (call["call_id"], call["state"], call["final_code"], call["messages"]) == (CALL_ID, "completed", 200, 7)
    assert (call["pdd_ms"], call["ring_ms"], call["talk_ms"]) == (246.0, 3218.0, 42503.0)
    assert call["codecs"] == ["PCMA", "PCMU"] and call["findings"] == []


def test_calls_for_people() -> None:
    head, line, call_id = siptrail("calls", "--pcap", BASIC).stdout.splitlines()
    assert head.split()[:3] == ["START", "METHOD", "FROM"]
    assert "INVITE" in line and "completed" in line and "42.5s" in line
    assert call_id == f"  {CALL_ID}", "whole, so that it can be copied"


def test_calls_as_a_table() -> None:
    rows = list(csv.DictReader(io.StringIO(siptrail("calls", "--csv", "--pcap", BASIC).stdout)))
    assert [(r["call_id"], r["final_code"], r["codecs"]) for r in rows] == [(CALL_ID, "200", "PCMA;PCMU")]


def test_filters_and_limits(store: str) -> None:
    everything = listed("--store", store)
    assert len(everything) >= 3
    assert [c["start"] for c in everything] == sorted((c["start"] for c in everything), reverse=True), "newest first"
    (basic,) = listed("from:441632960001", "--store", store, "-n", "1")
    assert basic in everything
    assert listed("code:486", "--store", store) == []
    short = siptrail("calls", "-n", "2", "--store", store)
    assert len(short.stdout.splitlines()) == 1 + 2 * 2
    assert "raise --limit (now 2)" in short.stderr
    assert siptrail("calls", "code:486", "--store", store).stdout == "no calls match\n"


def test_stats_count_packets_messages_and_answers() -> None:
    counted = json.loads(siptrail("stats", "--json", "--pcap", BASIC).stdout)
    assert {k: counted[k] for k in ("packets", "messages", "call_ids", "not_sip", "kernel_drops")} == {
        "packets": 7,
        "messages": 7,
        "call_ids": 1,
        "not_sip": 0,
        "kernel_drops": 0,
    }
    assert counted["methods"] == {"INVITE": 1, "ACK": 1, "BYE": 1}
    assert counted["finals"] == {"INVITE 200": 1, "BYE 200": 1}
    assert counted["transports"] == {"udp": 7}
    text = siptrail("stats", "--pcap", BASIC).stdout
    assert re.search(r"^packets +7$", text, re.MULTILINE) and "INVITE 1" in text


# ---------------------------------------------------------------- one call


def test_show() -> None:
    text = siptrail("show", CALL_ID, "--pcap", BASIC).stdout
    assert f"Call-ID  {CALL_ID}" in text and "completed (200 OK)" in text and "180 Ringing" in text
    full = siptrail("show", CALL_ID, "--messages", "--pcap", BASIC).stdout
    assert full.count("\n--- ") == 7
    assert "m=audio 16384 RTP/AVP" in full and "\r" not in full
    record = json.loads(siptrail("show", CALL_ID, "--messages", "--json", "--pcap", BASIC).stdout)
    assert [m["number"] for m in record["messages"]] == list(range(1, 8))
    assert record["messages"][0]["text"].startswith("INVITE sip:") and "\r\n" in record["messages"][0]["text"]


@pytest.mark.parametrize(
    ("format", "holds"),
    [("text", "◄─ 180 Ringing"), ("svg", "<svg"), ("mermaid", "sequenceDiagram"), ("json", '"180 Ringing')],
)
def test_ladder(format: str, holds: str) -> None:
    out = siptrail("ladder", CALL_ID, "-f", format, "--pcap", BASIC).stdout
    assert holds in out
    if format == "json":
        json.loads(out)


def test_diagnose_a_call_and_a_file() -> None:
    assert "nothing wrong found" in siptrail("diagnose", CALL_ID, "--pcap", BASIC).stdout
    assert " 0 with findings" in siptrail("diagnose", BASIC).stdout
    bad = str(PCAPS / "no-common-codec.pcap")
    found = [json.loads(line) for line in siptrail("diagnose", bad, "--json", code=1).stdout.splitlines()]
    assert {f["severity"] for call in found for f in call["findings"]} & {"critical", "error"}


def test_a_call_as_a_capture_is_the_call_again(tmp_path: Path) -> None:
    out = str(tmp_path / "call.pcap")
    siptrail("pcap", CALL_ID, "-o", out, "--pcap", BASIC)
    original, copy = listed("--pcap", BASIC), listed("--pcap", out)
    for call in (*original, *copy):
        call.pop("interface")  # the file's name
    assert original == copy
    first = siptrail("show", CALL_ID, "--messages", "--pcap", BASIC).stdout
    assert (
        siptrail("show", CALL_ID, "--messages", "--pcap", out).stdout.replace("call.pcap", "basic-call.pcap") == first
    )


def test_strange_call_ids_are_found_as_they_are_written() -> None:
    ids = [c["call_id"] for c in listed("--pcap", STRANGE)]
    assert len(ids) > 1 and any(set(i) & set("/%?#\"' ") for i in ids)
    for call_id in ids:
        record = json.loads(siptrail("show", "--json", "--pcap", STRANGE, "--", call_id).stdout)
        assert record["call_id"] == call_id


# ---------------------------------------------------------------- import


def test_import_tells_what_it_found_and_keeps_it(store: str) -> None:
    before = listed("--store", store)
    done = siptrail("import", AUTH, "--store", store)
    assert re.fullmatch(r"auth-407\.pcap: \d+ SIP messages from \d+ packets \([\d,]+ messages/s\)\n", done.stdout)
    assert len(listed("--store", store)) == len(before) + len(listed("--pcap", AUTH))
    record = json.loads(siptrail("import", AUTH, "--json", "--store", store).stdout)
    assert record["file"] == "auth-407.pcap" and record["damage"] is None and record["messages"] == record["packets"]
    assert json.loads(siptrail("stats", "--json", "--store", store).stdout)["packets"] > 20


def test_a_capture_on_standard_input(tmp_path: Path) -> None:
    data = Path(BASIC).read_bytes()
    program = [sys.executable, "-m", "siptrail.cli"]
    store = str(tmp_path / "piped")
    for arguments in (["stats", "--json", "--pcap", "-"], ["import", "--json", "-", "--store", store]):
        done = subprocess.run([*program, *arguments], input=data, capture_output=True, timeout=60, check=True)
        assert json.loads(done.stdout)["messages"] == 7
    out = subprocess.run(
        [*program, "pcap", CALL_ID, "-o", "-", "--store", store], capture_output=True, timeout=60, check=True
    ).stdout
    assert out[:4] in (b"\x4d\x3c\xb2\xa1", b"\x0a\x0d\x0d\x0a")
    assert data.count(b"Call-ID: " + CALL_ID.encode()) == out.count(b"Call-ID: " + CALL_ID.encode()) == 7


def test_who_waits_at_a_terminal_sees_how_far_an_import_is(tmp_path: Path) -> None:
    data = Path(BASIC).read_bytes()
    half = data[24:] * (CHUNK // (len(data) - 24) + 1)
    screen, terminal = pty.openpty()
    command = [sys.executable, "-m", "siptrail.cli", "import", "-", "--store", str(tmp_path / "store")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=terminal) as running:
        os.close(terminal)
        assert running.stdin is not None and running.stdout is not None
        running.stdin.write(data[:24] + half)
        running.stdin.flush()
        time.sleep(2 * WONDER)
        running.stdin.write(half)
        running.stdin.close()
        shown = b""
        with suppress(OSError):  # at the end the terminal is closed
            while piece := os.read(screen, 4096):
                shown += piece
        assert running.stdout.read().startswith(b"standard input: ")
    os.close(screen)
    assert running.returncode == 0
    assert re.search(rb"standard input .*[0-9,]+ messages, [0-9,]+/s.*0:00:(0[1-9]|[1-5]\d)", shown)


@pytest.mark.parametrize("command", [["show", CALL_ID, "--messages"], ["stats"]], ids=["long", "short"])
def test_output_that_nobody_reads_to_its_end_is_no_error(command: list[str]) -> None:
    program = [sys.executable, "-m", "siptrail.cli", *command, "--pcap", BASIC]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None and running.stderr is not None
        running.stdout.close()
        errors = running.stderr.read()
    assert errors == b"" and running.returncode == 0


def test_version() -> None:
    assert siptrail("version").stdout == f"siptrail {__version__}\n"


def test_the_terminal_ui_wants_a_terminal() -> None:
    program = [sys.executable, "-m", "siptrail.cli", "tui", BASIC]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["siptrail: standard output is not a terminal; use `siptrail calls` for lists"]


MEDIA = """\
Exchange 1  offer INVITE (message 1) by 198.51.100.20, 200 OK (message 4) by
            192.0.2.10

  audio 1: agreed: PCMA/8000, PCMU/8000, both ways
              offer                            answer
    codecs    *   8 PCMA/8000                  *   8 PCMA/8000
              *   0 PCMU/8000                  *   0 PCMU/8000
              * 101 telephone-event/8000 0-16  * 101 telephone-event/8000 0-16
    direction sendrecv                         sendrecv
    ptime     20                               20
    DTMF      101/8000 (0-16)                  101/8000 (0-16)
    profile   RTP/AVP                          RTP/AVP
    address   198.51.100.20:16384              192.0.2.10:30210
"""


def test_offers_and_answers_side_by_side() -> None:
    assert siptrail("show", CALL_ID, "--media", "--pcap", BASIC).stdout.endswith(f"\n{MEDIA}")
    both = siptrail("show", CALL_ID, "--media", "--messages", "--pcap", BASIC).stdout
    assert MEDIA in both and both.count("\n--- ") == 7
    (exchange,) = json.loads(siptrail("show", CALL_ID, "--media", "--json", "--pcap", BASIC).stdout)["media"]
    assert exchange["streams"][0]["agreed"] == ["PCMA/8000", "PCMU/8000"]
    assert "media" not in json.loads(siptrail("show", CALL_ID, "--json", "--pcap", BASIC).stdout)
    refused = siptrail(
        "show", "codec-488-70cf@192.0.2.10", "--media", "--pcap", str(PCAPS / "no-common-codec.pcap")
    ).stdout
    assert "audio 1: refused" in refused and "no common codec: it could take PCMA/8000" in refused
