"""`siptrail run` as a process of its own in a namespace, with its commands and its API; and a receiver of webhooks."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from fixtures.real.namespace import Namespace
from tests.end_to_end.network import WIRE
from tests.end_to_end.patience import until

TOP = Path(__file__).resolve().parents[2]
SIPTRAIL = [sys.executable, "-m", "siptrail.cli"]
LISTEN = "127.0.0.1:8060"
URL = f"http://{LISTEN}"
WEBHOOK_PORT = 8090
"""Inside a namespace every port is free."""


class Recorder:
    """Starts, asks and ends the recorder."""

    def __init__(
        self, namespace: Namespace, folder: Path, alert_clear: str = "5m", alert_rules: str | None = None
    ) -> None:
        self.namespace = namespace
        self.store = folder / "store"
        self._log = folder / "siptrail.log"
        self._env = {"SIPTRAIL_ALERT_CLEAR": alert_clear, "PYTHONUNBUFFERED": "1"}
        if alert_rules is not None:
            self._env["SIPTRAIL_ALERT_RULES"] = alert_rules
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it records."""
        options = f"-i {WIRE} --store {self.store} --listen {LISTEN} --webhook http://127.0.0.1:{WEBHOOK_PORT}/hook"
        before = len(self.log())
        with self._log.open("ab") as output:
            self.process = self.namespace.start([*SIPTRAIL, "run", *options.split()], output, TOP, self._env)
        until(lambda: "recording" in self.log()[before:] or self._ended(), "siptrail does not start", 60)
        assert not self._ended(), self.log()[before:]

    def _ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal, wait, and return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)

    def log(self) -> str:
        """Everything it has said."""
        return self._log.read_text() if self._log.exists() else ""

    def run(self, *words: str) -> str:
        """What a siptrail command prints when it asks this recorder."""
        done = subprocess.run(
            self.namespace.command([*SIPTRAIL, *words, "--url", URL]),
            cwd=TOP,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"siptrail {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def get(self, path: str) -> httpx.Response:
        """One request to the API."""
        return self.namespace.inside(httpx.get, path if path.startswith("http") else URL + path, timeout=30)

    def calls(self, filter: str = "") -> dict[str, dict[str, Any]]:
        """Calls by Call-ID."""
        answer = self.get(f"/api/v1/calls?limit=1000&filter={quote(filter)}")
        assert answer.status_code == 200, f"{answer.text}\n{self.log()}"
        found = answer.json()["calls"]
        assert len({c["call_id"] for c in found}) == len(found)
        return {c["call_id"]: c for c in found}

    def pcap(self, call_id: str) -> bytes:
        """A call's frames."""
        return self.get(f"/api/v1/calls/{quote(call_id, safe='')}/pcap").raise_for_status().content


class Webhook:
    """Takes notices; listens inside the namespace."""

    def __init__(self, namespace: Namespace) -> None:
        self.notices: list[dict[str, Any]] = []
        notices = self.notices

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                notices.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = namespace.inside(ThreadingHTTPServer, ("127.0.0.1", WEBHOOK_PORT), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
