"""What is fuzzed: every decoder of hostile bytes, each as a function from bytes to a text that tells all it found.

A decoder must neither raise nor say anything else when it is compiled than when it is interpreted: the text is what
runs in different modes are compared by. `COVERS` says which modules a target is there for.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from capture import ringwalk
from capture.careful import CarefulDecoder
from capture.frames import Frame, FrameBlock, Interface, frame_of
from capture.hep import HepError, HepStream, parse_hep
from capture.hepframes import kept, rebuild, to_payload
from capture.limits import DEFAULT_LIMITS
from capture.pipeline import Decoder, MessageBlock
from capture.sipstream import SipStream
from capture.sources.keylog import chunks_of, holds_secrets
from capture.sources.pcapfile import PcapFile
from capture.tlsrecords import TlsReader
from capture.websocket import WebStream
from index.columns import to_rows
from index.copies import Copies
from sip.errors import SiptrailError
from sip.message import parse_message
from tests.capture.wire import ether, ip4, sip, udp

Target = Callable[[bytes], str]
NEIGHBOUR = ether(ip4(17, udp(sip("neighbour")), src="192.0.2.99"))
"""Whatever stands before it, this message must be found."""


def digest(*parts: bytes) -> str:
    """Bytes in few letters."""
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


def frames_of(capture: bytes) -> tuple[tuple[Interface, ...], list[tuple[int, bytes, int]]]:
    """The frames (interface, bytes, time) of a capture file's bytes; none where it is no capture."""
    out: list[tuple[int, bytes, int]] = []
    interfaces: tuple[Interface, ...] = ()
    for block in _blocks(capture)[0]:
        # A file's own name would differ from run to run.
        interfaces = tuple(Interface(f"eth{n}", i.link_type) for n, i in enumerate(block.interfaces))
        for n in range(len(block)):
            f = frame_of(block, n)
            out.append((int(block.interface[n]), f.data, f.ts))
    return interfaces, out


def _blocks(capture: bytes) -> tuple[list[FrameBlock], str]:
    with tempfile.NamedTemporaryFile(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as file:
        file.write(capture)
        file.flush()
        try:
            source = PcapFile(file.name)
        except SiptrailError:
            return [], "refused"
        try:
            return list(source.blocks()), source.damage or ""
        except SiptrailError as error:
            return [], type(error).__name__
        finally:
            source.close()


def _told(found: list[MessageBlock]) -> str:
    """Everything of some messages, also as rows."""
    out, copies = [], Copies(1 << 6)
    for block in found:
        copies.mark(block)
        rows = to_rows(block, "node")
        for table in (rows.messages, rows.frames):
            table.validate(full=True)
            out.append(digest(repr(table.to_pylist()).encode()))
        out.append(str(len(block)))
    return " ".join(out)


def frames(capture: bytes) -> str:
    """Frames of any link: the kernels, the careful path, reassembly, rows. A few in a block, and again one by one."""
    interfaces, found = frames_of(capture)
    if not interfaces:
        return "no frames"
    found = [*found, (len(interfaces), NEIGHBOUR, found[-1][2] if found else 0)]
    interfaces = (*interfaces, Interface("end", 1))
    decoder, careful = Decoder(), CarefulDecoder()
    blocks = list[MessageBlock]()
    for at in range(0, len(found), 3):  # streams are taken by the kernel from the second block on
        blocks += decoder.feed(_block(found[at : at + 3], interfaces))
    blocks += decoder.flush()
    text = _told(blocks)
    each = [p for number, data, ts in found for p in careful.feed(Frame(ts, *_of(interfaces[number]), len(data), data))]
    each += careful.flush()
    fast = sorted(bytes(b.data[s : s + n]) for b in blocks for s, n in zip(b.start, b.length, strict=True))
    times = [ts for _, _, ts in found]
    if max(times) - min(times) < DEFAULT_LIMITS.hole_ns:  # else what waits may be given up a frame sooner or later
        assert fast == sorted(p.data for p in each), "the fast path and the careful one differ"
    assert sip("neighbour") in fast, "a frame cost its neighbour"
    assert decoder.counters.packets == len(found)
    return f"{text} {decoder.counters} {decoder.tls_peers()} {digest(*[p.data for p in each])} {careful.counters}"


def _of(interface: Interface) -> tuple[int, str]:
    return interface.link_type, interface.name


def _block(found: list[tuple[int, bytes, int]], interfaces: tuple[Interface, ...]) -> FrameBlock:
    sizes = np.array([len(data) for _, data, _ in found], np.int32)
    return FrameBlock(
        np.frombuffer(b"".join(data for _, data, _ in found), np.uint8).copy(),
        np.concatenate(([0], np.cumsum(sizes)[:-1])).astype(np.int64),
        sizes,
        sizes,
        np.array([ts for _, _, ts in found], np.int64),
        np.array([number for number, _, _ in found], np.int32),
        interfaces,
    )


def files(capture: bytes) -> str:
    """pcap and pcapng themselves, gzipped or not."""
    blocks, damage = _blocks(capture)
    with tempfile.NamedTemporaryFile() as file:
        file.write(capture)
        file.flush()
        secrets = holds_secrets(file.name)
    for block in blocks:
        ends = block.offset + block.captured
        assert (block.captured >= 0).all() and (block.offset >= 0).all() and (ends <= len(block.data)).all()
    columns = [
        np.concatenate([getattr(b, name) for b in blocks] or [np.zeros(0)]).tobytes()
        for name in ("captured", "original", "ts", "interface")
    ]
    return f"{digest(*columns)} {sum(map(len, blocks))} {damage} {secrets}"


def ring(memory: bytes) -> str:
    """A block of a TPACKET_V3 ring."""
    size = max(64, len(memory))
    data = np.zeros(size, np.uint8)
    data[: len(memory)] = np.frombuffer(memory, np.uint8)
    out, n = np.zeros(2 * size + 64, np.uint8), 256
    columns = np.zeros(n, np.int64), np.zeros(n, np.int32), np.zeros(n, np.int32), np.zeros(n, np.int64)
    told = []
    for swapped in (False, True):
        used, found = ringwalk.walk_block(data, 0, size, swapped, False, True, out, 0, *columns, 0)
        assert 0 <= used <= len(out) and 0 <= found <= n
        told.append(f"{used} {found} {digest(out[:used].tobytes(), *[c[:found].tobytes() for c in columns])}")
    return " ".join(told)


def _pieces(data: bytes) -> list[bytes]:
    """The rest cut into pieces, as the first bytes say."""
    if len(data) < 2:
        return [data]
    step, data = 1 + data[0] * (data[1] & 7), data[2:]
    return [data[at : at + step] for at in range(0, len(data), step)]


def _stream(reader: SipStream | WebStream, data: bytes) -> str:
    out, position = [], 0
    for number, piece in enumerate(_pieces(data)):
        out += reader.feed(piece)
        position += len(piece)
        if len(piece) == 13 and number % 7 == 3:
            out += reader.gap(5)
            position += 5
    out += reader.finish()
    for first, second in pairwise(out):
        assert first.end <= second.start, "messages overlap"
    assert all(0 <= c.start <= c.end <= position for c in out)
    return f"{digest(*[c.data for c in out])} {[c.flags for c in out]} {reader.transport}"


def streams(data: bytes) -> str:
    """SIP in a stream."""
    return _stream(SipStream(4096), data)


def websockets(data: bytes) -> str:
    """HTTP, WebSocket frames, deflate."""
    return _stream(WebStream(4096), data)


def tls(data: bytes) -> str:
    """Records, hellos, alerts."""
    reader, out = TlsReader(), []
    for piece in _pieces(data):
        out += reader.feed(piece)
    return f"{out!a} {reader.done}"


def hep(data: bytes) -> str:
    """A packet of any version, and what is kept and rebuilt of it."""
    try:
        packet = parse_hep(data)
    except HepError as error:
        return str(error)
    frame = kept(data, packet, 10**18, "192.0.2.1", "::1")
    again = rebuild([frame])
    payload = to_payload(packet, (frame,))
    if payload is not None:
        assert [p.data for p in CarefulDecoder().feed(frame)] == [payload.data], "what is kept says something else"
    return f"{packet!a} {payload and payload.transport} {digest(*[f.data for f in again.frames])} {again.comment!a}"


def hep_streams(data: bytes) -> str:
    """Packets in a stream."""
    stream, out = HepStream(), list[bytes]()
    for piece in _pieces(data):
        out += stream.feed(piece)
    return f"{digest(*out)} {len(out)} {stream.lost}"


def decrypted(data: bytes) -> str:
    """A line of what tshark decrypted."""
    try:
        return f"{list(chunks_of(data.decode('utf-8', 'replace')))!a}"
    except SiptrailError as error:
        return f"refused: {error!a}"


def messages(data: bytes) -> str:
    """One SIP message with all that is read of it on demand."""
    message = parse_message(data)
    return f"{message!a} {message.sdp!a} {message.from_!a} {message.to!a} {message.cseq}"


TARGETS: dict[str, Target] = {
    "frames": frames,
    "files": files,
    "ring": ring,
    "streams": streams,
    "websockets": websockets,
    "tls": tls,
    "hep": hep,
    "hep_streams": hep_streams,
    "decrypted": decrypted,
    "messages": messages,
}
COVERS = {
    "frames": "careful decode gather headernames hosts ipfragments links natbody natscan pipeline scan sctp "
    "tcpdirection tcpfast tcprefused tcpstream tlspeers tunnels words",
    "files": "walk sources.pcapfile",
    "ring": "ringwalk",
    "streams": "sipstream",
    "websockets": "websocket",
    "tls": "tlsrecords",
    "hep": "hep hepframes",
    "hep_streams": "hep",
    "decrypted": "sources.keylog",
}
"""Modules of capture/ by target."""
NO_DECODERS = {
    "bpf", "flags", "frames", "jit", "limits", "machine", "netdevices", "packetsockets", "ports", "privileges", "warm",
    "sources.hep", "sources.ring", "sources.rings", "sources.scapy",
}  # fmt: skip
"""Modules that read no bytes from the wire: they open, count and hand over."""
