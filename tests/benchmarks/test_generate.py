"""The benchmark's workload: the same seed gives the same bytes, in strict order of time, one call in eight fails."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import dpkt
import pytest

GENERATE = Path(__file__).parents[2] / "benchmarks" / "generate.py"
MESSAGES = 20_000


def generate(folder: Path, name: str, seed: int) -> bytes:
    out = folder / name
    options = ["--messages", str(MESSAGES), "--seed", str(seed), "-o", str(out)]
    subprocess.run([sys.executable, str(GENERATE), *options], check=True, capture_output=True)
    return out.read_bytes()


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return generate(tmp_path_factory.mktemp("workload"), "calls.pcap", seed=1)


def test_the_same_seed_gives_the_same_bytes(capture: bytes, tmp_path: Path) -> None:
    again, other = generate(tmp_path, "again.pcap", seed=1), generate(tmp_path, "other.pcap", seed=2)
    assert hashlib.sha256(again).digest() == hashlib.sha256(capture).digest()
    assert other != capture


def test_frames_are_sound_and_in_strict_order(capture: bytes) -> None:
    frames = [(int(ts * 1_000_000_000), frame) for ts, frame in dpkt.pcap.Reader(io.BytesIO(capture))]
    assert len(frames) == MESSAGES
    assert all(earlier < later for (earlier, _), (later, _) in pairwise(frames))
    for _, frame in frames[::97]:
        ip = dpkt.ethernet.Ethernet(frame).data
        assert isinstance(ip, dpkt.ip.IP) and ip.len == len(frame) - 14
        stored, ip.sum = ip.sum, 0
        assert dpkt.ip.IP(bytes(ip)).sum == stored  # dpkt works a zero checksum out anew
        head, _, body = ip.data.data.partition(b"\r\n\r\n")
        assert b"Content-Length: %d" % len(body) in head
        assert ip.data.ulen == len(ip.data.data) + 8


def test_one_call_in_eight_fails_and_sizes_are_a_carriers(capture: bytes) -> None:
    finals: dict[bytes, bytes] = defaultdict(bytes)
    total = 0
    for _, frame in dpkt.pcap.Reader(io.BytesIO(capture)):
        sip = frame[42:]
        total += len(sip)
        if b"CSeq: 1 INVITE" in sip and sip.startswith((b"SIP/2.0 2", b"SIP/2.0 4", b"SIP/2.0 5")):
            call_id = sip.split(b"Call-ID: ", 1)[1].split(b"\r\n", 1)[0]
            finals[call_id] = sip[8:11]
    failed = sum(code != b"200" for code in finals.values())
    assert failed / len(finals) == pytest.approx(1 / 8, abs=0.005)
    assert {b"503", b"404", b"486", b"480", b"487"} <= set(finals.values())
    assert 550 < total / MESSAGES < 590
