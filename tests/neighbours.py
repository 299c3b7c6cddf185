"""Tests beside each other, where pytest has several workers (`-n 2`): none of them sees or starves another.

Each worker lives in a network namespace of its own when it may make one, so that what one test sends on loopback is
no news to another that records there. `@pytest.mark.alone` is for what the load of another test would fail, such as
what must not lose a packet: nothing else runs meanwhile.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
# The mounts come along: /sys shows the interfaces of the namespace that it was mounted in.
_SETTLE = "mount --make-rslave / && mount -t sysfs sysfs /sys && ip link set dev lo up"
_ROOM, _DOOR = Path(__file__), Path(__file__).with_name("conftest.py")
"""Files to lock that are there anyway."""
_RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID")
"""The same for all workers of a run; None in a process that has no neighbours."""


def move_out() -> None:
    """Leave the others' network; only root can, and only root records."""
    if _RUN is None or os.geteuid() != 0 or not shutil.which("unshare"):
        return
    # Not every machine lets root do so much: somebody else tries first.
    if subprocess.run(["unshare", "-m", "-n", "sh", "-c", _SETTLE], capture_output=True, timeout=60).returncode:
        return
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS | _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["sh", "-c", _SETTLE], check=True, timeout=60)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    if _RUN is None:
        return (yield)
    with _DOOR.open() as door, _ROOM.open() as room:
        # Who waits to be alone holds the door, so that others finish and none begins.
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        return (yield)
