"""Does memory stay flat? Simulated hours of traffic as fast as they go: `python benchmarks/steady.py --hours 24`.

Owns: traffic with a clock of its own, fed through the decoder into a real store that flushes every 15 simulated
seconds, keeps 7 days and tidies up every hour, as the service does. The catalogue knows only the real time, so what it
keeps for an hour is forgotten here by that. Prints the process's memory once a simulated hour.
"""

from __future__ import annotations

import argparse
import gc
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import siptrail  # noqa: F401  (before Arrow: it chooses the allocator)
from capture.frames import FrameBlock, Interface
from capture.pipeline import Decoder
from index.archive import Archive
from index.columns import to_rows
from index.lake import Lake
from index.retention import Limits
from index.upkeep import Upkeep
from siptrail.memory import give_back, share_heaps
from siptrail.warming import warm_up
from siptrail.watch import FailureWatch

SECOND = 1_000_000_000
STEP = 15
KEPT = 7 * 24 * 3600 * SECOND
CALL = (
    ("INVITE sip:441632960001@192.0.2.2 SIP/2.0", "1 INVITE", 0.0, True),
    ("SIP/2.0 100 Trying", "1 INVITE", 0.01, False),
    ("SIP/2.0 180 Ringing", "1 INVITE", 0.5, False),
    ("SIP/2.0 200 OK", "1 INVITE", 3.0, False),
    ("ACK sip:441632960001@192.0.2.2 SIP/2.0", "1 ACK", 3.01, True),
    ("BYE sip:441632960001@192.0.2.2 SIP/2.0", "2 BYE", 13.0, True),
    ("SIP/2.0 200 OK", "2 BYE", 13.02, False),
)


def template(
    calls: int, messages: tuple[tuple[str, str, float, bool], ...] = CALL, step: int = STEP
) -> tuple[FrameBlock, np.ndarray, np.ndarray]:
    """One step's frames with a Call-ID in which a number of ten digits can be written; where those digits stand."""
    pieces: list[bytes] = []
    times: list[float] = []
    for number in range(calls):
        begin = number * step / calls
        for line, cseq, after, onward in messages:
            tag = ";tag=b" if after else ""  # what begins has none yet
            text = (
                f"{line}\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK{number}\r\nMax-Forwards: 70\r\n"
                f"From: <sip:441632960002@192.0.2.1>;tag=a\r\nTo: <sip:441632960001@192.0.2.2>{tag}\r\n"
                f"Call-ID: 0000000000-{number}@192.0.2.1\r\nCSeq: {cseq}\r\nUser-Agent: steady\r\n"
                f"Subject: {'x' * 180}\r\nContent-Length: 0\r\n\r\n"
            ).encode()
            a, b = (b"\xc0\0\x02\x01", b"\xc0\0\x02\x02") if onward else (b"\xc0\0\x02\x02", b"\xc0\0\x02\x01")
            udp = (5060).to_bytes(2, "big") * 2 + (len(text) + 8).to_bytes(2, "big") + b"\0\0" + text
            ip = b"\x45\0" + (len(udp) + 20).to_bytes(2, "big") + b"\0\1\0\0\x40\x11\0\0" + a + b + udp
            pieces.append(bytes(12) + b"\x08\0" + ip)
            times.append(begin + after)
    order = np.argsort(times, kind="stable")
    pieces = [pieces[i] for i in order]
    sizes = np.array([len(p) for p in pieces], np.int32)
    offsets = np.concatenate(([0], np.cumsum(sizes[:-1], dtype=np.int64)))
    data = np.frombuffer(b"".join(pieces), np.uint8).copy()
    digits = np.array([m.start(1) for m in re.finditer(rb"Call-ID: (\d{10})-", data.tobytes())])
    ts = (np.array(times)[order] * SECOND).astype(np.int64)
    block = FrameBlock(data, offsets, sizes, sizes, ts, np.zeros(len(sizes), np.int32), (Interface("steady", 1),))
    return block, digits, ts


def memory() -> tuple[float, float]:
    """Resident memory and what of it belongs to no file, in MB."""
    status = Path("/proc/self/status").read_text()
    return tuple(int(re.search(rf"{k}:\s+(\d+)", status)[1]) / 1024 for k in ("VmRSS", "RssAnon"))  # type: ignore


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--rate", type=int, default=1000, help="messages a simulated second")
    parser.add_argument("--memory", default="512MB", help="what DuckDB may use, as the setting `memory`")
    chosen = parser.parse_args()
    share_heaps()
    warm_up()
    folder = Path(tempfile.mkdtemp(prefix="siptrail-steady-"))
    now = 1_780_000_000 * SECOND
    lake = Lake(folder, chosen.memory)
    archive, upkeep = Archive(lake, lambda: now), Upkeep(lake, Limits(KEPT), "node", give_back=give_back)
    decoder, watch = Decoder(), FailureWatch()
    block, digits, ts = template(chosen.rate * STEP // len(CALL))
    places = digits[:, None] + np.arange(10)
    steps, began, hour_began = int(chosen.hours * 3600 / STEP), time.perf_counter(), time.time_ns()
    try:
        for step in range(steps):
            block.data[places] = np.frombuffer(f"{step:010d}".encode(), np.uint8)
            block.ts[:] = ts + now
            copy = FrameBlock(
                block.data.copy(), block.offset, block.captured, block.original, block.ts.copy(), block.interface,
                block.interfaces,
            )  # fmt: skip
            for messages in decoder.feed(copy):
                rows = to_rows(messages, "node")
                archive.add(rows)
                watch.observe(rows)
            watch.due(now)
            archive.flush()
            give_back()
            now += STEP * SECOND
            if (step + 1) % (3600 // STEP) == 0 or step == steps - 1:
                upkeep.round(now)
                upkeep.cleaner.clean(real := time.time_ns(), real - hour_began)
                hour_began = real
                gc.collect()
                give_back()
                resident, own = memory()
                done = (step + 1) * len(ts)
                size, rate = lake.size() / done, done / (time.perf_counter() - began)
                print(
                    f"hour {(step + 1) * STEP / 3600:5.1f}: {done:>11,} messages, {resident:5.0f} MB "
                    f"({own:4.0f} MB its own), {size:4.0f} bytes a message, {rate:,.0f}/s",
                    flush=True,
                )
    finally:
        archive.close()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
