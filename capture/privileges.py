"""What this process may do: open packet sockets, and give that right up once they are open.

Capabilities belong to threads: `drop_capabilities` reaches the calling thread and those it starts later, so call it
before other threads exist. It never asks for a right the process does not have.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue

VERSION_3 = 0x20080522
CAPTURE_NICE = -10
"""The priority of capture threads, where the system grants it (setpriority(2))."""
PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def can_capture() -> bool:
    """Whether a packet socket can be opened: tried, because a container may forbid it whatever the capabilities say."""
    if not hasattr(socket, "AF_PACKET"):
        return False
    try:
        # Protocol 0: such a socket is given no packet at all.
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except OSError:
        return False
    return True


def missing_capability_text() -> str:
    """One line: what is missing, and how to give it."""
    if not hasattr(socket, "AF_PACKET"):
        return "this system has no packet sockets; install siptrail[scapy] to record through libpcap"
    # setcap follows no symbolic link, and a virtual environment's python is one.
    python = os.path.realpath(sys.executable)
    return (
        "the right to open raw sockets is missing (CAP_NET_RAW); run as root, grant it with "
        f"`sudo setcap cap_net_raw+ep {python}`, or set AmbientCapabilities=CAP_NET_RAW in the systemd unit"
    )


def threads_with_capabilities() -> int:
    """How many threads of this process still hold a capability (0 where /proc cannot tell)."""
    count = 0
    try:
        tasks = os.listdir("/proc/self/task")
    except OSError:
        return 0
    for task in tasks:
        try:
            with open(f"/proc/self/task/{task}/status", encoding="ascii", errors="replace") as status:
                held = next((line for line in status if line.startswith("CapPrm:")), "CapPrm: 0")
        except OSError:
            continue  # the thread has just ended
        count += int(held.split()[1], 16) != 0
    return count


def become(uid: int, gid: int) -> None:
    """Go on as that user, with its main group alone. Needs root, and takes every capability with it."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def drop_capabilities() -> None:
    """Give up every capability of this thread for good, and forbid gaining any by running a program.

    Open packet sockets go on working, and can still be bound to an interface that went and came back.
    Raises OSError where the kernel refuses: a caller must not go on believing it has dropped them."""
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    if libc.capset(ctypes.byref(_Header(VERSION_3, 0)), ctypes.byref((_Data * 2)())) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"cannot drop capabilities: {os.strerror(error)}")
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"cannot set no_new_privs: {os.strerror(error)}")


class PreferredThreads:
    """Starts threads that the kernel runs before those that write, search and serve, where the system allows that.

    A thread inherits its priority from the one that starts it. Make this while the rights are there, change the user
    if need be (the C library does that in all threads, so all must have the right), then drop its capabilities."""

    def __init__(self) -> None:
        self.granted = False
        self._work: SimpleQueue[tuple[Callable[[], None], Future[None]]] = SimpleQueue()
        threading.Thread(target=self._run, name="capture-starter", daemon=True).start()
        self._do(self._prefer)

    def start(self, thread: threading.Thread) -> None:
        """`thread.start()`, with the priority of capture."""
        self._do(thread.start)

    def drop_capabilities(self) -> None:
        """`drop_capabilities()` of the thread that starts others, and so of these."""
        self._do(drop_capabilities)

    def _do(self, what: Callable[[], None]) -> None:
        done: Future[None] = Future()
        self._work.put((what, done))
        done.result()

    def _prefer(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), CAPTURE_NICE)
            self.granted = True

    def _run(self) -> None:
        while True:
            what, done = self._work.get()
            try:
                what()
            except BaseException as error:
                done.set_exception(error)
            else:
                done.set_result(None)
