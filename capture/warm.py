"""Compile (or load from the cache) every kernel of the hot path by running one packet through it."""

from __future__ import annotations

import numpy as np

from capture.frames import FrameBlock, Interface
from capture.pipeline import Decoder, MessageBlock

_SIP = (
    b"OPTIONS sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2\r\nFrom: <sip:b@x>;tag=1\r\nTo: <sip:a@x>\r\n"
    b"Call-ID: warm\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)


def warm_up(streams: bool = True) -> list[MessageBlock]:
    """Returns the message blocks of made-up packets, for layers above to warm their own kernels with. `streams`: those
    of TCP, too, which a capture file may never need."""
    ports = (5060).to_bytes(2, "big") * 2
    udp = ports + (len(_SIP) + 8).to_bytes(2, "big") + b"\0\0" + _SIP
    tcp = ports + bytes(8) + b"\x50\x18" + bytes(6) + _SIP
    frames = [bytes(12) + b"\x08\0" + _ip(17, udp)] + [bytes(12) + b"\x08\0" + _ip(6, tcp)] * streams
    sizes = np.array([len(f) for f in frames], np.int32)
    starts = np.cumsum(sizes) - sizes
    block = FrameBlock(
        np.frombuffer(b"".join(frames), np.uint8).copy(),
        starts.astype(np.int64),
        sizes,
        sizes,
        np.full(len(frames), 10**18, np.int64),
        np.zeros(len(frames), np.int32),
        (Interface("warm", 1),),
    )
    return Decoder().feed(block)


def _ip(proto: int, body: bytes) -> bytes:
    head = b"\x45\0" + (len(body) + 20).to_bytes(2, "big") + b"\0\1\0\0\x40" + bytes((proto, 0, 0))
    return head + bytes((192, 0, 2, 2, 192, 0, 2, 1)) + body
