"""Frames of a capture file, and what a parallel tcpdump saw: the truth that the recorder is held against."""

from __future__ import annotations

import re
import signal
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import dpkt

from fixtures.real.namespace import Namespace
from tests.end_to_end.network import WIRE
from tests.end_to_end.patience import until

_CALL_ID = re.compile(rb"^Call-ID: *(\S+)\r$", re.M)


@dataclass(frozen=True)
class Seen:
    """One frame with SIP in it."""

    ts: float
    data: bytes
    call_id: str
    payload: bytes


def frames(file: Path) -> list[Seen]:
    """The SIP frames of a capture in its order; a frame that is cut at the end of a growing file is left out."""
    out = []
    with file.open("rb") as stream:
        for ts, data in dpkt.pcap.Reader(stream):
            ip = dpkt.ethernet.Ethernet(data).data
            found = _CALL_ID.search(ip.data.data) if isinstance(ip.data, dpkt.udp.UDP) else None
            if found:
                out.append(Seen(float(ts), data, found[1].decode(), ip.data.data))
    return out


def times_seen(some: list[Seen]) -> Counter[bytes]:
    """How often each frame is there."""
    return Counter(frame.data for frame in some)


class Tcpdump:
    """A second pair of eyes on the wire."""

    def __init__(self, namespace: Namespace, folder: Path) -> None:
        self.file = folder / "tcpdump.pcap"
        log = folder / "tcpdump.log"
        words = f"tcpdump -i {WIRE} -n -U --immediate-mode -B 8192 -Z root -w {self.file} udp"
        with log.open("wb") as output:
            self._process = namespace.start(words.split(), output)
        until(lambda: b"listening on" in log.read_bytes(), "tcpdump does not listen")

    def frames(self) -> list[Seen]:
        """All so far."""
        return frames(self.file)

    def stop(self) -> list[Seen]:
        """All there are."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(20)
        return self.frames()
