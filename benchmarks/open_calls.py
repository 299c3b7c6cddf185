"""How much memory do open calls and open TCP streams take? `python benchmarks/open_calls.py` (as root).

Owns: a capture in which calls are set up and never end, and TCP connections carry a REGISTER each and stay open, one in
ten in the middle of a message. It is replayed at `--rate` over a veth pair to a recording service, whose memory is
printed every ten seconds: the peak is what counts.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from live import HERE, LISTEN, TO, ask, replay, wire

SWITCH, CARRIER = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2))
SDP = (
    "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 20000 RTP/AVP 8 0 101\r\n"
    "a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
)


def message(line: str, call_id: str, cseq: str, number: int, body: str = "", tag: str = "") -> bytes:
    """A SIP message of a usual size."""
    kind = "Content-Type: application/sdp\r\n" if body else ""
    return (
        f"{line}\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK{call_id}\r\nMax-Forwards: 70\r\n"
        f"From: <sip:4416329{number:05d}@192.0.2.1>;tag=a{number}\r\nTo: <sip:4420794{number:05d}@192.0.2.2>{tag}\r\n"
        f"Call-ID: {call_id}\r\nCSeq: {cseq}\r\nContact: <sip:192.0.2.1:5060>\r\nUser-Agent: open calls\r\n"
        f"{kind}Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def udp(payload: bytes, onward: bool) -> bytes:
    """An Ethernet frame."""
    source, target = (SWITCH, CARRIER) if onward else (CARRIER, SWITCH)
    body = struct.pack(">HHHH", 5060, 5060, len(payload) + 8, 0) + payload
    return bytes(12) + b"\x08\0" + ip(17, source, target, body)


def ip(protocol: int, source: bytes, target: bytes, body: bytes) -> bytes:
    return struct.pack(">BBHHHBBH4s4s", 0x45, 0, len(body) + 20, 1, 0, 64, protocol, 0, source, target) + body


def tcp(client: bytes, port: int, onward: bool, flags: int, at: tuple[int, int], payload: bytes = b"") -> bytes:
    """A segment between a client and the switch; `at`: sequence and acknowledgement number."""
    source, target = (client, SWITCH) if onward else (SWITCH, client)
    ports = (port, 5060) if onward else (5060, port)
    head = struct.pack(">HHIIBBHHH", *ports, *at, 0x50, flags, 65535, 0, 0)
    return bytes(12) + b"\x08\0" + ip(6, source, target, head + payload)


def stream(number: int) -> list[bytes]:
    """A connection that registers and stays."""
    client, port = bytes((10, 1, number >> 8 & 255, number & 255)), 10_000 + number % 50_000
    ask_it = message("REGISTER sip:192.0.2.1 SIP/2.0", f"r{number}@10.1.0.1", "1 REGISTER", number)
    told = message("SIP/2.0 200 OK", f"r{number}@10.1.0.1", "1 REGISTER", number, tag=";tag=s")
    out = [
        tcp(client, port, True, 0x02, (1000, 0)),
        tcp(client, port, False, 0x12, (5000, 1001)),
        tcp(client, port, True, 0x18, (1001, 5001), ask_it),
        tcp(client, port, False, 0x18, (5001, 1001 + len(ask_it)), told),
    ]
    if number % 10 == 0:
        half = message("INVITE sip:1@192.0.2.1 SIP/2.0", f"h{number}@10.1.0.1", "2 INVITE", number, SDP)[:300]
        out.append(tcp(client, port, True, 0x18, (1001 + len(ask_it), 5001 + len(told)), half))
    return out


def frames(calls: int, streams: int) -> Iterator[bytes]:
    """All frames in order: the streams are spread over the set-up of the calls."""
    opened = 0
    pick = random.Random(1)
    for n in range(calls):
        call_id, number = f"{pick.getrandbits(64):016x}-{n}@192.0.2.1", n % 100_000
        yield udp(message("INVITE sip:1@192.0.2.2 SIP/2.0", call_id, "1 INVITE", number, SDP), True)
        yield udp(message("SIP/2.0 200 OK", call_id, "1 INVITE", number, SDP, ";tag=b"), False)
        yield udp(message("ACK sip:1@192.0.2.2 SIP/2.0", call_id, "1 ACK", number, tag=";tag=b"), True)
        while opened < streams * (n + 1) // calls:
            yield from stream(opened)
            opened += 1


def memory(pid: int) -> tuple[float, float, float]:
    """Resident memory, what of it is the process's own, and what is pages of files, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return tuple(int(re.search(rf"{k}:\s+(\d+)", status)[1]) / 1024 for k in ("VmRSS", "RssAnon", "RssFile"))  # type: ignore


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=200_000)
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=2500, help="packets/s")
    parser.add_argument("--after", type=int, default=60, help="seconds to look on afterwards")
    chosen = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("network namespaces need root")
    folder = Path(tempfile.mkdtemp(prefix="siptrail-open-"))
    process = None
    try:
        capture, count = folder / "open.pcap", 0
        with capture.open("wb") as file:
            file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1))
            for count, frame in enumerate(frames(chosen.calls, chosen.streams), 1):  # noqa: B007
                file.write(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)
        with wire():
            command = [sys.executable, "-m", "siptrail.cli", "run", "-i", "bench1", "--store", str(folder / "store")]
            with (folder / "log").open("wb") as log:
                process = subprocess.Popen(
                    ["ip", "netns", "exec", TO, *command, "--listen", LISTEN], cwd=HERE.parent, stdout=log, stderr=log
                )
            until = time.monotonic() + 60
            while b"web page" not in (folder / "log").read_bytes() and time.monotonic() < until:
                time.sleep(0.2)
            peak = memory(process.pid)[0]
            print(f"before: {peak:.0f} MB", flush=True)
            sending = threading.Thread(target=replay, args=(capture, chosen.rate, count // chosen.rate + 1))
            sending.start()
            began = told = time.monotonic()
            until = began + count / chosen.rate + chosen.after
            while time.monotonic() < until:
                time.sleep(0.5)
                whole, own, pages = memory(process.pid)
                peak = max(peak, whole)
                if time.monotonic() - told >= 10:
                    told = time.monotonic()
                    print(f"{told - began:5.0f} s: {whole:4.0f} MB ({own:.0f} its own, {pages:.0f} files)", flush=True)
            sending.join()
            found = ask("interfaces")["interfaces"]
            process.send_signal(signal.SIGTERM)
            process.wait(120)
            print(f"{chosen.calls:,} open calls, {chosen.streams:,} open TCP streams: at most {peak:.0f} MB")
            print(f"the interface says: {found}")
    finally:
        if process is not None and process.poll() is None:
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
