"""Refused TCP connections through the commands and in the service's sums."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from index.lake import Lake
from siptrail.ledger import MOST_REFUSED, MOST_TABLES, Ledger
from tests.capture.tlstalk import save
from tests.capture.wire import A, B, ether, frame, ip4, sip, tcp, udp

TOP = Path(__file__).resolve().parents[2]


def stats(path: Path, *options: str) -> str:
    command = [sys.executable, "-m", "siptrail.cli", "stats", "--pcap", str(path), *options]
    return subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True).stdout


def test_stats_of_a_file_name_the_server(tmp_path: Path) -> None:
    talk = [frame(ether(ip4(17, udp(sip("clear")))))]
    for n in range(2):
        ask, no = tcp(b"", 9, 2, sport=40000 + n), tcp(b"", 0, 20, sport=5060, dport=40000 + n)
        talk += [frame(ether(ip4(6, ask)), 10**9 + n), frame(ether(ip4(6, no, src=B, dst=A)), 10**9 + n + 1)]
    path = tmp_path / "refused.pcap"
    save(path, *talk)
    assert json.loads(stats(path, "--json"))["refused"] == {f"{B}:5060": 2}
    (line,) = [line for line in stats(path).splitlines() if line.startswith("refused")]
    assert f"{B}:5060 2" in line


def test_the_service_adds_up_its_threads_and_files(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    ledger = Ledger(lake, "n")
    ledger.saw_refusals(1, {"a:5060": 2})
    ledger.saw_refusals(1, {"a:5060": 3})
    ledger.saw_refusals(2, {"a:5060": 1, "b:5060": 1})
    ledger.add_import({}, (), {"b:5060": 5})
    assert ledger.refused() == {"b:5060": 6, "a:5060": 4}
    for n in range(MOST_TABLES * 2):
        ledger.saw_refusals(n, {f"s{n}:5060": 1})
    assert len(ledger.refused()) == MOST_REFUSED
    lake.close()
