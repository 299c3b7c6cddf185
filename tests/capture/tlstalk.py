"""TLS connections between a real client and a real server in memory, recorded as TCP segments: no socket, no root."""

from __future__ import annotations

import contextlib
import ssl
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capture.frames import Frame
from index.pcapfile import write_capture
from tests.capture.wire import A, B, ether, frame, ip4, tcp

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
NAME = "sip.example.com"


def certificate(folder: Path) -> Path:
    """A PEM file with a key and a certificate that nobody trusts."""
    path = folder / "server.pem"
    make = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={NAME} -keyout key.pem -out cert.pem"
    subprocess.run(make.split(), cwd=folder, check=True, capture_output=True, timeout=60)
    path.write_bytes((folder / "key.pem").read_bytes() + (folder / "cert.pem").read_bytes())
    return path


@dataclass
class Talk:
    """One connection. Frames pile up in `frames`, half a millisecond apart."""

    pem: Path
    version: ssl.TLSVersion = V13
    keylog: Path | None = None
    sport: int = 40001
    dport: int = 5061
    start: int = 0
    segment: int = 1400
    first_byte: int = 1000
    trusting: bool = True
    alpn: tuple[str, ...] = ()
    frames: list[Frame] = field(default_factory=list)

    def __post_init__(self) -> None:
        server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        server.load_cert_chain(self.pem)
        client.check_hostname = False
        client.verify_mode = ssl.CERT_NONE if self.trusting else ssl.CERT_REQUIRED
        for context in (server, client):
            context.minimum_version = context.maximum_version = self.version
            if self.alpn:
                context.set_alpn_protocols(list(self.alpn))
        if self.keylog is not None:
            client.keylog_filename = str(self.keylog)
        self._to_client, self._to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._from_client, self._from_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._client = client.wrap_bio(self._to_client, self._from_client, server_hostname=NAME)
        self._server = server.wrap_bio(self._to_server, self._from_server, server_side=True)
        self._next = {True: self.first_byte, False: 69_000 + self.first_byte}
        self._record(True, b"", bits=2)
        self._record(False, b"", bits=0x12)

    def _record(self, from_client: bool, data: bytes, bits: int = 0x18) -> None:
        src, dst, sport, dport = (A, B, self.sport, self.dport) if from_client else (B, A, self.dport, self.sport)
        packet = ether(ip4(6, tcp(data, self._next[from_client], bits, sport, dport), src=src, dst=dst))
        self.frames.append(frame(packet, self.start + len(self.frames) * 500_000))
        self._next[from_client] += len(data) + (bits & 2 > 0)

    def carry(self, clients: bool = True, servers: bool = True) -> None:
        """Move what both sides want to send, as segments."""
        for from_client, out, into, wanted in (
            (True, self._from_client, self._to_server, clients),
            (False, self._from_server, self._to_client, servers),
        ):
            data = out.read() if wanted else b""
            for at in range(0, len(data), self.segment):
                self._record(from_client, data[at : at + self.segment])
            into.write(data)

    def hello(self) -> bytes:
        """The client's first bytes, taken off the wire."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._client.do_handshake()
        return self._from_client.read()

    def handshake(self) -> Talk:
        """As far as it goes."""
        for _ in range(8):
            for side in (self._client, self._server):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLError:
                    self.carry()
                    return self
                self.carry()
        return self

    def say(self, data: bytes, from_client: bool = True) -> Talk:
        """One record with these bytes."""
        side: Any = self._client if from_client else self._server
        side.write(data)
        self.carry()
        return self


def save(path: Path, *frames: Frame) -> Path:
    """A capture file with these frames, by time."""
    path.write_bytes(write_capture(sorted(frames, key=lambda f: f.ts)))
    return path
