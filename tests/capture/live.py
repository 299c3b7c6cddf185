"""`siptrail run` as a process of its own, with wires that tests can lay and cut: for tests of live capture."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from fixtures.real.namespace import Namespace
from tests.capture.wire import ether, ip4, sip, udp
from tests.end_to_end.patience import until

TOP = Path(__file__).resolve().parents[2]
LISTEN = "127.0.0.1:8060"
URL = f"http://{LISTEN}"
MAIN = "from siptrail.cli import main; main()"


class Wires:
    """A recorder's namespace, another one, and wires between them; all of it is gone after `with`."""

    def __init__(self) -> None:
        self.near = Namespace("near")
        try:
            self.far = Namespace("far")
        except BaseException:
            self.near.close()
            raise
        # Everybody may look into it: the recorder may run as another user.
        self.folder = Path(tempfile.mkdtemp(prefix="siptrail-live-"))
        self.folder.chmod(0o755)
        self.recorder: subprocess.Popen[bytes] | None = None
        self._idents = 0

    def __enter__(self) -> Wires:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.near.close()
        finally:
            self.far.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    # ---------------------------------------------------------------- wires

    def lay(self, *names: str) -> None:
        """Wires whose near ends have these names, and the far ones the same."""
        for name in names:
            self.near.ip(f"link add name {name} type veth peer name {name} netns {self.far.name}")
            for end in (self.near, self.far):
                end.ip(f"link set dev {name} up")

    def cut(self, name: str) -> None:
        """Take a wire away."""
        self.near.ip(f"link del dev {name}")

    def send(self, name: str, *frames: bytes) -> None:
        """Put frames on a wire, from its far end."""

        def put() -> None:
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
                sock.bind((name, 0))
                for frame in frames:
                    sock.send(frame)

        self.far.inside(put)

    def packet(self, message: bytes, sport: int = 5060, dport: int = 5060, **given: Any) -> bytes:
        """A frame with that message; each has an IP identification of its own."""
        self._idents += 1
        return ether(ip4(17, udp(message, sport, dport), **{"ident": self._idents & 0xFFFF, **given}))

    # ---------------------------------------------------------------- the recorder

    def command(self, *options: str) -> list[str]:
        """The words that start it."""
        store = str(self.folder / "store")
        return [sys.executable, "-c", MAIN, "run", "--store", store, "--listen", LISTEN, *options]

    def start(self, *options: str, command: Sequence[str] = (), **settings: str) -> None:
        """Returns when it records."""
        with (self.folder / "log").open("ab") as output:
            self.recorder = self.near.start(command or self.command(*options), output, TOP, environment(**settings))
        # As another user it may have to compile everything anew.
        until(lambda: "web page and API" in self.log() or self._ended(), "siptrail does not start", 300)
        assert not self._ended(), self.log()

    def open_to_all(self) -> list[str]:
        """What goes before a command to run it where everybody can read this Python, though root's home is closed."""
        closed = next((p for p in reversed(Path(os.__file__).parents) if not p.stat().st_mode & 1), None)
        if closed is None:
            return []
        kept = self.folder / "kept"
        kept.mkdir(exist_ok=True)
        script = (
            f"mount --bind {closed} {kept} && mount -t tmpfs -o mode=755 none {closed} && for d in $(ls -A {kept}); do "
            f"[ -d {kept}/$d ] && mkdir {closed}/$d && mount --bind {kept}/$d {closed}/$d; done; "
        )
        return ["unshare", "-m", "sh", "-c", script + 'exec "$@"', "sh"]

    def fails(self, *options: str, command: Sequence[str] = (), **settings: str) -> tuple[int, list[str]]:
        """Exit code and what it says, where it does not start."""
        done = subprocess.run(
            self.near.command(command or self.command(*options)),
            cwd=TOP,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, **environment(**settings)},
        )
        return done.returncode, done.stderr.splitlines()

    def _ended(self) -> bool:
        return self.recorder is None or self.recorder.poll() is not None

    def end(self) -> None:
        """As systemd ends it."""
        assert self.recorder is not None
        self.recorder.send_signal(signal.SIGTERM)
        assert self.recorder.wait(60) == 0, self.log()

    def log(self) -> str:
        """Everything it has said."""
        return (self.folder / "log").read_text()

    def run(self, *words: str) -> str:
        """What a command prints."""
        done = subprocess.run(
            self.near.command([sys.executable, "-c", MAIN, *words, "--url", URL]),
            cwd=TOP,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode in (0, 1), done.stderr
        return done.stdout

    def get(self, path: str) -> httpx.Response:
        """One request to the API."""
        return self.near.inside(httpx.get, URL + path, timeout=30).raise_for_status()

    def interfaces(self) -> dict[str, dict[str, Any]]:
        """What each has seen."""
        return {one["name"]: one for one in self.get("/api/v1/interfaces").json()["interfaces"]}

    def recording(self) -> dict[str, bool]:
        """Every interface, and whether it is recorded now."""
        return {name: one["recording"] for name, one in self.interfaces().items()}

    def calls(self) -> dict[str, dict[str, Any]]:
        """What is in the list, by Call-ID."""
        found = self.get("/api/v1/calls?limit=1000").json()["calls"]
        return {call["call_id"]: call for call in found}

    def until_calls(self, *call_ids: str) -> dict[str, dict[str, Any]]:
        """The list, once all of these are in it."""
        until(lambda: set(call_ids) <= self.calls().keys(), f"of {len(call_ids)} calls some are missing")
        return self.calls()

    def messages(self, call_id: str) -> list[dict[str, Any]]:
        """A call's messages."""
        found: list[dict[str, Any]] = self.get(f"/api/v1/calls/{quote(call_id, safe='')}/messages").json()["messages"]
        return found

    def findings(self, call_id: str) -> dict[str, dict[str, Any]]:
        """What is said about a call, by the finding's name."""
        found = json.loads(self.run("diagnose", call_id, "--json"))["findings"]
        return {one["name"]: one for one in found}

    def pcap(self, call_id: str) -> Path:
        """A call's frames as a file."""
        path = self.folder / "call.pcap"
        path.write_bytes(self.get(f"/api/v1/calls/{quote(call_id, safe='')}/pcap").content)
        return path


def environment(**settings: str) -> dict[str, str]:
    """Settings as variables; little memory for each ring."""
    return {"PYTHONUNBUFFERED": "1", "SIPTRAIL_RING_MB": "1"} | {
        f"SIPTRAIL_{k.upper()}": v for k, v in settings.items()
    }


def options(call_id: str, size: int = 0) -> bytes:
    """A request of its own, with so many bytes of body."""
    return sip(call_id, b"x" * size, "OPTIONS")
