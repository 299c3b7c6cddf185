"""`siptrail retention` and `siptrail store` on a store of its own, and through a running service."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from index.columns import HOUR_NS
from index.lake import Lake
from sip.errors import SiptrailError, Unreachable
from siptrail.amounts import share, size_bytes
from siptrail.cli import app
from siptrail.config import load
from tests.index.stored import START, call, capture, frame, listed, message, put

TOP = Path(__file__).resolve().parents[2]


def siptrail(*arguments: str, code: int = 0) -> Result:
    """Run a command to its end."""
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with calls of three hours, long ago."""
    lake = Lake(tmp_path / "store")
    put(lake, tmp_path / "a.pcap", *(call(f"c{n}", START + n * HOUR_NS) for n in range(3)))
    lake.close()
    return tmp_path / "store"


def reopened(store: Path) -> list[str]:
    lake = Lake(store)
    try:
        return listed(lake)
    finally:
        lake.close()


def test_sizes_and_shares() -> None:
    assert (size_bytes("1.5 GB"), size_bytes("800mb"), share("95%"), share("off")) == (3 << 29, 800 << 20, 0.95, None)
    for wrong in ("50", "GB", "-1GB"):
        with pytest.raises(ValueError, match="not a size"):
            size_bytes(wrong)
    for wrong in ("95", "100%", "0%"):
        with pytest.raises(ValueError, match="not a share"):
            share(wrong)


def test_a_dry_run_says_what_would_go_and_leaves_it(store: Path) -> None:
    text = siptrail("retention", "--dry-run", "--store", str(store)).stdout
    assert re.search(r"would remove 2026-01-05 10:00 \(3 messages, .+\): older than 7 days", text)
    assert len(text.splitlines()) == 4 and reopened(store) == ["c0", "c1", "c2"]


def test_retention_removes_and_frees_at_once(store: Path) -> None:
    record: dict[str, Any] = json.loads(siptrail("retention", "--json", "--store", str(store)).stdout)
    assert [(h["slot"]["hour"], h["reason"]) for h in record["hours"]] == [(10, "age"), (11, "age"), (12, "age")]
    assert record["freed"] >= sum(h["size"] for h in record["hours"]) > 0
    assert reopened(store) == [] and not list((store / "data").rglob("day=*"))
    counted = json.loads(siptrail("stats", "--json", "--store", str(store)).stdout)["removed"]
    assert (counted["hours age"], counted["messages age"]) == (3, 9)
    assert "nothing must go" in siptrail("retention", "--store", str(store)).stdout


def test_the_time_can_be_given(store: Path) -> None:
    assert "nothing must go" in siptrail("retention", "--keep", "5000w", "--store", str(store)).stdout
    assert reopened(store) == ["c0", "c1", "c2"]


def test_methods_that_are_kept_shorter(store: Path, tmp_path: Path) -> None:
    lake = Lake(store)
    put(lake, tmp_path / "b.pcap", call("c3", START), at=time.time_ns())
    ping = message("OPTIONS sip:2002@b.example SIP/2.0", "ping", "1 OPTIONS").replace(b";tag=2", b"")
    put(lake, tmp_path / "b.pcap", [(START, frame(ping))], at=time.time_ns() - HOUR_NS)
    lake.close()
    for path in (store / "data").rglob("*.parquet"):
        os.utime(path, ns=(START, START))
    config = tmp_path / "siptrail.toml"
    words = "retention", "--config", str(config), "--store", str(store), "--keep", "5000w"
    config.write_text('keep_methods = {OPTIONS = "1h", REGISTER = "30m"}')
    assert "nothing must go" in siptrail(*words).stdout, "an import counts from when it was made"
    config.write_text('keep_methods = {OPTIONS = "0s", REGISTER = "30m"}')
    text = siptrail(*words, "--dry-run").stdout
    assert re.search(
        r"would remove 2026-01-05 10:00 \(1 messages, .+\): OPTIONS outside of calls, older than 0 h", text
    )
    assert "removed 2026-01-05 10:00 (1 messages" in siptrail(*words).stdout
    assert reopened(store) == ["c0", "c1", "c2", "c3"]
    counted = json.loads(siptrail("stats", "--json", "--store", str(store)).stdout)["removed"]
    assert counted["messages options"] == 1 and counted["bytes options"] > 0
    for wrong, told in (("INVITE", "does not stand outside of calls"), ("OPTIONS", "not a duration")):
        config.write_text(f'keep_methods = {{{wrong} = "soon"}}')
        with pytest.raises(SiptrailError, match=told):
            load(config)


# ---------------------------------------------------------------- siptrail store


def a_file(store: Path, table: str, hour: int) -> Path:
    (path,) = (store / "data/main" / table / "day=2026-01-05" / f"hour={hour}").iterdir()
    return path


def test_stats_say_what_takes_the_disk(store: Path) -> None:
    record = json.loads(siptrail("store", "stats", "--json", "--store", str(store)).stdout)
    assert record["tables"]["messages"]["rows"] == record["tables"]["frames"]["rows"] == 9
    assert [(h["hour"], h["messages"], h["files"]) for h in record["hours"]] == [
        (f"2026-01-05 {hour}:00", 3, 4) for hour in (10, 11, 12)
    ]
    assert record["catalogue_bytes"] > 0 and record["snapshots"] > 1
    assert record["bytes"] > sum(t["bytes"] for t in record["tables"].values())
    text = siptrail("store", "stats", "--store", str(store)).stdout
    assert re.search(r"^2026-01-05 11:00 +4 +3 ", text, re.MULTILINE) and "snapshots" in text


def test_check_and_repair(store: Path) -> None:
    assert "nothing is damaged" in siptrail("store", "check", "--deep", "--store", str(store)).stdout
    a_file(store, "messages", 11).write_bytes(b"")
    found = siptrail("store", "check", "--store", str(store), code=1)
    assert "1 damaged" in found.stdout and "2026-01-05 11:00" in found.stdout and "--repair" in found.stdout
    mended = siptrail("store", "check", "--repair", "--store", str(store)).stdout
    assert "set aside" in mended and "lost messages or frames: 2026-01-05 11:00" in mended
    calls = siptrail("calls", "--json", "--store", str(store)).stdout.splitlines()
    assert [json.loads(line)["call_id"] for line in calls] == ["c2", "c0"]
    assert "nothing is damaged" in siptrail("store", "check", "--store", str(store)).stdout


def test_a_catalogue_is_rebuilt_by_one_command_that_says_what_is_lost(store: Path) -> None:
    (store / "catalogue.duckdb").write_bytes(b"x" * 5000)
    (store / "catalogue.duckdb.wal").unlink(missing_ok=True)
    refused = CliRunner().invoke(app, ["calls", "--store", str(store)])
    assert isinstance(refused.exception, Unreachable) and "store rebuild" in str(refused.exception)
    text = siptrail("store", "rebuild", "--store", str(store)).stdout
    assert "9 messages, 9 frames, 3 calls" in text and "What this loses" in text
    assert reopened(store) == ["c0", "c1", "c2"]


def test_backup_and_restore(store: Path, tmp_path: Path) -> None:
    assert "of it are new" in siptrail("store", "backup", str(tmp_path / "copy"), "--store", str(store)).stdout
    restored = siptrail("store", "restore", str(tmp_path / "copy"), "--store", str(tmp_path / "new")).stdout
    assert "restored" in restored and "nothing is damaged" in restored
    assert reopened(tmp_path / "new") == ["c0", "c1", "c2"]


@dataclass(frozen=True)
class Running:
    """A service that records nothing but the loopback interface."""

    url: str
    store: Path
    process: subprocess.Popen[str]


@pytest.fixture
def running(store: Path) -> Iterator[Running]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    words = ["run", "-i", "lo", "--store", str(store), "--listen", address, "--keep", "5000w"]
    environment = {**os.environ, "PYTHONPATH": str(TOP), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "siptrail.cli", *words]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "terminal UI" in line:
                break
        try:
            yield Running(f"http://{address}", store, process)
        finally:
            process.terminate()
            process.wait(30)


@pytest.mark.needs("root")
def test_a_running_service_answers_for_its_store(running: Running, tmp_path: Path) -> None:
    more = capture(tmp_path / "more.pcap", call("hot", START + 5 * HOUR_NS))
    assert siptrail("import", str(more), "--url", running.url)
    assert "nothing is damaged" in siptrail("store", "check", "--deep", "--url", running.url).stdout
    assert "nothing must go" in siptrail("retention", "--url", running.url).stdout
    copy = tmp_path / "copy"
    siptrail("store", "backup", str(copy), "--url", running.url)
    stats = json.loads(siptrail("store", "stats", "--json", "--url", running.url).stdout)
    assert stats["tables"]["messages"]["rows"] == 12
    metrics = httpx.get(f"{running.url}/metrics", timeout=30).text
    assert 'siptrail_removed_hours_total{reason="age"} 0.0' in metrics
    for words, told in (
        (["retention", "--keep", "1h", "--url", running.url], "settings of its own"),
        (["store", "backup", "relative", "--store", str(running.store)], "open in another process"),
        (["store", "rebuild", "--store", str(running.store)], "open in another process"),
        (["store", "check", "--store", str(running.store)], "open in another process"),
    ):
        refused = CliRunner().invoke(app, words)
        assert isinstance(refused.exception, SiptrailError) and told in str(refused.exception), words
    a_file(running.store, "frames", 11).write_bytes(b"")
    assert "1 damaged" in siptrail("store", "check", "--url", running.url, code=1).stdout
    refused = CliRunner().invoke(app, ["store", "check", "--repair", "--url", running.url])
    assert isinstance(refused.exception, SiptrailError) and "stop it first" in str(refused.exception)
    siptrail("store", "restore", str(copy), "--store", str(tmp_path / "new"))
    assert reopened(tmp_path / "new") == ["c0", "c1", "c2", "hot"]


@pytest.mark.needs("root")
def test_two_services_on_one_store(running: Running) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["run", "-i", "lo", "--store", str(running.store), "--listen", f"127.0.0.1:{port}"]
    second = subprocess.run(
        [sys.executable, "-m", "siptrail.cli", *words],
        env={**os.environ, "PYTHONPATH": str(TOP)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert second.returncode == 3
    (line,) = second.stderr.splitlines()
    assert "open in another process" in line and "--store" in line
    calls = siptrail("calls", "--json", "--url", running.url).stdout.splitlines()
    assert len(calls) == 3 and running.process.poll() is None, "the first does not notice"


def test_a_capture_that_is_there_already_is_told_in_one_line(store: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.pcap"
    again.write_bytes((tmp_path / "a.pcap").read_bytes())
    siptrail("import", str(again), "--store", str(store))
    (line,) = siptrail("import", str(again), "--store", str(store)).stdout.splitlines()
    assert re.match(r"again.pcap: imported at 20\S+Z already, 9 SIP messages; left out \(--again", line)
    record = json.loads(siptrail("import", str(again), "--json", "--store", str(store)).stdout)
    assert record["already"]["name"] == "again.pcap" and record["messages"] == 0
    assert "9 SIP messages from 9 packets" in siptrail("import", str(again), "--again", "--store", str(store)).stdout


@pytest.mark.needs("root")
def test_a_service_knows_what_it_imported(running: Running, tmp_path: Path) -> None:
    more = capture(tmp_path / "more.pcap", call("more", START + 5 * HOUR_NS))
    siptrail("import", str(more), "--url", running.url)
    assert "left out" in siptrail("import", str(more), "--url", running.url).stdout
    assert "3 SIP messages" in siptrail("import", str(more), "--again", "--url", running.url).stdout
    (found,) = siptrail("calls", "from:1001", "--json", "-n", "1", "--url", running.url).stdout.splitlines()
    assert json.loads(found)["messages"] == 6
