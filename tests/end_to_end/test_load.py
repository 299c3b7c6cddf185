"""A thousand questions at once while 20,000 messages a second are recorded: none of the messages is lost."""

from __future__ import annotations

import asyncio
import re
import resource
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.end_to_end.network import Network
from tests.end_to_end.patience import until
from tests.end_to_end.recorder import TOP, Recorder

pytestmark = [pytest.mark.needs("root", "tcpreplay", "ip"), pytest.mark.alone]
RATE, SECONDS, CLIENTS = 20_000, 20, 1000
QUESTIONS = (
    "calls?limit=100",
    "calls?filter=" + quote("state:failed since:1h"),
    "calls?filter=" + quote("code:5xx or code:486"),
    "calls?limit=1000",
    "calls?filter=" + quote('from:"44*" talk:>1s'),
    "calls/{call_id}",
    "calls/{call_id}/messages",
    "calls/{call_id}/ladder.txt",
    "calls/{call_id}/findings",
    "stats",
)


async def keep_asking(sockets: list[socket.socket], call_ids: list[str], until_: float) -> Counter[str]:
    """Every client asks, reads the whole answer, and asks again; returns how often there was which status."""
    said: Counter[str] = Counter()

    async def client(number: int, sock: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=sock, limit=1 << 26)
        while time.monotonic() < until_:
            path = QUESTIONS[number % len(QUESTIONS)].format(call_id=quote(call_ids[number % len(call_ids)], safe=""))
            writer.write(f"GET /api/v1/{path} HTTP/1.1\r\nHost: siptrail\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
            assert length is not None, head
            await reader.readexactly(int(length[1]))
            status = head.split()[1]
            said[status] += 1
            number += 7
            if status == "503":
                assert "retry-after: " in head.lower(), head
                await asyncio.sleep(1)
        writer.close()

    await asyncio.gather(*(client(n, sock) for n, sock in enumerate(sockets)))
    return said


def test_a_thousand_questions_at_once_cost_no_message(tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    capture = tmp_path / "traffic.pcap"
    make = [sys.executable, "benchmarks/generate.py", "--messages", str(RATE * SECONDS), "-o", str(capture)]
    subprocess.run(make, cwd=TOP, check=True, capture_output=True)
    with Network() as network:
        for namespace, device in ((network.near, "near0"), (network.far, "far0")):
            namespace.ip(f"link set dev {device} mtu 9000")
        recorder = Recorder(network.near, tmp_path)
        recorder.start()
        words = f"tcpreplay -q -K -i far0 --pps={RATE} --loop=1 {capture}"
        with open(tmp_path / "tcpreplay.log", "wb") as log:
            replay = network.far.start(words.split(), log)
        until(lambda: len(recorder.calls()) >= 100, "nothing is recorded")
        names = list(recorder.calls())[:50]
        sockets = network.near.inside(lambda: [socket.create_connection(("127.0.0.1", 8060)) for _ in range(CLIENTS)])
        # In a thread of its own: `asyncio.run` leaves the main one without the loop that other libraries expect.
        with ThreadPoolExecutor(1) as one:
            said = one.submit(asyncio.run, keep_asking(sockets, names, time.monotonic() + SECONDS - 3)).result()
        replay.wait(120)
        sent = int(re.search(r"Actual: (\d+) packets", (tmp_path / "tcpreplay.log").read_text())[1])  # type: ignore[index]
        until(
            lambda: sum(i.get("packets", 0) for i in recorder.get("/api/v1/interfaces").json()["interfaces"]) >= sent,
            "packets are missing",
            60,
        )
        (seen,) = recorder.get("/api/v1/interfaces").json()["interfaces"]
        assert (seen.get("kernel_drops", 0), seen.get("queue_drops", 0)) == (0, 0), (seen, said)
        assert set(said) <= {"200", "503"} and said["200"] > 0, said
        assert recorder.end() == 0, recorder.log()[-2000:]
        print(f"{sent} messages in {SECONDS} s; answers: {dict(said)}")
    stats = subprocess.run(
        [sys.executable, "-m", "siptrail.cli", "stats", "--json", "--store", str(recorder.store)],
        cwd=TOP, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f'"messages": {sent},' in stats.stdout, stats.stdout[:300]
