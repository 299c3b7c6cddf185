"""Two network namespaces joined by one veth pair, for traffic that touches nothing else.

It owns the namespaces and every process started in them, and takes both away again. It knows nothing of SIP.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
NEAR, FAR = "192.0.2.10", "198.51.100.20"
WIRE = "near0"
"""The end of the wire that is recorded."""
_CLONE_NEWNET = 0x40000000


class Namespace:
    """One namespace: programs and Python functions run inside."""

    def __init__(self, role: str) -> None:
        self.name = f"siptrail-{role}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._started: list[subprocess.Popen[bytes]] = []
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self._threads = ThreadPoolExecutor(1, initializer=self._enter)
        self.ip("link set dev lo up")

    def _enter(self) -> None:
        # A thread has a network namespace of its own (setns(2)), and a socket keeps the one that it was made in.
        with open(f"/run/netns/{self.name}", "rb") as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")

    def ip(self, words: str) -> None:
        """`ip` inside."""
        subprocess.run(["ip", "-n", self.name, *words.split()], check=True, timeout=20)

    def inside(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call it in a thread that lives in the namespace."""
        return self._threads.submit(function, *args, **kwargs).result(60)

    def command(self, args: Sequence[str]) -> list[str]:
        """The words that run a program inside; the process is the program itself."""
        return ["ip", "netns", "exec", self.name, *args]

    def start(
        self,
        args: Sequence[str],
        output: IO[bytes] | None = None,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a program; `close` ends it at the latest."""
        process = subprocess.Popen(
            self.command(args),
            stdin=subprocess.DEVNULL,
            stdout=output or subprocess.DEVNULL,
            stderr=subprocess.STDOUT if output else subprocess.DEVNULL,
            cwd=cwd,
            env={**os.environ, "TERM": "xterm", **(env or {})},
        )
        self._started.append(process)
        return process

    def udp_ports(self) -> set[int]:
        """Ports that somebody listens on."""
        lines = self.inside(Path("/proc/thread-self/net/udp").read_text).splitlines()[1:]
        return {int(line.split()[1].rpartition(":")[2], 16) for line in lines}

    def close(self) -> None:
        """End what was started here, and the namespace."""
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait(20)
        self._threads.shutdown()
        subprocess.run(["ip", "netns", "del", self.name], check=True, timeout=20)


class Network:
    """`near` and `far` with a wire between them."""

    def __init__(self) -> None:
        self.near = Namespace("near")
        try:
            self.far = Namespace("far")
        except BaseException:
            self.near.close()
            raise

    def __enter__(self) -> Network:
        try:
            self.connect()
        except BaseException:
            self.__exit__()
            raise
        return self

    def connect(self) -> None:
        """Lay the wire (again)."""
        self.near.ip(f"link add name {WIRE} type veth peer name far0 netns {self.far.name}")
        for namespace, device, own, other in ((self.near, WIRE, NEAR, FAR), (self.far, "far0", FAR, NEAR)):
            namespace.ip(f"address add {own} peer {other} dev {device}")
            namespace.ip(f"link set dev {device} up")

    def cut(self) -> None:
        """Take the wire away; the interfaces at both ends vanish."""
        self.near.ip(f"link delete dev {WIRE}")

    def __exit__(self, *_: object) -> None:
        try:
            self.near.close()
        finally:
            self.far.close()
