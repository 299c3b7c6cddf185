"""`siptrail doctor`: each reason for an empty list is found and comes with what to do."""

from __future__ import annotations

import ctypes
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from capture.packetsockets import PacketSockets
from siptrail.doctor import Examination, Result, examine
from siptrail.settings import Settings
from tests.capture.live import MAIN, TOP
from tests.capture.wire import ether, ip4
from tests.capture.wire import udp as wire_udp

OPTIONS = (
    b"OPTIONS sip:a@127.0.0.3 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.2;branch=z9hG4bK1\r\nCall-ID: d\r\n"
    b"CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)
HELLO = bytes.fromhex("16030100050100000100")


class OpenSockets(PacketSockets):
    """Packet sockets without giving the test's own rights up."""

    def __init__(self) -> None:
        self._idle = {}
        self.missing = None


def results(
    tmp_path: Path,
    traffic: Callable[[], None] = lambda: None,
    service: list[dict[str, Any]] | None = None,
    **given: Any,
) -> list[Result]:
    """All results on the loopback interface while `traffic` is sent again and again."""
    settings = Settings(store=tmp_path, **{"interfaces": ["lo"], **given})
    stop = threading.Event()

    def send() -> None:
        while not stop.is_set():
            traffic()
            time.sleep(0.05)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        return list(examine(Examination(settings, OpenSockets(), 1.0, service)))
    finally:
        stop.set()
        sender.join()


def udp(source: str, target: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((source, 0))
        sock.sendto(OPTIONS, (target, port))


def tcp(payload: bytes, port: int) -> Callable[[], None]:
    def send() -> None:
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(("127.0.0.3", port))
            server.listen()
            with socket.create_connection(("127.0.0.3", port), source_address=("127.0.0.2", 0)) as client:
                accepted, _ = server.accept()
                client.sendall(payload)
                accepted.recv(len(payload))
                accepted.close()

    return send


def problems(found: list[Result]) -> list[str]:
    return [f.text for f in found if f.status == "problem"]


def only(found: list[Result], words: str) -> Result:
    (one,) = [f for f in found if words in f.text]
    return one


@pytest.mark.needs("root")
def test_all_is_well(tmp_path: Path) -> None:
    def both_ways() -> None:
        udp("127.0.0.2", "127.0.0.3", 5999)
        udp("127.0.0.3", "127.0.0.2", 5999)

    found = results(tmp_path, both_ways, [{"name": "lo", "recording": True, "packets": 7}])
    assert problems(found) == []
    assert "udp 5999" in only(found, "SIP messages").text


@pytest.mark.needs("root")
def test_nothing_goes_by(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        found = results(tmp_path, lambda: other.sendto(b"no sip", ("127.0.0.3", 9)) and None)
    assert problems(found) == ["no SIP on any interface within 1 s"]
    assert "mirror port" in only(found, "no SIP on any").advice


@pytest.mark.needs("root")
def test_one_direction_is_missing(tmp_path: Path) -> None:
    found = results(tmp_path, lambda: udp("127.0.0.2", "127.0.0.3", 5060))
    assert "rx and tx" in only(found, "packets from 127.0.0.2 are seen, none to it").advice


@pytest.mark.needs("root")
def test_sip_over_tcp_on_another_port(tmp_path: Path) -> None:
    found = results(tmp_path, tcp(OPTIONS.replace(b"UDP", b"TCP"), 5977))
    assert "sip_ports" in only(found, "SIP over TCP on port 5977").advice
    assert problems(results(tmp_path, tcp(OPTIONS.replace(b"UDP", b"TCP"), 5977), sip_ports=[5977]))[:1] != [
        "lo: SIP over TCP on port 5977"
    ]


@pytest.mark.needs("root")
def test_only_tls(tmp_path: Path) -> None:
    found = results(tmp_path, tcp(HELLO, 5061))
    assert "HEP" in only(found, "encrypted packets").advice
    told = only([f for f in found if f.name == "tls"], ":5061")
    assert told.status == "note" and "127.0.0.2 -> 127.0.0.3:5061" in told.text


@pytest.mark.needs("root")
def test_a_server_that_refuses_connections(tmp_path: Path) -> None:
    def call(port: int) -> Callable[[], None]:
        def send() -> None:
            with socket.socket() as client:
                client.bind(("127.0.0.2", 0))
                assert client.connect_ex(("127.0.0.3", port))

        return send

    found = only(results(tmp_path, call(5977), sip_ports=[5977]), "127.0.0.3:5977 refuses TCP connections")
    assert found.status == "problem" and "of 127.0.0.2)" in found.text and "nothing listens" in found.advice
    assert not [f for f in results(tmp_path, call(5978), sip_ports=[5977]) if "refuses TCP" in f.text]
    taken = results(tmp_path, tcp(OPTIONS.replace(b"UDP", b"TCP"), 5977), sip_ports=[5977])
    assert not [f for f in taken if "refuses TCP" in f.text]


def test_agents_that_are_turned_away(tmp_path: Path) -> None:
    seen = [{"name": "hep", "recording": True, "packets": 9, "wrong_key": 7, "bad": 2}]
    found = [f for f in results(tmp_path, service=seen) if f.name == "service"]
    assert [f.text for f in found if f.status == "problem"] == [
        "hep: 7 HEP packets without the right key",
        "hep: 2 packets that are no HEP",
    ]
    assert all(f.advice for f in found[1:])


def inject(*frames: bytes) -> Callable[[], None]:
    """Puts frames onto the loopback interface as they are."""

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
            sock.bind(("lo", 0))
            for frame in frames:
                sock.send(frame)

    return send


@pytest.mark.needs("root")
def test_vlan_tunnel_and_offload_are_told_and_read(tmp_path: Path) -> None:
    tagged = ether(ip4(17, wire_udp(OPTIONS)), 0x8100)
    tunnelled = ether(ip4(47, struct.pack(">HH", 0, 0x0800) + ip4(17, wire_udp(OPTIONS))))
    large = ether(ip4(17, wire_udp(OPTIONS + bytes(2000))))
    found = results(tmp_path, inject(tagged, tunnelled, large))
    assert "VLAN tags; they are read" in only(found, "VLAN").text
    assert "inside tunnels; they are read" in only(found, "tunnels").text
    assert "ethtool -K lo gro off" in only(found, "(offload)").advice


def alone(tmp_path: Path, prepare: str, *words: str) -> tuple[int, list[Result]]:
    """`siptrail doctor` in namespaces of its own, after some commands; its exit code and results."""
    doctor = [sys.executable, "-c", MAIN, "doctor", "--json", "--seconds", "0.5", *words]
    command = ["unshare", "-n", "-m", "sh", "-c", f'{prepare}; exec "$@"', "sh", *doctor]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=120, check=False)
    assert not done.stderr, done.stderr
    return done.returncode, [Result(**json.loads(line)) for line in done.stdout.splitlines()]


@pytest.mark.needs("root", "unshare", "ip", "mount")
def test_an_interface_that_is_down_one_without_packets_and_a_full_disk(tmp_path: Path) -> None:
    code, found = alone(tmp_path, ":", "-i", "lo", "--store", str(tmp_path))
    assert code == 1 and only(found, "lo is down").advice == "switch it on: ip link set lo up"
    small = f"ip link set lo up; mount -t tmpfs -o size=1m tmpfs {tmp_path}"
    code, found = alone(tmp_path, small, "-i", "lo", "--store", str(tmp_path / "store"))
    assert code == 1 and "mirror (SPAN) session" in only(found, "lo: no packet at all").advice
    assert only(found, "0.0 GB free").status == "problem" and "--store" in only(found, "GB free").advice
    assert only(found, "raw sockets can be opened").status == "ok"


@pytest.mark.needs("root", "unshare", "setpriv")
def test_rights_are_missing(tmp_path: Path) -> None:
    # Root without capabilities: files can be read, sockets not be opened.
    code, found = alone(tmp_path, 'set -- setpriv --bounding-set=-all --inh-caps=-all "$@"', "--store", str(tmp_path))
    assert code == 1 and "setcap cap_net_raw" in only(found, "raw sockets cannot be opened").advice


def test_a_clock_that_was_never_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = only([f for f in results(tmp_path, interfaces=["nope0"]) if f.name == "clock"], "")
    synchronised = not adjtimex() & 0x40
    assert (clock.status, bool(clock.advice)) == (("ok", False) if synchronised else ("note", True))
    monkeypatch.setattr("siptrail.doctor.time.gmtime", lambda: time.struct_time((1970, 1, 1, 0, 0, 0, 3, 1, 0)))
    assert only(results(tmp_path, interfaces=["nope0"]), "the clock says 1970").status == "problem"


def adjtimex() -> int:
    """The kernel's status word, from the words of `struct timex`."""
    words = (ctypes.c_long * 32)()
    ctypes.CDLL(None).adjtimex(words)
    return int(words[5] & 0xFFFFFFFF)


def test_the_service_is_blind(tmp_path: Path) -> None:
    seen = [
        {"name": "eth0", "recording": False},
        {"name": "eth1", "recording": True, "packets": 10, "kernel_drops": 3},
        {"name": "eth2", "recording": True},
    ]
    found = [f for f in results(tmp_path, service=seen) if f.name == "service"]
    assert [f.status for f in found] == ["problem", "problem", "note"]
    assert "eth0 is gone" in found[0].text and "3 dropped" in found[1].text


def test_an_interface_that_is_not_there_and_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    settings = Settings(store=tmp_path, interfaces=["nope0"])
    sockets = OpenSockets()
    sockets.missing = "the right to open raw sockets is missing"
    (tmp_path / ".doctor").mkdir()
    found = list(examine(Examination(settings, sockets, 0.1, None)))
    assert [(f.name, f.text) for f in found if f.status == "problem"] == [
        ("rights", "raw sockets cannot be opened"),
        ("interface", "there is no nope0"),
        ("store", f"{tmp_path} cannot be written: is a directory"),
    ]


def test_a_rule_of_the_users_own_that_is_broken_or_fails_is_named(tmp_path: Path) -> None:
    own = tmp_path / "rules"
    own.mkdir()
    (own / "fine.py").write_text("def check(call):\n    return []\n")
    (own / "broken.py").write_text("import nothing_of_the_kind")
    settings = Settings(store=tmp_path, interfaces=["nope0"], rules=own)
    sockets = OpenSockets()
    sockets.missing = "the right to open raw sockets is missing"
    trouble = {"fine": "failed on 'call-1': ValueError('what a day'); skipped wherever it fails"}
    found = [f for f in examine(Examination(settings, sockets, 0.1, None, trouble)) if f.name == "rules"]
    assert [(f.status, f.text) for f in found] == [
        ("problem", f"fine {trouble['fine']}"),
        (
            "problem",
            f"{own / 'broken.py'} cannot be loaded: ModuleNotFoundError: No module named 'nothing_of_the_kind'",
        ),
        ("ok", f"1 of your own in {own}: fine"),
    ]
    (own / "fine.py").unlink()
    (own / "broken.py").unlink()
    found = [f for f in examine(Examination(settings, sockets, 0.1, None)) if f.name == "rules"]
    assert [(f.status, f.text) for f in found] == [("note", f"no rule of your own in {own}")]
