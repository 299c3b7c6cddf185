"""Rings on real interfaces: a pair of virtual Ethernet ends in a network namespace of the test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from capture.ringwalk import walk_block
from capture.sources.ring import SWAPPED, CaptureError, open_ring

TOP = Path(__file__).resolve().parents[2]

# Runs inside the namespace. `gather` reads until the expected frames are there, and never waits for ever.
PRELUDE = """
import json, socket, struct, subprocess, time
from capture.bpf import default_program
from capture.sources.ring import CaptureError, open_ring

def ip(*words):
    subprocess.run(["ip", *words], check=True)

def gather(ring, count, patience=10.0):
    frames, end = [], time.monotonic() + patience
    while len(frames) < count and time.monotonic() < end:
        block = ring.poll(0.2)
        if block is not None:
            frames += [(bytes(block.data[o:o + c]), int(n), int(t)) for o, c, n, t in
                       zip(block.offset, block.captured, block.original, block.ts, strict=True)]
    extra = ring.poll(0.3)
    return frames + ([(b"one too many", 0, 0)] * len(extra) if extra is not None else [])

def sender(name):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.bind((name, 0))
    return sock

def frame(payload, port=40000):
    udp = struct.pack("!HHHH", port, port, len(payload) + 8, 0) + payload
    head = struct.pack("!BBHHHBBH4B4B", 0x45, 0, len(udp) + 20, 1, 0, 64, 17, 0, 192, 0, 2, 1, 192, 0, 2, 2)
    return bytes((2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1)) + b"\\x08\\x00" + head + udp

def sip(i):
    return b"OPTIONS sip:%d@x SIP/2.0\\r\\nCall-ID: %d\\r\\n\\r\\n" % (i, i)

SMALL = dict(block_bytes=1 << 16, blocks=32)
"""

Inside = Callable[[str], str]


@pytest.fixture
def inside() -> Iterator[Inside]:
    """Runs Python in a fresh namespace where `a` and `b` are the ends of one wire."""
    name = f"siptrail-test-{os.getpid()}-{uuid.uuid4().hex[:8]}"

    def run(code: str) -> str:
        done = subprocess.run(
            ["ip", "netns", "exec", name, sys.executable, "-c", PRELUDE + code],
            cwd=TOP,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        for words in (
            "link set dev lo up",
            "link add name a type veth peer name b",
            "link set dev a up",
            "link set dev b up",
        ):
            subprocess.run(["ip", "-n", name, *words.split()], check=True)
        yield run
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


@pytest.mark.needs("root", "ip")
def test_a_thousand_sip_packets_come_back_exactly_and_rtp_does_not(inside: Inside) -> None:
    before = time.time_ns()
    out = json.loads(
        inside("""
ring = open_ring("b", program=default_program({5060}), **SMALL)
out = sender("a")
for i in range(1000):
    out.send(frame(sip(i)))
    out.send(frame(b"\\x80\\x00" + bytes(170)))
got = gather(ring, 1000)
times = [t for _, _, t in got]
print(json.dumps(dict(count=len(got), same=[f for f, _, _ in got] == [frame(sip(i)) for i in range(1000)],
      whole=all(n == len(f) for f, n, _ in got), ordered=times == sorted(times), first=times[0], last=times[-1],
      fine=any(t % 1000 for t in times), losses=ring.losses())))
ring.close()
""")
    )
    assert out["count"] == 1000
    assert out["same"] and out["whole"] and out["ordered"]
    assert before < out["first"] <= out["last"] < time.time_ns()
    assert out["fine"], "nanoseconds, not microseconds"
    assert out["losses"] == [1000, 0], "the kernel itself kept the RTP out"


@pytest.mark.needs("root", "ip")
@pytest.mark.parametrize("tpid", ["8100", "88a8"])
def test_a_vlan_tag_is_put_back(inside: Inside, tpid: str) -> None:
    out = inside(f"""
tag = bytes.fromhex("{tpid}") + (5 << 13 | 1234).to_bytes(2, "big")
tagged = [f[:12] + tag + f[12:] for f in (frame(sip(i)) for i in range(20))]
double = [f[:12] + tag + b"\\x81\\x00\\x00\\x07" + f[12:] for f in (frame(sip(i)) for i in range(20))]
ring = open_ring("b", program=default_program({{5060}}), **SMALL)
out = sender("a")
for f in tagged + double:
    out.send(f)
got = gather(ring, 40)
print([f for f, _, _ in got] == tagged + double, all(n == len(f) for f, n, _ in got))
""")
    assert out == "True True"


@pytest.mark.needs("root", "ip")
def test_a_recorded_device_hands_over_what_is_for_others_and_no_longer(inside: Inside) -> None:
    out = inside("""
def promiscuity():
    told = subprocess.run(["ip", "-d", "-j", "link", "show", "dev", "b"], capture_output=True, text=True, check=True)
    return json.loads(told.stdout)[0]["promiscuity"]

seen = [promiscuity()]
for wanted in (True, False):
    ring = open_ring("b", program=default_program({5060}), promiscuous=wanted, **SMALL)
    seen.append(promiscuity())
    ring.close()
    seen.append(promiscuity())
print(seen)
""")
    assert out == "[0, 1, 0, 0, 0]"


@pytest.mark.needs("root", "ip")
def test_loopback_is_seen_once(inside: Inside) -> None:
    out = inside("""
ring = open_ring("lo", program=default_program({5060}), **SMALL)
taker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
taker.bind(("127.0.0.1", 9))  # or ICMP errors would come back
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(50):
    out.sendto(sip(i), ("127.0.0.1", 9))
got = gather(ring, 50)
print([f[42:] for f, _, _ in got] == [sip(i) for i in range(50)])
""")
    assert out == "True"


@pytest.mark.needs("root", "ip")
def test_what_a_small_ring_cannot_hold_is_counted(inside: Inside) -> None:
    out = json.loads(
        inside("""
ring = open_ring("b", program=default_program({5060}), block_bytes=1 << 14, blocks=2)
out = sender("a")
for i in range(2000):
    out.send(frame(sip(i)))
got = gather(ring, 2000, patience=1.0)
first = ring.losses()
print(json.dumps([len(got), first, ring.losses()]))
""")
    )
    got, (packets, drops), again = out
    assert packets == 2000
    assert 0 < drops < 2000
    assert got == packets - drops
    assert again == [packets, drops], "cumulative, although the kernel resets its own counters"


@pytest.mark.needs("root", "ip")
def test_it_goes_on_after_the_interface_was_down_or_replaced_even_without_capabilities(inside: Inside) -> None:
    # Changing interfaces takes capabilities, so a helper process keeps them.
    out = inside("""
from capture.privileges import drop_capabilities
helper = subprocess.Popen(["sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
def other(command):
    helper.stdin.write("set -e; " + command + "; echo done\\n"); helper.stdin.flush()
    assert helper.stdout.readline() == "done\\n"
def fails(ring):
    for _ in range(10):
        try: ring.poll(0.2)
        except CaptureError as error: return str(error)
    return "no error"
ring = open_ring("b", program=default_program({5060}), **SMALL)
out = sender("a")
drop_capabilities()
other("ip link set dev b down")
print(fails(ring))
print(fails(ring))
other("ip link set dev b up")
time.sleep(0.2)
ring.poll(0)
out.send(frame(sip(1)))
print([f for f, _, _ in gather(ring, 1)] == [frame(sip(1))])
other("ip link add name spare type veth peer name far")
other("ip link del dev b")
print(fails(ring))
print(fails(ring))
other("ip link set dev spare name b; ip link set dev b up; ip link set dev far up")
time.sleep(0.2)
ring.poll(0)
other("ip addr add 192.0.2.9/24 dev far; ip neigh add 192.0.2.1 lladdr 02:00:00:00:00:09 dev far")
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(sip(2), ("192.0.2.1", 9))
print([f[42:] for f, _, _ in gather(ring, 1)] == [sip(2)])
helper.stdin.close()
""").splitlines()
    assert "went down" in out[0]
    assert "b is down" in out[1] and "ip link set dev b up" in out[1]
    assert out[2] == "True"
    assert "interface b" in out[3]
    assert "b is gone" in out[4]
    assert out[5] == "True"


@pytest.mark.needs("root", "ip")
def test_a_link_without_ethernet_header_gives_raw_ip(inside: Inside) -> None:
    out = inside("""
import fcntl, os
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", b"t0", 0x1001))  # TUNSETIFF: IFF_TUN | IFF_NO_PI
ip("link", "set", "dev", "t0", "up")
from capture.netdevices import device
ring = open_ring("t0", program=default_program({5060}, link_type=101), **SMALL)
os.write(tun, frame(b"\\x80" * 20)[14:])
os.write(tun, frame(sip(3))[14:])
print(device("t0").link_type, ring.interface.link_type, [f for f, _, _ in gather(ring, 1)] == [frame(sip(3))[14:]])
""")
    assert out == "101 101 True"


@pytest.mark.needs("root", "ip")
def test_rings_with_one_fanout_number_share_the_packets(inside: Inside) -> None:
    out = inside("""
rings = [open_ring("b", program=default_program({5060}), fanout=77, **SMALL) for _ in range(2)]
out = sender("a")
for i in range(200):
    out.send(frame(sip(i), port=40000 + i))
parts = [gather(ring, 200, patience=1.5) for ring in rings]
print(sorted(f for part in parts for f, _, _ in part) == sorted(frame(sip(i), port=40000 + i) for i in range(200)))
""")
    assert out == "True"


@pytest.mark.needs("root", "ip")
def test_where_block_after_block_is_full_many_are_taken_together(inside: Inside) -> None:
    out = inside("""
import threading
import capture.sources.ring as source
source.GATHER_SECONDS = 60.0
source.RETIRE_MS = 60_000  # however long this machine stands still, a block comes when it is full
ring, out = open_ring("b", program=None, **SMALL), sender("a")

def send(blocks):
    for _ in range(blocks * 50):  # a little more than a block holds
        out.send(frame(bytes(1300)))

send(1)
first, began = ring.poll(60.0), time.monotonic()
send(2)
while not ring._ready(0):  # a busy machine delivers later than it sends
    time.sleep(0.001)
later = threading.Timer(0.3, send, [8])
later.start()
many = ring.poll(60.0)
print(len(first) <= 50, len(many) > 7 * 40, time.monotonic() - began < 30)
send(1)
print(ring.poll(0.0) is not None)  # who is about to stop does not wait
""")
    assert out.split() == ["True"] * 4


@pytest.mark.needs("root", "ip")
def test_an_interface_that_is_down_or_unknown_is_named(inside: Inside) -> None:
    out = inside("""
ip("link", "set", "dev", "a", "down")
for name in ("a", "nowhere", "x" * 40, ""):
    try: open_ring(name, program=None)
    except CaptureError as error: print(error.exit_code, error)
""").splitlines()
    assert out[0].startswith("3 interface a is down")
    for line, name in zip(out[1:], ("nowhere", "x" * 40, ""), strict=True):
        assert f"no interface {name!r}" in line and "lo" in line


@pytest.mark.needs("root")
def test_a_closed_ring_says_so_and_keeps_its_counts() -> None:
    ring = open_ring("lo", program=None, block_bytes=1 << 16, blocks=2)
    ring.close()
    before = ring.losses()
    ring.close()
    assert ring.losses() == before
    with pytest.raises(CaptureError, match="closed"):
        ring.poll(0)


def test_a_damaged_block_reads_nothing_beyond_itself() -> None:
    rng = np.random.default_rng(7)
    size = 4096
    for _ in range(300):
        ring = rng.integers(0, 256, size * 2, dtype=np.uint8)
        ring[size:] = 0xEE  # the neighbour
        ring[12:16] = (rng.integers(0, 40), 0, 0, 0)
        ring[16:20] = (48, rng.integers(0, 2), 0, 0)
        for at in range(48, 2000, 128):
            ring[at : at + 4] = (rng.integers(0, 256), 0, 0, 0)
            ring[at + 12 : at + 16] = (rng.integers(0, 256), rng.integers(0, 17), 0, 0)
            ring[at + 24 : at + 26] = (82, rng.integers(0, 16))
        data = np.zeros(size, np.uint8)
        columns = np.zeros(40, np.int64), np.zeros(40, np.int32), np.zeros(40, np.int32), np.zeros(40, np.int64)
        ring[:size][ring[:size] == 0xEE] = 0
        used, frames = walk_block(ring, 0, size, SWAPPED, False, False, data, 0, *columns, 0)
        assert used == columns[1][:frames].sum() <= size
        assert not (data[:used] == 0xEE).any()
