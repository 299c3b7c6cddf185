"""Recording through scapy: the frames that go by on the loopback interface, and `siptrail run --source scapy`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from capture import bpf
from capture.netdevices import Device
from capture.pipeline import Decoder
from capture.sources import scapy
from capture.sources.scapy import Sniffer, default_expression, open_sniffer, open_sniffers
from sip.errors import Unreachable
from tests.capture.wire import ip4, sip

LOCAL = "127.0.0.1"


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((LOCAL, 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def sniffer(port: int) -> Iterator[Sniffer]:
    opened = open_sniffers(["lo"], f"udp port {port}", [], [])["lo"]
    yield opened
    opened.close()


def send(port: int, *messages: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for message in messages:
            sock.sendto(message, (LOCAL, port))


@pytest.mark.needs("root")
def test_frames_on_loopback_come_once_in_order_and_on_time(sniffer: Sniffer, port: int) -> None:
    sent = [sip(f"call-{n}", b"x" * n) for n in range(20)]
    before = time.time_ns()
    send(port, *sent)
    send(port + 1 if port < 65535 else 1024, sip("another port"))
    decoder, found, frames = Decoder(), [], 0
    for _ in range(100):
        block = sniffer.poll(0.2)
        if block is None:
            break
        frames += len(block)
        assert block.interfaces[0].name == "lo" and block.interfaces[0].link_type == 1
        assert ((block.ts > before - 10**9) & (block.ts < time.time_ns() + 10**9)).all()
        for messages in decoder.feed(block):
            for n in range(len(messages)):
                start = int(messages.start[n])
                found.append(messages.data[start : start + int(messages.length[n])].tobytes())
    assert found == sent
    assert frames == 20 and sniffer.losses() == (20, 0)
    assert sniffer.poll(0.0) is None


@pytest.mark.needs("root")
def test_the_default_expression_lets_signalling_and_fragments_through() -> None:
    port = free_port()
    sniffer = open_sniffers(["lo"], None, [port], [])["lo"]
    try:
        send(port, sip("short"))
        send(free_port(), sip("elsewhere"))
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            raw.sendto(ip4(17, b"a later fragment", src=LOCAL, dst=LOCAL, off=800), (LOCAL, 0))
        found = b""
        while (block := sniffer.poll(0.3)) is not None:
            found += bytes(block.data)
    finally:
        sniffer.close()
    assert b"Call-ID: short" in found and b"a later fragment" in found and b"elsewhere" not in found


@pytest.mark.parametrize("link", [1, 101])
def test_the_default_expression_compiles(link: int) -> None:
    expression = default_expression([5060, 5061], [80, 443], Device("x", True, link))
    assert bpf.compile_user(expression, link) is not None
    assert "port 5061" in expression and "port 443" in expression


def test_behind_a_vlan_tag_other_systems_look_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scapy, "LINUX", False)
    assert "or (vlan and (port 5060" in default_expression([5060], [], Device("x", True, 1))
    assert "vlan" not in default_expression([5060], [], Device("x", True, 101))


@pytest.mark.needs("root")
def test_mistakes_are_told_in_one_line() -> None:
    with pytest.raises(Unreachable, match=r"no interface 'nope0'.*lo"):
        open_sniffers(["nope0"], None, [5060], [])
    with pytest.raises(Unreachable, match="scapy cannot listen on nope0"):
        open_sniffer("nope0", "")
    with pytest.raises(bpf.FilterSyntax, match="port port"):
        open_sniffers(["lo"], "port port", [5060], [])


# ---------------------------------------------------------------- the command


def siptrail(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SIPTRAIL_")}
    return subprocess.run(
        [sys.executable, "-m", "siptrail.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
        env=kept | environment,
    )


def test_without_scapy_the_error_says_what_to_install(tmp_path: Path) -> None:
    # A package of that name that cannot be imported stands before the real one.
    (tmp_path / "scapy").mkdir()
    (tmp_path / "scapy" / "__init__.py").write_text("raise ImportError('not installed')\n")
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    done = siptrail(
        "run", "-i", "lo", "--source", "scapy", "--store", str(tmp_path / "s"), folder=tmp_path, PYTHONPATH=paths
    )
    assert done.returncode == 3
    assert done.stderr.splitlines() == [
        "siptrail: recording lo with scapy needs the extra: pip install 'siptrail[scapy]'"
    ]


def test_an_unknown_source_is_wrong_use(tmp_path: Path) -> None:
    done = siptrail("run", "--source", "tcpdump", folder=tmp_path)
    assert done.returncode == 2
    assert "source" in done.stderr and "'scapy'" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.needs("root")
def test_run_records_through_scapy(tmp_path: Path, port: int) -> None:
    with socket.socket() as probe:
        probe.bind((LOCAL, 0))
        listen = f"{LOCAL}:{probe.getsockname()[1]}"
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SIPTRAIL_")}
    arguments = ["run", "-i", "lo", "--source", "scapy", "--store", str(tmp_path / "store"), "--listen", listen]
    service = subprocess.Popen(
        [sys.executable, "-m", "siptrail.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
        env=kept | {"SIPTRAIL_SIP_PORTS": f"[{port}]"},
    )
    try:
        assert service.stdout is not None
        lines = iter(service.stdout.readline, "")
        assert any("terminal UI" in line for line in lines), "the service did not start"
        status = Path(f"/proc/{service.pid}/status").read_text()
        assert "CapPrm:\t0000000000000000" in status, "rights are given up once the sockets are open"
        send(port, sip("through scapy"))
        found: list[dict[str, object]] = []
        for _ in range(40):
            listed = siptrail("calls", "--json", "--url", f"http://{listen}", folder=tmp_path)
            found = [json.loads(line) for line in listed.stdout.splitlines()]
            if found:
                break
            time.sleep(0.25)
        assert [(c["call_id"], c["messages"]) for c in found] == [("through scapy", 1)]
    finally:
        service.terminate()
        assert service.wait(30) == 0
    stored = siptrail("stats", "--json", "--store", str(tmp_path / "store"), folder=tmp_path)
    assert json.loads(stored.stdout)["messages"] == 1
