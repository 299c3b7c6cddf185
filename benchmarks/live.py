"""`make bench-live`: traffic over a veth pair at a given rate; what siptrail, tcpdump and sngrep lose of it (as root).

Owns: two network namespaces made for it and removed again, the replay, and the measuring from outside. Nothing leaves
this machine, and nothing runs longer than it was told to.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
FROM, TO = "siptrail-bench-a", "siptrail-bench-b"
LISTEN = "127.0.0.1:8069"
TICK = os.sysconf("SC_CLK_TCK")


def run(command: str, check: bool = True) -> str:
    """A command's output."""
    done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise SystemExit(f"{command}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


@contextmanager
def wire() -> Iterator[None]:
    """Two namespaces with a veth pair between them: bench0 sends, bench1 receives."""
    for name in (FROM, TO):
        run(f"ip netns del {name}", check=False)
        run(f"ip netns add {name}")
        run(f"ip -n {name} link set lo up")
    try:
        run(f"ip link add bench0 netns {FROM} type veth peer name bench1 netns {TO}")
        for name, device in ((FROM, "bench0"), (TO, "bench1")):
            run(f"ip netns exec {name} sysctl -qw net.ipv6.conf.all.disable_ipv6=1", check=False)
            run(f"ip -n {name} link set {device} mtu 9000 up")
        yield
    finally:
        for name in (FROM, TO):
            run(f"ip netns del {name}", check=False)


class Usage(threading.Thread):
    """Processor time and memory of a process, looked at while it runs."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.peak_mb, self.over = pid, 0.0, threading.Event()
        self.began, self.cpu_before = time.monotonic(), self.cpu()

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory(self) -> float:
        """Resident memory in MB."""
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())
        return int(found[1]) / 1024 if found else 0.0

    def run(self) -> None:
        while not self.over.wait(0.5):
            self.peak_mb = max(self.peak_mb, self.memory())

    def share(self) -> float:
        """Processor time of one core since the start, in percent."""
        return 100 * (self.cpu() - self.cpu_before) / (time.monotonic() - self.began)


def replay(capture: Path, rate: int, seconds: int) -> tuple[int, float]:
    """Send the capture again and again at `rate` packets/s; returns packets sent and the rate that was reached."""
    out = run(
        f"ip netns exec {FROM} tcpreplay -q -K -i bench0 --pps={rate} --loop=0 --duration={seconds} {capture}",
        check=False,
    )
    sent = re.search(r"Actual: (\d+) packets", out)
    rated = re.search(r"([\d.]+) pps", out)
    if not sent or not rated:
        raise SystemExit(f"tcpreplay said: {out.strip()[-300:]}")
    return int(sent[1]), float(rated[1])


def rtp_packets(out: Path, count: int = 10_000) -> None:
    """A capture of nothing but RTP."""
    ip = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 200, 0, 0x4000, 64, 17, 0, bytes((192, 0, 2, 77)), bytes((192, 0, 2, 78))
    )
    udp = struct.pack(">HHHH", 20_000, 30_000, 180, 0)
    voice = bytes.fromhex("020000000002020000000001") + b"\x08\0" + ip + udp + b"\x80\x08" + bytes(170)
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)
    out.write_bytes(head + (struct.pack("<IIII", 0, 0, len(voice), len(voice)) + voice) * count)


def ask(what: str) -> dict[str, object]:
    """What the service says about itself."""
    return dict(json.loads(run(f"ip netns exec {TO} curl -s -m 60 http://{LISTEN}/api/v1/{what}")))


def left_behind(store: Path, capture: Path) -> None:
    """The store has an hour that is over, and whose files nobody put in order."""
    run(f"{sys.executable} -m siptrail.cli import {capture} --store {store}")
    before = time.time() - 3600  # the service waits until files are no longer new
    for path in store.rglob("*.parquet"):
        os.utime(path, (before, before))


def in_order(store: Path) -> int:
    """Messages in hours that were put in order."""
    sys.path.insert(0, str(HERE.parent))
    from index.lake import Lake

    lake = Lake(store)
    try:
        with lake.reading() as cur:
            hours = "SELECT DISTINCT day, hour FROM lake.packed"
            return int(
                cur.execute(f"SELECT count(*) FROM lake.messages JOIN ({hours}) USING (day, hour)").fetchall()[0][0]
            )
    finally:
        lake.close()


def siptrail(send: Callable[[], tuple[int, float]], extra: list[str], behind: Path | None = None) -> None:
    """Record the replay into a store, as a user would; with an hour in it that waits to be put in order, `behind`."""
    store = Path(tempfile.mkdtemp(prefix="siptrail-live-"))
    if behind is not None:
        left_behind(store, behind)
    command = [sys.executable, "-m", "siptrail.cli", "run", "-i", "bench1", "--store", str(store), "--listen", LISTEN]
    log = (store / "log").open("wb")
    process = subprocess.Popen(["ip", "netns", "exec", TO, *command, *extra], cwd=HERE.parent, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 60
        while b"web page" not in (store / "log").read_bytes():
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"siptrail did not start: {(store / 'log').read_text()[-500:]}")
            time.sleep(0.2)
        usage = Usage(process.pid)
        usage.start()
        sent, rate = send()
        share = usage.share()
        time.sleep(3)
        usage.over.set()
        (interface,) = [i for i in ask("interfaces")["interfaces"] if i["name"] == "bench1"]  # type: ignore[attr-defined]
        drops, queue = interface.get("kernel_drops", 0), interface.get("queue_drops", 0)
        process.send_signal(signal.SIGTERM)
        process.wait(120)
        stats = json.loads(run(f"{sys.executable} -m siptrail.cli stats --json --store {store}"))
        print(
            f"siptrail  {rate:>9,.0f} packets/s: {sent:,} sent, {stats['messages']:,} messages in the store; "
            f"lost {drops:,} in the kernel, {queue:,} in the queue; {share:.0f} % of a core, {usage.peak_mb:.0f} MB"
            + (f"; {in_order(store):,} older messages were put in order meanwhile" if behind else ""),
            flush=True,
        )
    finally:
        if process.poll() is None:
            process.kill()
        log.close()
        shutil.rmtree(store, ignore_errors=True)


def tcpdump(send: Callable[[], tuple[int, float]]) -> None:
    """Only copying to a file, for comparison."""
    with tempfile.NamedTemporaryFile(prefix="siptrail-live-") as file:
        process = subprocess.Popen(
            ["ip", "netns", "exec", TO, "tcpdump", "-i", "bench1", "-w", file.name, "-B", "32768", "-Z", "root"],
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(2)
        usage = Usage(process.pid)
        sent, rate = send()
        share = usage.share()
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    dropped = re.search(r"(\d+) packets dropped by kernel", said)
    lost = int(dropped[1]) if dropped else -1
    print(f"tcpdump   {rate:>9,.0f} packets/s: {sent:,} sent, lost {lost:,}; {share:.0f} % of a core")


def sngrep(send: Callable[[], tuple[int, float]]) -> None:
    """sngrep without a screen, writing what it captures to a file; what is missing there is lost."""
    with tempfile.NamedTemporaryFile(prefix="siptrail-live-", suffix=".pcap") as file:
        command = ["sngrep", "-N", "-q", "-d", "bench1", "-l", "2000000", "-O", file.name]
        process = subprocess.Popen(
            ["ip", "netns", "exec", TO, *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        time.sleep(2)
        usage = Usage(process.pid)
        sent, rate = send()
        share = usage.share()
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
        kept = int(run(f"tcpdump -r {file.name} --count", check=False).split()[0] or 0)
    lost = sent - kept
    print(f"sngrep    {rate:>9,.0f} packets/s: {sent:,} sent, {kept:,} kept, lost {lost:,}; {share:.0f} % of a core")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=100_000, help="packets/s")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--messages", type=int, default=300_000, help="messages in the capture that is replayed")
    parser.add_argument("--capture", type=Path, help="replay this file instead")
    parser.add_argument("--rtp", type=int, default=0, help="RTP packets for each SIP message, sent beside")
    parser.add_argument(
        "--behind", type=int, default=0, help="older messages in the store, which are put in order meanwhile"
    )
    parser.add_argument("--only", choices=["siptrail", "tcpdump", "sngrep"], help="measure one program")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("network namespaces need root: sudo make bench-live")
    for program in ("ip", "tcpreplay", "curl"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is not installed")
    with tempfile.TemporaryDirectory(prefix="siptrail-live-") as folder, wire():
        capture, voice = arguments.capture or Path(folder) / "traffic.pcap", Path(folder) / "rtp.pcap"
        sip_rate = arguments.rate // (arguments.rtp + 1)
        if arguments.capture is None:
            # At rates that allow it no call comes twice: calls that seem to repeat themselves all the time are odd
            # ones, which are diagnosed in the background.
            messages = max(arguments.messages, sip_rate * arguments.seconds) if arguments.rtp else arguments.messages
            run(f"{sys.executable} {HERE / 'generate.py'} --messages {messages} -o {capture}")
        rtp_packets(voice)

        def send() -> tuple[int, float]:
            if not arguments.rtp:
                return replay(capture, arguments.rate, arguments.seconds)
            with ThreadPoolExecutor(1) as beside:
                other = beside.submit(replay, voice, arguments.rate - sip_rate, arguments.seconds)
                sip, rtp = replay(capture, sip_rate, arguments.seconds), other.result()
            return sip[0] + rtp[0], sip[1] + rtp[1]

        if arguments.only in (None, "siptrail"):
            behind = Path(folder) / "behind.pcap" if arguments.behind else None
            if behind is not None:
                run(f"{sys.executable} {HERE / 'generate.py'} --messages {arguments.behind} --seed 9 -o {behind}")
            siptrail(send, [], behind)
        for name, measure in (("tcpdump", tcpdump), ("sngrep", sngrep)):
            if arguments.only in (None, name):
                if shutil.which(name):
                    measure(send)
                else:
                    print(f"{name}: not installed")


if __name__ == "__main__":
    main()
