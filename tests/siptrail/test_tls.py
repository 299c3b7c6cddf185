"""TLS through the commands: told where nobody can read it, read where a key log opens it, also through a service."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from capture.sources.pcapfile import PcapFile
from capture.tlspeers import TlsAlert, TlsPeer
from index.lake import Lake
from siptrail.ledger import MOST_TABLES, Ledger
from siptrail.tlstable import ADVICE, tls_lines
from tests.capture.tlstalk import NAME, V12, Talk, certificate, save
from tests.capture.wire import A, B, ether, frame, ip4, ok, sip, udp
from tests.siptrail.test_errors import free_port

TOP = Path(__file__).resolve().parents[2]


class Place:
    """A folder with a capture that holds a call over TLS and a plain message, its key log, and another's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pem = pem = certificate(folder)
        self.keys, self.wrong = folder / "keys.log", folder / "wrong.log"
        talk = Talk(pem, keylog=self.keys).handshake()
        begun = len(talk.frames)
        self.call = talk.say(sip("secret")).say(ok("secret"), False).frames[begun:]
        clear = frame(ether(ip4(17, udp(sip("clear")))), 10**9)
        self.pcap = save(folder / "call.pcap", *talk.frames, clear)
        Talk(pem, keylog=self.wrong).handshake()
        refused = Talk(pem, V12, trusting=False).handshake().frames
        silent = [f for f in Talk(pem, sport=40007, start=10**9).handshake().frames if f.data[36:38] == b"\x13\xc5"]
        self.refused = save(folder / "refused.pcap", *refused, *silent)

    def run(self, *arguments: Any, code: int = 0, path: str | None = None) -> tuple[str, str]:
        """What a command prints, on standard output and as errors."""
        done = subprocess.run(
            [sys.executable, "-m", "siptrail.cli", *map(str, arguments)],
            cwd=TOP,
            env={**os.environ, "PATH": path or os.environ["PATH"]},
            capture_output=True,
            timeout=120,
        )
        assert done.returncode == code, done
        return done.stdout.decode("latin-1"), done.stderr.decode()

    def listed(self, *arguments: Any) -> dict[str, tuple[str, int]]:
        """Transport and number of messages of each call."""
        calls = [json.loads(line) for line in self.run("calls", "--json", *arguments)[0].splitlines()]
        return {c["call_id"]: (c["transport"], c["messages"]) for c in calls}


EVERYTHING = {"secret": ("tls", 2), "clear": ("udp", 1)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("tls"))


def frames(path: Path) -> list[bytes]:
    """The bytes of a capture's frames."""
    return [
        block.data[at : at + size].tobytes()
        for block in PcapFile(str(path)).blocks()
        for at, size in zip(block.offset, block.captured, strict=True)
    ]


# ---------------------------------------------------------------- told


@pytest.mark.needs("openssl")
def test_stats_tell_who_speaks_tls_and_what_to_do(place: Place) -> None:
    counted = json.loads(place.run("stats", "--json", "--pcap", place.refused)[0])
    (row,) = counted["tls"]
    assert (row["client"], row["server"], row["connections"], row["unanswered"]) == (A, f"{B}:5061", 2, 1)
    assert (row["server_names"], row["versions"]) == ([NAME], ["TLS 1.2"])
    assert row["alerts"] == [{"side": "client", "level": "fatal", "name": "unknown_ca", "count": 1}]
    assert row["first"] < row["last"] and row["first"].endswith("Z")
    assert counted["encrypted"] == row["segments"] and counted["decrypted"] == 0
    text = place.run("stats", "--pcap", place.refused)[0]
    for words in (A, f"{B}:5061", NAME, "client alert unknown_ca (fatal)", "1 ClientHello without an answer", ADVICE):
        assert words in text


@pytest.mark.needs("openssl")
def test_an_import_tells_what_to_do(place: Place, tmp_path: Path) -> None:
    assert ADVICE in place.run("import", place.refused, "--store", tmp_path / "a")[0]
    record = json.loads(place.run("import", "--json", place.refused, "--store", tmp_path / "a")[0])
    assert record["tls"][0]["server"] == f"{B}:5061"


def test_words_for_people() -> None:
    row: dict[str, Any] = {
        **{"client": A, "server": f"{B}:5061", "connections": 1, "segments": 1200, "bytes": 5, "unanswered": 0},
        **{"first": "f", "last": "l", "server_names": ["a\x1b[31m"], "alpn": ["sip/2"], "versions": []},
        "alerts": [{"side": "server", "level": "fatal", "name": "handshake_failure", "count": 3}],
    }
    (line,) = tls_lines([row])
    assert "\x1b" not in line and "1,200 segments" in line and "ALPN sip/2" in line and "1 connection," in line
    assert "server alert handshake_failure (fatal) × 3; f to l" in line
    assert list(tls_lines([row] * 5, 2))[-1] == "… and 3 more"


def test_the_service_adds_its_tables_up(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "store")
    ledger = Ledger(lake, "node")
    peer = TlsPeer(A, B, 1, 2, 3, 10, 20, (), (), (), (TlsAlert("client", "fatal", "x", 1),), 0)
    ledger.saw_tls(1, (peer,))
    ledger.saw_tls(1, (peer,))
    assert ledger.tls() == (peer,), "a thread's table takes the place of its last one"
    ledger.saw_tls(2, (peer,))
    for _ in range(2):
        ledger.add_import({}, (peer,))
    assert [p.connections for p in ledger.tls()] == [4], "imports add up"
    for n in range(MOST_TABLES + 5):
        ledger.saw_tls(10 + n, ())
    assert [p.connections for p in ledger.tls()] == [2], "threads that are long gone go, imports stay"
    lake.close()


# ---------------------------------------------------------------- read


@pytest.mark.needs("openssl", "tshark")
def test_every_command_reads_with_the_key_log(place: Place, tmp_path: Path) -> None:
    given = ("--pcap", place.pcap, "--keylog", place.keys)
    assert place.listed(*given) == EVERYTHING
    assert place.listed("--pcap", place.pcap) == {"clear": ("udp", 1)}
    shown = place.run("show", "secret", "--messages", *given)[0]
    assert "INVITE sip:bob@" in shown and "SIP/2.0 200 OK" in shown and "  tls  " in shown
    assert "200 OK" in place.run("ladder", "secret", *given)[0]
    assert "secret" in place.run("diagnose", "secret", "--json", *given, code=1)[0]  # no SDP at all: late-offer-broken
    assert json.loads(place.run("stats", "--json", *given)[0])["transports"] == {"tls": 2, "udp": 1}
    assert ADVICE not in place.run("stats", *given)[0]
    assert len(place.run("diagnose", place.pcap, "--json", "--keylog", place.keys, code=1)[0].splitlines()) == 2
    place.run("pcap", "secret", "-o", tmp_path / "out.pcap", *given)
    assert frames(tmp_path / "out.pcap") == [f.data for f in place.call], "the encrypted frames, byte for byte"


@pytest.mark.needs("openssl", "tshark")
def test_an_import_reads_with_the_key_log(place: Place, tmp_path: Path) -> None:
    store = tmp_path / "store"
    told = place.run("import", place.pcap, "--keylog", place.keys, "--store", store)[0]
    assert "3 SIP messages" in told and "2 read with TLS keys" in told and ADVICE not in told
    assert place.listed("--store", store) == EVERYTHING
    place.run("pcap", "secret", "-o", tmp_path / "out.pcap", "--store", store)
    assert frames(tmp_path / "out.pcap") == [f.data for f in place.call]
    assert json.loads(place.run("stats", "--json", "--store", store)[0])["decrypted"] == 2


@pytest.mark.needs("openssl", "tshark")
def test_a_wrong_key_log_is_one_warning(place: Place, tmp_path: Path) -> None:
    out, errors = place.run("calls", "--json", "--pcap", place.pcap, "--keylog", place.wrong)
    assert [json.loads(line)["call_id"] for line in out.splitlines()] == ["clear"]
    (line,) = errors.splitlines()
    assert line.startswith("siptrail: warning:") and "nothing could be decrypted with the key log" in line
    told = place.run("import", place.pcap, "--keylog", place.wrong, "--store", tmp_path / "store")[0]
    assert "1 SIP messages" in told and "warning: nothing could be decrypted" in told


@pytest.mark.needs("openssl")
def test_without_tshark_one_line_says_what_to_install(place: Place, tmp_path: Path) -> None:
    for command in (
        ["calls", "--pcap", place.pcap],
        ["import", place.pcap, "--store", tmp_path / "store"],
    ):
        out, errors = place.run(*command, "--keylog", place.keys, code=3, path=str(tmp_path))
        assert out == ""
        assert errors.splitlines() == ["siptrail: --keylog needs tshark; install tshark (Debian: apt install tshark)"]


@pytest.mark.needs("openssl")
def test_a_key_log_belongs_to_a_capture_file(place: Place, tmp_path: Path) -> None:
    for command in (["stats"], ["calls", "--store", tmp_path], ["show", "x", "--url", "http://127.0.0.1:9"]):
        assert "--keylog opens a capture file" in place.run(*command, "--keylog", place.keys, code=2)[1]
    assert "standard input" in place.run("stats", "--pcap", "-", "--keylog", place.keys, code=2)[1]
    assert "check its name" in place.run("stats", "--pcap", place.pcap, "--keylog", "none.log", code=3)[1]


# ---------------------------------------------------------------- through a service


PORT = free_port()
"""Where the live connection goes: nothing else on this machine has TLS there."""


@pytest.fixture(scope="module")
def url(place: Place) -> Iterator[str]:
    listen = f"127.0.0.1:{free_port()}"
    command = f"run --store {place.folder / 'held'} --listen {listen}" + (" -i lo" if os.geteuid() == 0 else "")
    service = subprocess.Popen(
        [sys.executable, "-m", "siptrail.cli", *command.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=TOP,
        env={**os.environ, "SIPTRAIL_SIP_PORTS": f"[5060, 5061, {PORT}]"},
    )
    try:
        assert service.stdout is not None
        assert any("terminal UI" in line for line in service.stdout), "the service did not start"
        yield f"http://{listen}"
    finally:
        service.terminate()
        service.wait(30)


def row_of(url: str, server: str) -> dict[str, Any] | None:
    """The service's row of this server."""
    return next((r for r in httpx.get(f"{url}/api/v1/stats").json()["tls"] if r["server"] == server), None)


@pytest.mark.needs("openssl", "tshark")
def test_a_service_is_handed_the_key_log_too(place: Place, url: str) -> None:
    # Names are resolved where the command runs: the service has another working folder.
    relative = os.path.relpath(place.keys, TOP)
    assert "2 read with TLS keys" in place.run("import", place.pcap, "--keylog", relative, "--url", url)[0]
    assert place.listed("--url", url).items() >= EVERYTHING.items()
    assert "check its name" in place.run("import", place.pcap, "--keylog", "none.log", "--url", url, code=3)[1]
    answer = httpx.post(f"{url}/api/v1/imports", json={"path": str(place.pcap), "keylog": "keys.log"})
    assert answer.status_code == 400 and "not an absolute path" in answer.json()["detail"]
    row = row_of(url, f"{B}:5061")
    assert row is not None and row["server_names"] == [NAME]
    assert f"{B}:5061" in place.run("stats", "--url", url)[0]


@pytest.mark.needs("openssl", "root")
def test_a_service_tells_of_tls_on_the_wire(place: Place, url: str) -> None:
    with socket.create_server(("127.0.0.1", PORT)) as server, socket.create_connection(("127.0.0.1", PORT)) as client:
        accepted = server.accept()[0]
        client.sendall(Talk(place.pem).hello())
        accepted.sendall(b"\x15\x03\x03\x00\x02\x02\x28")
        accepted.close()
        until = time.monotonic() + 30
        while (row := row_of(url, f"127.0.0.1:{PORT}")) is None or not row["alerts"]:
            assert time.monotonic() < until, "the service does not tell of it"
            time.sleep(0.2)
    assert (row["client"], row["connections"], row["server_names"], row["unanswered"]) == ("127.0.0.1", 1, [NAME], 0)
    assert [(a["side"], a["name"]) for a in row["alerts"]] == [("server", "handshake_failure")]
