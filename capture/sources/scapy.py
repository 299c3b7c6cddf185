"""Live frames by way of scapy, for systems without AF_PACKET (needs the extra siptrail[scapy]; slow, but portable).

It owns scapy's listening sockets and turns what they yield into frame blocks. It uses none of scapy's dissectors.
Unlike the ring it looks at configured ports and fragments only, and does not find an interface again that was removed.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable
from typing import Any

import numpy as np

from capture import bpf
from capture.frames import FrameBlock, Interface
from capture.netdevices import ETHERNET, Device, list_interfaces
from sip.errors import Unreachable

MOST_FRAMES = 4096
SNAP = 0x40000
GATHER = 0.05
"""Seconds that a block is filled for, once its first frame is there."""
LINUX = sys.platform.startswith("linux")
SOL_PACKET, IGNORE_OUTGOING = 263, 23
"""linux/if_packet.h"""


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
            try:
                layer, data, stamp = self._socket.recv_raw(SNAP)
            except OSError as error:
                if frames:
                    break
                raise Unreachable(
                    f"interface {self.name}: {error.strerror}; recording it goes on once it is up"
                ) from error
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

    @property
    def socket(self) -> Any:
        """The operating system's socket."""
        return self._socket.ins

    cut = 0
    """Frames whose ends are missing; scapy cannot tell."""

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
        raise Unreachable(f"recording {interface} with scapy needs the extra: pip install 'siptrail[scapy]'") from error
    try:
        sock = conf.L2listen(iface=interface, filter=expression or None)
    except (OSError, ValueError, Scapy_Exception) as error:
        reason = " ".join(str(error).split())
        raise Unreachable(f"scapy cannot listen on {interface}: {reason}; check -i, and run as root") from error
    return Sniffer(interface, sock, dict(conf.l2types.layer2num))


def open_sniffers(
    interfaces: Iterable[str], filter: str | None, sip_ports: Iterable[int], ws_ports: Iterable[int]
) -> dict[str, Sniffer]:
    """Listen on these interfaces, or on all that are up, through the user's expression or `default_expression`."""
    devices = {d.name: d for d in list_interfaces()}
    names = [n for n in interfaces if n != "any"] or [d.name for d in devices.values() if d.up]
    opened: dict[str, Sniffer] = {}
    try:
        for name in dict.fromkeys(names):
            if (found := devices.get(name)) is None:
                raise Unreachable(f"no interface {name!r} to record: there are {', '.join(devices)}")
            if filter and LINUX:
                bpf.compile_user(filter, found.link_type)
            opened[name] = open_sniffer(name, filter or default_expression(sip_ports, ws_ports, found))
            _leave_out_copies(opened[name], found)
    except BaseException:
        for sniffer in opened.values():
            sniffer.close()
        raise
    return opened


def default_expression(sip_ports: Iterable[int], ws_ports: Iterable[int], device: Device) -> str:
    """Signalling ports, and every fragment: all but the first one of a datagram carry no ports."""
    ports = " or ".join(f"port {p}" for p in sorted({*sip_ports, *ws_ports}))
    wanted = f"{ports} or (ip[6:2] & 0x3fff != 0) or (ip6 proto 44)"
    # Linux takes VLAN tags off before filters run. Elsewhere they move everything behind them.
    return wanted if LINUX or device.link_type != ETHERNET else f"{wanted} or (vlan and ({wanted}))"


def _leave_out_copies(sniffer: Sniffer, device: Device) -> None:
    """On Linux's loopback interface every packet is seen leaving and arriving."""
    if device.loopback and LINUX:
        with contextlib.suppress(OSError):  # kernels before 4.20
            sniffer.socket.setsockopt(SOL_PACKET, IGNORE_OUTGOING, 1)
