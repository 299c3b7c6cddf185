"""Two nodes that record into one shared store and a third that only reads, as processes, with servers that fail."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.patience import until

pytestmark = [pytest.mark.needs("root"), pytest.mark.needs("cluster")]


def say(port: int, call_id: str, count: int = 1) -> None:
    """Short calls on the wire: an INVITE that is refused at once, acknowledged."""
    lines = (
        f"Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK%s\r\nFrom: <sip:a@a.example>;tag=1\r\n"
        "To: <sip:b@b.example>%s\r\nCall-ID: %s\r\nCSeq: 1 %s\r\nContent-Length: 0\r\n\r\n"
    )
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
    ):
        far.bind(("127.0.0.1", port))
        here.bind(("127.0.0.1", 0))
        back = here.getsockname()
        for n in range(count):
            name = f"{call_id}-{n}"
            here.sendto(
                ("INVITE sip:b@b.example SIP/2.0\r\n" + lines % (name, "", name, "INVITE")).encode(),
                ("127.0.0.1", port),
            )
            far.sendto(("SIP/2.0 486 Busy Here\r\n" + lines % (name, ";tag=2", name, "INVITE")).encode(), back)
            here.sendto(
                ("ACK sip:b@b.example SIP/2.0\r\n" + lines % (name, ";tag=2", name, "ACK")).encode(),
                ("127.0.0.1", port),
            )
            if n % 20 == 19:
                time.sleep(0.02)


class Node:
    """`siptrail run` with a configuration file, on loopback; each node hears one port only."""

    def __init__(self, folder: Path, name: str, port: int, more: str) -> None:
        from tests.servers import free_port

        self.name, self.port, self._api = name, port, free_port()
        self.folder = folder / name
        self.folder.mkdir()
        self._config = self.folder / "siptrail.toml"
        self._config.write_text(
            f'interfaces = ["lo"]\nfilter = "udp port {port}"\nnode = "{name}"\nstore = "{self.folder / "state"}"\n'
            f'listen = "127.0.0.1:{self._api}"\n{more}'
        )
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._api}"

    def start(self) -> None:
        # Sums of a machine are nobody's business but the test's: the password comes by its file, as in real life.
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "siptrail.cli", "run", "--config", str(self._config)],
                stdout=log,
                stderr=log,
                env={**os.environ, "AWS_SECRET_ACCESS_KEY": os.environ["CLUSTER_SECRET"]},
            )
        until(self._answers, f"{self.name} does not start: {self.log()[-2000:]}", 60)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log()[-2000:]
        try:
            return bool(urllib.request.urlopen(f"{self.url}/healthz", timeout=2).status == 200)
        except OSError:
            return False

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def calls(self) -> dict[str, dict[str, Any]]:
        out = subprocess.run(
            [sys.executable, "-m", "siptrail.cli", "calls", "--json", "--url", self.url, "--limit", "100000"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert out.returncode == 0, out.stderr
        return {c["call_id"]: c for c in map(json.loads, out.stdout.splitlines())}

    def metric(self, name: str) -> float:
        text = urllib.request.urlopen(f"{self.url}/metrics", timeout=10).read().decode()
        return float(next(line.split()[-1] for line in text.splitlines() if line.startswith(name + " ")))

    def stop(self, how: int = signal.SIGTERM) -> None:
        self.process.send_signal(how)
        self.process.wait(60)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any, Node, Node, Node]]:
    from tests.servers import KEY, SECRET, both, free_port

    folder = tmp_path_factory.mktemp("cluster")
    os.environ["CLUSTER_SECRET"] = SECRET
    with both() as (postgres, objects):
        shared = (
            f'catalogue = "{postgres.create("lake")}"\ndata = "s3://calls/lake"\nMORE'
            f'[s3]\nendpoint = "{objects.endpoint}"\nkey_id = "{KEY}"\n'
        )
        nodes = [Node(folder, name, free_port(), shared.replace("MORE", "")) for name in ("east", "west")]
        nodes.append(Node(folder, "desk", 9, shared.replace("MORE", "read_only = true\n")))
        try:
            yield postgres, objects, *nodes
        finally:
            for node in nodes:
                if node.process.poll() is None:
                    node.process.kill()
                    node.process.wait()


def whole(node: Node, names: set[str]) -> bool:
    """All of them are there with their three messages, once."""
    calls = node.calls()
    assert all(c["messages"] <= 3 for c in calls.values()), "a message is there twice"
    return names <= {name for name, c in calls.items() if c["messages"] == 3}


def test_any_node_answers_for_all(cluster: tuple[Any, Any, Node, Node, Node]) -> None:
    _, _, east, west, desk = cluster
    say(east.port, "first", 30)
    say(west.port, "second", 30)
    names = {f"{name}-{n}" for name in ("first", "second") for n in range(30)}
    until(lambda: whole(east, {n for n in names if n.startswith("first")}), "a node does not see its own calls", 10)
    for node in (east, west, desk):
        until(lambda node=node: whole(node, names), f"{node.name} does not see all calls", 60)
    calls = desk.calls()
    assert {calls["first-0"]["node"], calls["second-0"]["node"]} == {"east", "west"}
    frames = urllib.request.urlopen(f"{desk.url}/api/v1/calls/second-3/pcap", timeout=20).read()
    assert frames.count(b"Call-ID: second-3") == 3
    assert "recording nothing" in desk.log() and "s3://calls/lake" in desk.log()
    for node in (east, west, desk):
        assert "secret" not in node.log() and "word" not in node.log()


def test_a_node_that_is_killed_loses_nothing_that_was_safe(cluster: tuple[Any, Any, Node, Node, Node]) -> None:
    _, _, east, west, desk = cluster
    say(east.port, "safe", 40)
    time.sleep(2.5)
    say(east.port, "moment", 5)
    east.stop(signal.SIGKILL)
    east.start()
    names = {f"safe-{n}" for n in range(40)}
    for node in (desk, west):
        until(lambda node=node: whole(node, names), "what was safe is not there", 60)
    assert "segments of the last run" in east.log()


@pytest.mark.parametrize("what", ["catalogue", "objects"])
def test_a_server_that_is_away_costs_nothing(cluster: tuple[Any, Any, Node, Node, Node], what: str) -> None:
    postgres, objects, east, west, desk = cluster
    server = postgres if what == "catalogue" else objects
    lost = east.metric("siptrail_queue_drops_total")
    server.stop()
    try:
        say(east.port, f"{what}-east", 200)
        say(west.port, f"{what}-west", 200)
        until(lambda: "could not be written" in east.log(), "the log does not tell", 60)
        time.sleep(3)
        assert east.metric("siptrail_spool_waiting") == 0
        said = subprocess.run(
            [sys.executable, "-m", "siptrail.cli", "calls", "--url", desk.url],
            capture_output=True,
            text=True,
            timeout=60,
        )
        if what == "catalogue":
            assert said.returncode != 0 and len(said.stderr.splitlines()) == 1 and "cannot be read" in said.stderr
    finally:
        server.start()
    names = {f"{what}-{name}-{n}" for name in ("east", "west") for n in range(200)}
    until(lambda: whole(desk, names), "the nodes do not catch up", 90)
    assert east.metric("siptrail_queue_drops_total") == lost


def test_stopping_while_the_catalogue_is_away_keeps_all_in_the_spool(
    cluster: tuple[Any, Any, Node, Node, Node],
) -> None:
    postgres, _, _, west, desk = cluster
    written = west.log().count("could not be written")
    postgres.stop()
    try:
        say(west.port, "parting", 20)
        until(lambda: west.log().count("could not be written") > written, "the log does not tell", 60)
        time.sleep(5)
        west.stop()
        assert "the spool keeps" in west.log()
    finally:
        postgres.start()
    west.start()
    until(lambda: whole(desk, {f"parting-{n}" for n in range(20)}), "what was in the spool is lost", 60)


@pytest.mark.parametrize("what", ["catalogue", "objects"])
def test_a_node_that_starts_while_a_server_is_away_records_and_catches_up(
    cluster: tuple[Any, Any, Node, Node, Node], what: str
) -> None:
    postgres, objects, _, west, desk = cluster
    server = postgres if what == "catalogue" else objects
    waited = west.log().count("waits in the spool")
    west.stop()
    server.stop()
    names = {f"{what}-{when}-{n}" for when in ("dark", "darker") for n in range(30)}
    try:
        west.start()
        assert west.log().count("waits in the spool") > waited
        say(west.port, f"{what}-dark", 30)
        time.sleep(2.5)
        said = subprocess.run(
            [sys.executable, "-m", "siptrail.cli", "calls", "--url", west.url],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert said.returncode == 3 and len(said.stderr.splitlines()) == 1, "never an empty list"
        west.stop(signal.SIGKILL)
        west.start()
        say(west.port, f"{what}-darker", 30)
        time.sleep(2.5)
        west.stop()
        assert west.process.returncode == 0
        west.start()
    finally:
        server.start()
    until(lambda: whole(desk, names), "the node does not catch up", 90)
    until(lambda: west.metric("siptrail_spool_waiting") == 0, "segments wait for ever", 30)
    assert "is open" in west.log()
