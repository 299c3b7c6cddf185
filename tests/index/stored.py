"""Small stores for tests: SIP calls as frames, put in with their own times."""

from __future__ import annotations

import re
import struct
from pathlib import Path

from capture.frames import Frame
from index.archive import Archive
from index.columns import HOUR_NS
from index.findings import Verdict
from index.importing import import_file
from index.lake import Lake
from index.pcapfile import write_capture

START = 1_767_607_200_000_000_000
"""2026-01-05 10:00 UTC."""


def frame(payload: bytes, src: int = 5, dst: int = 10) -> bytes:
    """A UDP datagram in Ethernet."""
    udp = struct.pack(">HHHH", 5060, 5060, len(payload) + 8, 0) + payload
    ip = struct.pack(
        ">BBHHHBBH4s4s", 69, 0, 20 + len(udp), 1, 0, 64, 17, 0, bytes((203, 0, 113, src)), bytes((198, 51, 100, dst))
    )
    return bytes(12) + b"\x08\x00" + ip + udp


def message(start: str, call_id: str, cseq: str, padding: int = 0) -> bytes:
    """A SIP message with nothing unusual in it."""
    return (
        f"{start}\r\nVia: SIP/2.0/UDP 203.0.113.5;branch=z9hG4bK{call_id}{cseq.replace(' ', '')}\r\n"
        f"From: <sip:1001@a.example>;tag=1\r\nTo: <sip:2002@b.example>;tag=2\r\nCSeq: {cseq}\r\n"
        f"Call-ID: {call_id}\r\nX-Padding: {'x' * padding}\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def call(call_id: str, at: int, padding: int = 0) -> list[tuple[int, bytes]]:
    """Three messages of one call, with their times."""
    return [
        (at, frame(message("INVITE sip:2002@b.example SIP/2.0", call_id, "1 INVITE", padding))),
        (at + 10**6, frame(message("SIP/2.0 200 OK", call_id, "1 INVITE", padding), 10, 5)),
        (at + 2 * 10**6, frame(message("BYE sip:2002@b.example SIP/2.0", call_id, "2 BYE", padding))),
    ]


def capture(path: Path, *calls: list[tuple[int, bytes]]) -> Path:
    """A capture file with these calls."""
    packets = sorted(p for c in calls for p in c)
    path.write_bytes(write_capture(Frame(ts, 1, "eth0", len(data), data) for ts, data in packets))
    return path


def put(lake: Lake, path: Path, *calls: list[tuple[int, bytes]], at: int | None = None) -> Archive:
    """Import these calls into the store; `at`: when that is said to have been."""
    archive = Archive(lake, lambda: START)
    import_file(archive, str(capture(path, *calls)), "node", imported_at=at)
    archive.verdicts.remember(verdict(re.search(rb"Call-ID: (.*)\r\n", c[0][1])[1].decode(), c[0][0]) for c in calls)  # type: ignore[index]
    archive.verdicts.keep()
    return archive


def verdict(call_id: str, at: int) -> Verdict:
    """What was said of a call: of every second one nothing."""
    said = ("missing-ack", "error", '{"name": "missing-ack"}'), ("large-udp-message", "info", "{}")
    return Verdict(call_id, at, 3, at + HOUR_NS, "rules", said if len(call_id) % 2 else ())


def listed(lake: Lake) -> list[str]:
    """The Call-IDs in the store, sorted; every one with its three messages, in every table, once."""
    archive = Archive(lake, lambda: START)
    calls = archive.calls(None, 1_000_000)
    assert {c.messages for c in calls} <= {3}
    names = sorted(c.call_id for c in calls)
    cur = lake.cursor()
    frames = "SELECT call_id, 1 AS n FROM lake.frames UNION ALL SELECT call_id, frames FROM lake.packed"
    for source in ("SELECT call_id, 1 AS n FROM lake.messages", frames):
        rows = cur.execute(f"SELECT call_id, sum(n) FROM ({source}) GROUP BY call_id ORDER BY call_id").fetchall()
        assert rows == [(name, 3) for name in names], source
    return names
