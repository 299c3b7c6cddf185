"""Compile (or load from the cache) every kernel of the hot path by running one packet through it."""

from __future__ import annotations

import numpy as np

from capture.frames import FrameBlock, Interface
from capture.pipeline import Decoder, MessageBlock

_SIP = (
    b"OPTIONS sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2\r\nFrom: <sip:b@x>;tag=1\r\nTo: <sip:a@x>\r\n"
    b"Call-ID: warm\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)


def warm_up() -> list[MessageBlock]:
    """Returns the message blocks of one made-up packet, for layers above to warm their own kernels with."""
    udp = (5060).to_bytes(2, "big") * 2 + (len(_SIP) + 8).to_bytes(2, "big") + b"\0\0" + _SIP
    ip = (
        b"\x45\0"
        + (len(udp) + 20).to_bytes(2, "big")
        + b"\0\1\0\0\x40\x11\0\0"
        + bytes((192, 0, 2, 2, 192, 0, 2, 1))
        + udp
    )
    frame = np.frombuffer(bytes(12) + b"\x08\0" + ip, np.uint8).copy()
    one32 = np.array([len(frame)], np.int32)
    block = FrameBlock(
        frame,
        np.zeros(1, np.int64),
        one32,
        one32,
        np.array([10**18], np.int64),
        np.zeros(1, np.int32),
        (Interface("warm", 1),),
    )
    return Decoder().feed(block)
