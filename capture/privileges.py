"""The right to open raw sockets: whether it is there, how to get it, and giving up everything once they are open."""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from pathlib import Path

_PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP = 38, 24
_VERSION_3 = 0x20080522


def can_capture() -> bool:
    """Whether this process may open a packet socket."""
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except (PermissionError, OSError, AttributeError):
        return False
    return True


def missing_capability_text() -> str:
    """What is missing and how to grant it, in one line."""
    if not hasattr(socket, "AF_PACKET"):
        return "this system has no packet sockets; install siptrail[scapy] to record through libpcap"
    python = Path(sys.executable).resolve()
    return (f"the right to open raw sockets is missing (CAP_NET_RAW); grant it with `sudo setcap cap_net_raw+ep {python}`, "
            "run as root, or use the systemd unit")


def drop_capabilities() -> None:
    """Give up every capability of this process for good (capabilities(7)); sockets that are open stay open."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = ctypes.create_string_buffer(struct.pack("=Ii", _VERSION_3, 0))
    libc.capset(header, ctypes.create_string_buffer(24))
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
