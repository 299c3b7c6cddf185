"""Calls through a back-to-back user agent as packets: each leg with a Call-ID of its own. It owns the wire format."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from capture.frames import Frame
from capture.pipeline import Decoder
from capture.sources.pcapfile import PcapFile
from index.columns import Rows, to_rows
from index.copies import Copies
from index.pcapfile import write_capture

START = 1_767_607_200_000_000_000
MS = 1_000_000
CUSTOMER, SWITCH, FIRST, SECOND = "198.51.100.20", "192.0.2.10", "203.0.113.50", "203.0.113.60"
Packets = list[tuple[int, bytes]]
REASONS = {
    **{100: "Trying", 180: "Ringing", 200: "OK", 302: "Moved Temporarily", 404: "Not Found", 408: "Request Timeout"},
    **{486: "Busy Here", 487: "Request Terminated", 503: "Service Unavailable"},
}


def leg(
    call_id: str,
    src: str,
    dst: str,
    at: float,
    *events: tuple[float, int | str],
    number: str = "441632960077",
    caller: str = "493012345678",
    extra: str = "",
    contact: str = "",
    reasons: Mapping[int, str] = REASONS,
) -> Packets:
    """An INVITE `at` seconds after the start, and then responses (by code) and requests (by method) at their times.
    `extra` is a further header of all; `contact` stands in responses."""

    def text(what: int | str, method: str = "INVITE", cseq: int = 1) -> bytes:
        if isinstance(what, int):
            first, asked, here = f"SIP/2.0 {what} {reasons[what]}", method, contact or f"sip:x@{dst}"
        else:
            first, asked, here = f"{what} sip:{number}@{dst} SIP/2.0", what, f"sip:x@{src}"
        lines = [
            first,
            f"Via: SIP/2.0/UDP {src}:5060;branch=z9hG4bK{call_id}{'' if method in ('INVITE', 'CANCEL') else method}",
            f"From: <sip:{caller}@{src}>;tag=a{call_id}",
            f"To: <sip:{number}@{dst}>" + (";tag=b" if what not in ("INVITE", "CANCEL", 100) else ""),
            f"Call-ID: {call_id}",
            f"CSeq: {cseq} {asked}",
            "Max-Forwards: 70",
            f"Contact: <{here}>",
            *([extra] if extra else []),
        ]
        return "\r\n".join([*lines, "Content-Length: 0", "", ""]).encode()

    out = [(START + int(at * 1000) * MS, frame(text("INVITE"), src, dst))]
    for when, what in events:
        stamp = START + int(when * 1000) * MS
        if isinstance(what, int):
            out.append((stamp, frame(text(what), dst, src)))
            if what >= 200:
                out.append((stamp + MS, frame(text("ACK", "ACK" if what < 300 else "INVITE"), src, dst)))
        else:
            out.append((stamp, frame(text(what, what, 2 if what == "BYE" else 1), src, dst)))
    return out


def frame(payload: bytes, src: str, dst: str) -> bytes:
    """A UDP datagram in Ethernet."""
    one, other = (bytes(int(x) for x in ip.split(".")) for ip in (src, dst))
    udp = struct.pack(">HHHH", 5060, 5060, len(payload) + 8, 0) + payload
    head = struct.pack(">BBHHHBBH4s4s", 69, 0, 20 + len(udp), 0, 0x4000, 64, 17, 0, one, other)
    return bytes(12) + b"\x08\x00" + head + udp


def capture(path: Path, *legs: Packets) -> Path:
    """A capture file with these legs."""
    packets = sorted(p for packets in legs for p in packets)
    path.write_bytes(write_capture(Frame(ts, 1, "eth0", len(data), data) for ts, data in packets))
    return path


def rows_of(path: Path) -> Iterable[Rows]:
    """What a service would have recorded of it."""
    decoder, copies = Decoder(), Copies()
    for frames in PcapFile(str(path)).blocks():
        for block in (*decoder.feed(frames), *decoder.flush()):
            copies.mark(block)
            yield to_rows(block, "n")
