"""The HEP receiver on real sockets, and what a real Kamailio sends it."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from capture.frames import Payload
from capture.hep import parse_hep
from capture.sources.hep import MOST_AGENTS, HepReceiver, server_context
from sip.errors import Unreachable
from tests.capture.heppackets import chunk, hep3
from tests.capture.wire import sip

OPTIONS = sip("hep-1", method="OPTIONS")


@pytest.fixture
def receiver() -> Iterator[HepReceiver]:
    receiver = HepReceiver()
    yield receiver
    receiver.close()


def free_port() -> int:
    """A port that is free for UDP and TCP."""
    with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        port = int(tcp.getsockname()[1])
        udp.bind(("127.0.0.1", port))
        return port


def wait_for(receiver: HepReceiver, count: int, seconds: float = 10.0) -> list[Payload]:
    """Polls until so many messages are there."""
    found: list[Payload] = []
    until = time.monotonic() + seconds
    while len(found) < count and time.monotonic() < until:
        found += receiver.poll(0.05)
    return found


def test_datagrams_and_streams(receiver: HepReceiver) -> None:
    port = free_port()
    receiver.listen("127.0.0.1", port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for packet in (hep3(OPTIONS), b"junk", hep3(b"{}", kind=5), hep3(b"\r\n\r\n"), hep3(b"hello")):
            udp.sendto(packet, ("127.0.0.1", port))
    assert [p.data for p in wait_for(receiver, 1)] == [OPTIONS]
    with socket.create_connection(("127.0.0.1", port)) as tcp:
        whole = hep3(OPTIONS) * 3
        tcp.sendall(whole[:200])
        tcp.sendall(whole[200:])
        assert len(wait_for(receiver, 3)) == 3
    expected = {"packets": 8, "bad": 1, "rtcp": 1, "keepalive": 1, "not_sip": 1}
    assert {k: v for k, v in receiver.counters.items() if v} == expected


def test_agents_beyond_the_most_share_a_name(receiver: HepReceiver) -> None:
    port = free_port()
    receiver.listen("127.0.0.1", port)
    with socket.create_connection(("127.0.0.1", port)) as tcp:
        names = [f"agent-{n}".encode() for n in range(MOST_AGENTS + 2)] + [b"agent-7"]
        tcp.sendall(b"".join(hep3(OPTIONS, chunk(19, name)) for name in names))
        seen = [p.frames[0].interface for p in wait_for(receiver, len(names))]
    assert seen[:MOST_AGENTS] == [f"hep:agent-{n}" for n in range(MOST_AGENTS)]
    assert seen[MOST_AGENTS:] == ["hep:others", "hep:others", "hep:agent-7"]


def test_packets_without_the_key_are_dropped_and_counted() -> None:
    receiver = HepReceiver(b"secret")
    port = free_port()
    receiver.listen("127.0.0.1", port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for packet in (hep3(OPTIONS), hep3(OPTIONS, chunk(14, b"wrong")), hep3(OPTIONS, chunk(14, b"secret"))):
            udp.sendto(packet, ("127.0.0.1", port))
    assert len(wait_for(receiver, 1)) == 1
    assert receiver.counters["wrong_key"] == 2
    receiver.close()


@pytest.mark.needs("openssl")
def test_tls(receiver: HepReceiver, tmp_path: Path) -> None:
    pem = tmp_path / "both.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem"
    subprocess.run(make.split(), cwd=tmp_path, check=True, capture_output=True)
    pem.write_bytes((tmp_path / "cert.pem").read_bytes() + (tmp_path / "key.pem").read_bytes())
    port = free_port()
    receiver.listen("127.0.0.1", port, server_context(str(pem), None))
    context = ssl.create_default_context(cafile=str(pem))
    context.check_hostname = False
    raw = socket.create_connection(("127.0.0.1", port))
    raw.setblocking(False)
    client = context.wrap_socket(raw, do_handshake_on_connect=False)
    until = time.monotonic() + 10
    while time.monotonic() < until:
        receiver.poll(0.01)
        try:
            client.do_handshake()
            break
        except ssl.SSLWantReadError:
            continue
    client.setblocking(True)
    client.sendall(hep3(OPTIONS) * 100)
    assert len(wait_for(receiver, 100)) == 100
    client.close()


def test_what_cannot_be_listened_on_says_so(receiver: HepReceiver, tmp_path: Path) -> None:
    port = free_port()
    receiver.listen("127.0.0.1", port)
    with pytest.raises(Unreachable, match=f"cannot listen for HEP on 127.0.0.1 port {port}: .*in use"):
        HepReceiver().listen("127.0.0.1", port)
    with pytest.raises(Unreachable, match=r"cannot use the certificate .*nothing\.pem"):
        server_context(str(tmp_path / "nothing.pem"), None)


KAMAILIO = """#!KAMAILIO
listen=udp:127.0.0.1:{sip}
listen=tcp:127.0.0.1:{sip}
children=1
tcp_children=1
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "siptrace.so"
modparam("siptrace", "duplicate_uri", "sip:127.0.0.1:{hep}")
modparam("siptrace", "hep_mode_on", 1)
modparam("siptrace", "hep_version", {version})
modparam("siptrace", "hep_capture_id", 2001)
modparam("siptrace", "auth_key", "secret")
modparam("siptrace", "trace_to_database", 0)
modparam("siptrace", "trace_on", 1)
modparam("siptrace", "trace_mode", 1)
request_route {{
    sl_send_reply("200", "OK");
}}
"""


@pytest.mark.needs("kamailio")
@pytest.mark.parametrize("version", [1, 2, 3])
def test_what_kamailio_sends_is_what_it_saw(receiver: HepReceiver, tmp_path: Path, version: int) -> None:
    sip_port, hep_port = free_port(), free_port()
    receiver.listen("127.0.0.1", hep_port)
    config = tmp_path / "kamailio.cfg"
    config.write_text(KAMAILIO.format(sip=sip_port, hep=hep_port, version=version))
    with (tmp_path / "log").open("wb") as log:
        proxy = subprocess.Popen(
            ["kamailio", "-f", str(config), "-DD", "-E", "-m", "32", "-M", "8"],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
            phone.bind(("127.0.0.1", 0))
            phone.settimeout(0.2)
            own = phone.getsockname()[1]
            request = (
                f"OPTIONS sip:x@127.0.0.1:{sip_port} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{own};branch=z9hG4bKk\r\n"
                "From: <sip:a@example.com>;tag=1\r\nTo: <sip:x@example.com>\r\nCall-ID: real\r\nCSeq: 1 OPTIONS\r\n"
                "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
            ).encode()
            answer = None
            until = time.monotonic() + 20
            while answer is None and time.monotonic() < until:
                phone.sendto(request, ("127.0.0.1", sip_port))
                try:
                    answer = phone.recv(65_535)
                except TimeoutError:
                    continue
        first, second = wait_for(receiver, 2)[:2]
        assert (first.data, first.sport, first.dport) == (request, own, sip_port)
        assert (second.data, second.sport, second.dport) == (answer, sip_port, own)
        if version > 1:
            assert abs(first.ts - time.time_ns()) < 60e9
            assert first.frames[0].interface == "hep:2001"
        assert parse_hep(first.frames[0].data[28:]).key == (b"secret" if version == 3 else b"")
    finally:
        proxy.terminate()
        try:
            proxy.wait(20)
        except subprocess.TimeoutExpired:
            # Its processes wait for each other now and then; how it ends is no matter here.
            os.killpg(proxy.pid, signal.SIGKILL)
            proxy.wait(20)
