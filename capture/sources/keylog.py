"""Messages that TLS hides in a capture file, read where its keys are known: a key log (SSLKEYLOGFILE), or secrets that
are embedded in a pcapng.

tshark decrypts, once and before the file is read; all it hands over is which frame completed which bytes of which
connection. Those bytes are cut into messages here as those of plain TCP are (`capture.tcpstream`), with the encrypted
frames as the messages' frames. It owns tshark's process and its temporary folder; of plain messages it sees nothing.
"""

from __future__ import annotations

import gzip
import os
import shutil
import struct
import subprocess
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import BinaryIO, NamedTuple

import numpy as np

from capture.careful import from_stream
from capture.flags import FRAGMENTED, TUNNELLED
from capture.frames import Frame, FrameBlock, Payload, frame_of
from capture.sources.pcapfile import PCAPNG_MAGIC
from capture.tcpdirection import Found, Segment
from capture.tcpstream import SYN, TcpStreams
from sip.errors import SiptrailError, Unreachable

INSTALL = "install tshark (Debian: apt install tshark)"
SECURE = {"tcp": "tls", "ws": "wss"}
FIELDS = (
    *("frame.number", "frame.protocols", "tcp.stream", "tcp.srcport", "tcp.dstport"),
    *("ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "ip.id", "tcp.segment", "ip.fragment", "ipv6.fragment", "data.data"),
)
PREFERENCES = (
    # One copy of the bytes, in order, whatever the capture holds.
    *("tcp.desegment_tcp_streams:TRUE", "tcp.reassemble_out_of_order:TRUE", "tcp.no_subdissector_on_error:TRUE"),
    *("tcp.check_checksum:FALSE", "ip.check_checksum:FALSE", "ip.defragment:TRUE", "ipv6.defragment:TRUE"),
    *("tls.desegment_ssl_records:TRUE", "tls.desegment_ssl_application_data:TRUE"),
)
READERS = ("http", "http2", "sip", "websocket", "msrp", "xmpp", "spdy")
"""What would take the decrypted bytes apart (by ALPN or their looks); without them they come as they are."""
FIRST_BLOCKS = 4 << 20
"""Secrets stand before the packets that need them: so far into a file they are looked for."""
SECRETS_BLOCK, PACKET_BLOCKS = 10, (2, 3, 6)
POLL_SECONDS = 0.1


class Chunk(NamedTuple):
    """What one frame completed of one direction's plain text."""

    frame: int
    """Number in the file, from 1."""
    stream: int
    key: bytes
    ip_id: int
    flags: int
    carriers: tuple[int, ...]
    """Earlier frames that hold the record's beginning, and this one."""
    data: bytes


@dataclass(frozen=True, slots=True)
class Keys:
    """A capture file and where its keys are."""

    path: str
    keylog: str | None
    """None: inside the file."""

    def decrypt(self, ports: frozenset[int], stop: Callable[[], bool] = lambda: False) -> Decryption | None:
        """Let tshark look through the file; None where it is missing and nobody asked for it by name."""
        if shutil.which("tshark") is None:
            if self.keylog is not None:
                raise Unreachable(f"--keylog needs tshark; {INSTALL}")
            return None
        return Decryption(self, ports, stop)


def keys_for(path: str, keylog: str | None) -> Keys | None:
    """What opens the TLS of this capture file; None where nothing does."""
    if keylog is None:
        return Keys(path, None) if path != "-" and holds_secrets(path) else None
    if path == "-":
        raise SiptrailError("--keylog needs a capture file, and standard input is none; save it to a file")
    try:
        with open(keylog, "rb") as file:
            file.read(1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Unreachable(f"cannot read the key log {keylog}: {reason}; check its name") from error
    return Keys(path, keylog)


def holds_secrets(path: str) -> bool:
    """Whether a pcapng has a Decryption Secrets Block in front of its first packet."""
    if not os.path.isfile(path):
        return False  # what was read of a pipe is gone
    try:
        with open(path, "rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            return _secrets_in(gzip.open(raw) if packed else raw)
    except (OSError, EOFError, struct.error, zlib.error):
        return False  # whoever reads the file says what is wrong with it


def _secrets_in(file: BinaryIO | gzip.GzipFile) -> bool:
    head = file.read(FIRST_BLOCKS)
    if head[:4] != PCAPNG_MAGIC:
        return False
    order, at = (">" if head[8:12] == b"\x1a\x2b\x3c\x4d" else "<"), 0
    while at + 12 <= len(head):
        kind, size = struct.unpack_from(order + "II", head, at)
        if kind == SECRETS_BLOCK or kind in PACKET_BLOCKS or size < 12:
            return bool(kind == SECRETS_BLOCK)
        at += size
    return False


class Decryption:
    """What tshark found; `feed` it the file's blocks in order for the messages that they complete."""

    def __init__(self, keys: Keys, ports: frozenset[int], stop: Callable[[], bool]) -> None:
        self.complaint: str | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="siptrail-")
        # A file without a name: plain text never stays behind, however this process ends.
        self._found = tempfile.TemporaryFile()  # noqa: SIM115
        self._rest = self._chunks()
        try:
            self._run(keys, ports, stop)
            self._needed: Counter[int] = Counter()
            """Frames that carry decrypted bytes, and how often each is asked for."""
            servers: set[int] = set()
            for chunk in self._chunks():
                self._needed.update(chunk.carriers)
                servers |= {int.from_bytes(chunk.key[-2:], "big"), int.from_bytes(chunk.key[-4:-2], "big")}
        except BaseException:
            self.close()
            raise
        if not self._needed and keys.keylog is not None and self.complaint is None:
            self.complaint = (
                f"nothing could be decrypted with the key log {keys.keylog}: it must come from these very connections, "
                "and the capture must hold their beginning"
            )
        # Plain text of any port may be SIP or a WebSocket: somebody handed out its keys.
        self._streams = TcpStreams(frozenset(servers))
        self._next: dict[tuple[int, bytes], int] = {}
        """Sequence number of a direction's next byte of plain text."""
        self._held: dict[int, Frame] = {}
        self._wanted = np.array(sorted(self._needed), np.int64)
        self._seen = 0
        self._chunk = next(self._rest, None)

    def feed(self, block: FrameBlock) -> list[Payload]:
        """The messages that these frames complete."""
        first, self._seen = self._seen + 1, self._seen + len(block)
        low, high = np.searchsorted(self._wanted, (first, self._seen + 1))
        for number in self._wanted[low:high].tolist():
            self._held[number] = frame_of(block, number - first)
        found: list[Found] = []
        while self._chunk is not None and self._chunk.frame <= self._seen:
            self._take(self._chunk, found)
            self._chunk = next(self._rest, None)
        return [_secure(f) for f in found]

    def flush(self) -> list[Payload]:
        """At the end: messages whose rest never came."""
        found: list[Found] = []
        self._streams.flush(found)
        return [_secure(f) for f in found]

    def close(self) -> None:
        """Let go of what was written meanwhile."""
        self._rest.close()
        self._found.close()
        self._folder.cleanup()

    def _take(self, chunk: Chunk, found: list[Found]) -> None:
        frames = tuple(self._held[n] for n in chunk.carriers if n in self._held)
        for number in chunk.carriers:
            self._needed[number] -= 1
            if not self._needed[number]:
                del self._needed[number]
                self._held.pop(number, None)
        if not frames:
            return  # tshark counts other frames than are here
        self._streams.tick(frames[-1].ts, found)
        name = (chunk.stream, chunk.key)
        # The same ports again are another connection: it starts elsewhere, with a SYN (RFC 9293 section 3.4).
        bits = 0 if name in self._next else SYN
        at = self._next.get(name, chunk.stream * 7919 & 0xFFFFFFFF)
        self._next[name] = (at + len(chunk.data) + (1 if bits else 0)) & 0xFFFFFFFF
        self._streams.segment(Segment(chunk.key, at, bits, chunk.data, 0, frames, chunk.flags, chunk.ip_id), found)

    def _chunks(self) -> Generator[Chunk, None, None]:
        self._found.seek(0)
        for line in self._found:
            yield from chunks_of(line.decode("ascii", "replace").rstrip("\r\n"))

    def _run(self, keys: Keys, ports: frozenset[int], stop: Callable[[], bool]) -> None:
        # A folder of its own: the user's preferences, plugins and "decode as" must not change what comes out.
        with tempfile.TemporaryFile() as complaints:
            process = subprocess.Popen(
                command(keys, ports),
                stdin=subprocess.DEVNULL,
                stdout=self._found,
                stderr=complaints,
                env={**os.environ, "WIRESHARK_CONFIG_DIR": self._folder.name, "LC_ALL": "C"},
            )
            try:
                while True:
                    try:
                        code = process.wait(POLL_SECONDS)
                        break
                    except subprocess.TimeoutExpired:
                        if stop():
                            process.kill()
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            complaints.seek(0)
            told = complaints.read().decode("utf-8", "replace").strip().splitlines()
        if code and not stop():
            reason = " ".join((told or [f"it ended with code {code}"])[-1].split())[:200]
            # What was found so far counts, and plain messages do not depend on it.
            self.complaint = f"not all could be decrypted: {reason}"


def command(keys: Keys, ports: frozenset[int]) -> list[str]:
    """The program and its arguments. Every value is an argument of its own: no shell reads it."""
    out = ["tshark", "-n", "-Q", "-r", os.path.abspath(keys.path), "-Y", "tls && data", "-T", "fields"]
    for preference in PREFERENCES:
        out += ["-o", preference]
    if keys.keylog is not None:
        out += ["-o", f"tls.keylog_file:{os.path.abspath(keys.keylog)}"]
    for name in READERS:
        out += ["--disable-protocol", name]
    for port in sorted(ports):
        out += ["-d", f"tcp.port=={port},tls"]
    out += ["-d", "tls.port==1-65535,data"]
    for field in FIELDS:
        out += ["-e", field]
    return out


def chunks_of(line: str) -> Iterator[Chunk]:
    """One line of tshark's: a frame with decrypted bytes, one chunk a record. Several values stand innermost last."""
    value = dict(zip(FIELDS, line.split("\t"), strict=False))
    layers = value.get("frame.protocols", "").split(":")
    below = [x for x in layers[: layers.index("tls")] if x in ("ip", "ipv6")] if "tls" in layers else []
    if not below or not value.get("data.data"):
        return
    network = below[-1]
    try:
        key = b"".join(
            (
                ip_address(_last(value[f"{network}.src"])).packed,
                ip_address(_last(value[f"{network}.dst"])).packed,
                int(_last(value["tcp.srcport"])).to_bytes(2, "big"),
                int(_last(value["tcp.dstport"])).to_bytes(2, "big"),
            )
        )
        number, stream = int(value["frame.number"]), int(_last(value["tcp.stream"]))
        ip_id = int(_last(value["ip.id"]), 16) if network == "ip" else -1
        segments = _numbers(value["tcp.segment"])
        fragments = _numbers(value["ip.fragment"]) + _numbers(value["ipv6.fragment"])
        records = [bytes.fromhex(record.replace(":", "")) for record in value["data.data"].split(",")]
    except (ValueError, OverflowError) as error:
        raise Unreachable(f"tshark answers in a way that is not understood: {line[:80]!r} ({error})") from error
    every = tuple(sorted({*segments, *fragments, number}))
    own = tuple(sorted({*fragments, number}))
    flags = (TUNNELLED if len(below) > 1 else 0) | (FRAGMENTED if fragments else 0)
    for n, data in enumerate(records):
        # Only the first record began in earlier segments, unless this one filled a hole before them.
        carriers = every if n == 0 or (segments and segments[-1] != number) else own
        yield Chunk(number, stream, key, ip_id, flags, carriers, data)


def _last(values: str) -> str:
    return values.rpartition(",")[2]


def _numbers(values: str) -> list[int]:
    return [int(value) for value in values.split(",") if value]


def _secure(found: Found) -> Payload:
    payload = from_stream(found)
    frames = tuple({id(f): f for f in payload.frames}.values())
    return replace(payload, transport=SECURE[payload.transport], frames=frames)
