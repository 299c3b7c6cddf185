"""Live frames by way of scapy, for systems without AF_PACKET (needs the extra siptrail[scapy]; slow, but portable).

It owns a scapy listening socket and turns what it yields into frame blocks. It uses none of scapy's dissectors.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from capture.frames import FrameBlock, Interface
from sip.errors import Unreachable

MOST_FRAMES = 4096
SNAP = 0x40000
GATHER = 0.05
"""Seconds that a block is filled for, once its first frame is there."""


class Sniffer:
    """Frames of one interface. Made by `open_sniffer`."""

    def __init__(self, name: str, sock: Any, link_types: Any) -> None:
        self.name = name
        self._socket = sock
        self._link_types = link_types
        self._packets = 0

    def poll(self, timeout: float) -> FrameBlock | None:
        """The frames that are there, waiting up to `timeout` seconds for some; None when there were none."""
        frames: list[tuple[bytes, int, int]] = []
        now = time.monotonic()
        end = now + max(0.0, timeout)
        while len(frames) < MOST_FRAMES and self._socket.select([self._socket], max(0.0, end - now)):
            layer, data, stamp = self._socket.recv_raw(SNAP)
            if data:
                at = time.time_ns() if stamp is None else round(float(stamp) * 1_000_000) * 1000
                frames.append((bytes(data), at, self._link_types.get(layer, 1)))
                if len(frames) == 1:
                    end = min(end, time.monotonic() + GATHER)
            now = time.monotonic()
            if now >= end:
                break
        if not frames:
            return None
        self._packets += len(frames)
        size = np.array([len(data) for data, _, _ in frames], np.int32)
        links = sorted({link for _, _, link in frames})
        return FrameBlock(
            np.frombuffer(b"".join(data for data, _, _ in frames), np.uint8),
            np.concatenate([np.zeros(1, np.int64), np.cumsum(size, dtype=np.int64)[:-1]]),
            size,
            size.copy(),
            np.array([at for _, at, _ in frames], np.int64),
            np.array([links.index(link) for _, _, link in frames], np.int32),
            tuple(Interface(self.name, link) for link in links),
        )

    def losses(self) -> tuple[int, int]:
        """(packets seen, packets lost); scapy cannot tell what was lost, so that is always 0."""
        return self._packets, 0

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


def open_sniffer(interface: str, expression: str) -> Sniffer:
    """Listen on one interface through a pcap-filter expression ('' for everything)."""
    try:
        from scapy.all import conf
        from scapy.error import Scapy_Exception
    except ImportError as error:
        raise Unreachable("capturing with scapy needs the extra: pip install 'siptrail[scapy]'") from error
    try:
        sock = conf.L2listen(iface=interface, filter=expression or None)
    except (OSError, ValueError, Scapy_Exception) as error:
        reason = " ".join(str(error).split())
        raise Unreachable(f"scapy cannot listen on {interface}: {reason}") from error
    return Sniffer(interface, sock, dict(conf.l2types.layer2num))
