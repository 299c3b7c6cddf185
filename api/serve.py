"""The HTTP server as a thread of the service: uvicorn, bound before it starts so that errors are one line."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import threading
import time

import uvicorn
from fastapi import FastAPI

from sip.errors import SiptrailError, Unreachable

START_SECONDS = 20.0
LONGEST_REQUEST = 1 << 20
"""Bytes of request line and headers: a Call-ID may be long, and grows threefold when encoded."""

NICE = 5
"""How much less urgent answers are than recording."""


class ApiServer:
    """`start()` returns when requests are answered; `stop()` when none is running any more."""

    def __init__(self, app: FastAPI, host: str = "127.0.0.1", port: int = 0) -> None:
        self.app = app
        self.host = host
        self.port = port
        """0 takes any free port; after `start` the one taken."""
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    def start(self, host: str | None = None, port: int | None = None) -> None:
        """Bind and serve; Unreachable when the address cannot be had."""
        self.host = host if host is not None else self.host
        self.port = port if port is not None else self.port
        sock = bind(self.host, self.port)
        self.port = sock.getsockname()[1]
        config = uvicorn.Config(
            self.app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            h11_max_incomplete_event_size=LONGEST_REQUEST,
            timeout_graceful_shutdown=3,
            backlog=4096,
        )
        server = uvicorn.Server(config)

        def run() -> None:
            _politely()  # and so is every thread that this one starts
            server.run(sockets=[sock])

        thread = threading.Thread(target=run, name="api", daemon=True)
        thread.start()
        until = time.monotonic() + START_SECONDS
        while not server.started:
            if not thread.is_alive() or time.monotonic() > until:
                server.should_exit = True
                sock.close()
                raise Unreachable(f"the API did not start on {self.host}:{self.port}; the log says why")
            time.sleep(0.01)
        self._server, self._thread = server, thread

    def stop(self) -> None:
        """Let running requests end (a few seconds at most), then close the port."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join(10)
        self._server = self._thread = None


def _politely() -> None:
    """Recording goes before answering: Linux has a priority for each thread."""
    with contextlib.suppress(AttributeError, OSError):
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, max(os.getpriority(os.PRIO_PROCESS, thread), NICE))


def bind(host: str, port: int) -> socket.socket:
    """A listening address, or one line saying why not."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, proto, _, address = found[0]
        sock = socket.socket(family, kind, proto)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        why = error.strerror or str(error)
        raise Unreachable(
            f"cannot listen on {host}:{port}: {why}; stop what uses it, or choose another with --listen"
        ) from error
    return sock


def check_bind(host: str, token: str | None, insecure: bool) -> None:
    """Refuse to show calls to the network without a token, unless that was asked for."""
    if token or insecure or is_loopback(host):
        return
    raise SiptrailError(
        f"refusing to listen on {host} without a token: anybody who reaches it could read every call; "
        "set --token (or SIPTRAIL_TOKEN), or --insecure if something in front of it checks who asks"
    )


def is_loopback(host: str) -> bool:
    """Only this machine can reach it."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
