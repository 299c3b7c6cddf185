"""TLS in a capture file, read with its keys: every message once, byte for byte, with its time, addresses, frames."""

from __future__ import annotations

import gzip
import os
import random
import ssl
import struct
import tempfile
from pathlib import Path

import pytest

from capture.flags import FRAGMENTED, TUNNELLED
from capture.frames import Frame, Payload
from capture.pipeline import TRANSPORTS, Decoder
from capture.sources.keylog import FIELDS, Chunk, Decryption, chunks_of, holds_secrets, keys_for
from capture.sources.pcapfile import PcapFile
from index.pcapfile import write_capture
from sip.errors import SiptrailError, Unreachable
from tests.capture.tlstalk import V12, V13, Talk, certificate, save
from tests.capture.wire import A6, B6, A, B, ether, frame, ip4, ip6, ok, sip, udp

pytestmark = pytest.mark.needs("openssl", "tshark")
PORTS = frozenset({5060, 5061, 5080})
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
)
SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
)


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def keylog(tmp_path: Path) -> Path:
    return tmp_path / "keys.log"


def read(path: Path, keylog: Path | None) -> tuple[list[Payload], str | None]:
    """What comes out of TLS in this file, in order, and the complaint."""
    keys = keys_for(str(path), str(keylog) if keylog is not None else None)
    assert keys is not None
    decryption = keys.decrypt(PORTS)
    assert decryption is not None
    try:
        out = [p for block in PcapFile(str(path)).blocks() for p in decryption.feed(block)]
        return out + decryption.flush(), decryption.complaint
    finally:
        decryption.close()


def plain(path: Path) -> int:
    """How many messages the usual path finds."""
    decoder = Decoder()
    blocks = [m for block in PcapFile(str(path)).blocks() for m in decoder.feed(block)]
    return sum(len(m) for m in blocks + decoder.flush())


def texts(payloads: list[Payload]) -> list[bytes]:
    return [p.data for p in payloads]


def websocket(data: bytes) -> bytes:
    """One unmasked text frame (RFC 6455 section 5.2)."""
    return bytes((0x81, 126)) + len(data).to_bytes(2, "big") + data


# ---------------------------------------------------------------- what is read


@pytest.mark.parametrize("version", [V12, V13])
def test_a_message_with_its_time_addresses_and_frames(
    pem: Path, keylog: Path, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    talk = Talk(pem, version, keylog).handshake()
    begun = len(talk.frames)
    talk.say(sip()).say(ok(), False)
    (request, answer), complaint = read(save(tmp_path / "a.pcap", *talk.frames), keylog)
    assert complaint is None
    assert (request.data, request.transport, request.ts) == (sip(), "tls", talk.frames[begun].ts)
    assert (request.src, request.sport, request.dst, request.dport) == (A, talk.sport, B, 5061)
    assert (answer.data, answer.src, answer.sport, answer.dst, answer.dport) == (ok(), B, 5061, A, talk.sport)
    assert [f.data for f in request.frames + answer.frames] == [f.data for f in talk.frames[begun:]]
    assert (request.ip_id, request.flags) == (77, 0)


def test_several_in_a_record_and_one_over_many(pem: Path, keylog: Path, tmp_path: Path) -> None:
    body = random.Random(1).randbytes(40_000)
    long, tail = sip("long", body), sip("tail")
    talk = Talk(pem, keylog=keylog, segment=1000).handshake()
    talk.say(sip("a") + sip("b") + long[:7])
    begun = len(talk.frames) - 1
    for at in range(7, len(long), 9000):
        talk.say(long[at : at + 9000] + (tail if at + 9000 >= len(long) else b""))
    found, _ = read(save(tmp_path / "a.pcap", *talk.frames), keylog)
    assert texts(found) == [sip("a"), sip("b"), long, tail]
    assert found[2].ts == talk.frames[-1].ts
    assert [f.data for f in found[2].frames] == [f.data for f in talk.frames[begun:]], "every segment, once"


def test_a_whole_record_behind_the_end_of_another_has_one_frame(pem: Path, keylog: Path, tmp_path: Path) -> None:
    talk = Talk(pem, keylog=keylog, segment=1200).handshake()
    talk._client.write(sip("first", bytes(2000)))
    talk.say(sip("second"))
    first, second = read(save(tmp_path / "a.pcap", *talk.frames), keylog)[0]
    assert [f.data for f in first.frames] == [f.data for f in talk.frames[-2:]]
    assert [f.data for f in second.frames] == [talk.frames[-1].data]


def test_websocket_over_tls(pem: Path, keylog: Path, tmp_path: Path) -> None:
    talk = Talk(pem, keylog=keylog, dport=8089, alpn=("http/1.1",)).handshake()
    talk.say(UPGRADE).say(SWITCHING, False).say(websocket(sip()) + websocket(ok("two"))).say(websocket(ok()), False)
    found, _ = read(save(tmp_path / "a.pcap", *talk.frames), keylog)
    assert [(p.data, p.transport) for p in found] == [(sip(), "wss"), (ok("two"), "wss"), (ok(), "wss")]


@pytest.mark.parametrize(
    ("port", "alpn"), [(5060, ()), (25061, ()), (443, ("h2", "http/1.1")), (5671, ("mqtt",)), (5222, ("xmpp-client",))]
)
def test_whatever_the_port_and_the_protocol_say(
    pem: Path, keylog: Path, tmp_path: Path, port: int, alpn: tuple[str, ...]
) -> None:
    talk = Talk(pem, keylog=keylog, dport=port, alpn=alpn).handshake().say(sip()).say(ok(), False)
    assert texts(read(save(tmp_path / "a.pcap", *talk.frames), keylog)[0]) == [sip(), ok()]


def test_lost_order_and_repeated_segments(pem: Path, keylog: Path, tmp_path: Path) -> None:
    talk = Talk(pem, keylog=keylog, segment=300).handshake()
    begun = len(talk.frames)
    talk.say(sip("a", bytes(1000))).say(sip("b", bytes(1000)))
    frames = talk.frames
    order = [*frames[:begun], *reversed(frames[begun:]), *frames[begun + 1 : begun + 3]]
    order = [Frame(frames[0].ts + n, f.link_type, f.interface, f.original, f.data) for n, f in enumerate(order)]
    found, _ = read(save(tmp_path / "a.pcap", *order), keylog)
    assert texts(found) == [sip("a", bytes(1000)), sip("b", bytes(1000))]
    assert {f.data for p in found for f in p.frames} >= {f.data for f in frames[begun:]}


def test_the_same_ports_again_and_two_connections_at_once(pem: Path, keylog: Path, tmp_path: Path) -> None:
    frames: list[Frame] = []
    for n, (sport, first) in enumerate(((40001, 1000), (40001, 900_000), (40002, 5))):
        talk = Talk(pem, (V12, V13)[n % 2], keylog, sport=sport, first_byte=first, start=(n % 2) * 10**9)
        frames += talk.handshake().say(sip(f"n{n}")).say(ok(f"n{n}"), False).frames
    found, _ = read(save(tmp_path / "a.pcap", *frames), keylog)
    assert sorted(texts(found)) == sorted(m for n in range(3) for m in (sip(f"n{n}"), ok(f"n{n}")))
    assert {p.flags for p in found} == {0}, "a connection does not go on where another on its ports ended"


def test_inside_a_tunnel_and_over_ipv6(pem: Path, keylog: Path, tmp_path: Path) -> None:
    talk = Talk(pem, keylog=keylog).handshake().say(sip())
    inside = [frame(ether(ip6(4, f.data[14:])), n) for n, f in enumerate(talk.frames)]
    ((found,), _) = read(save(tmp_path / "a.pcap", *inside), keylog)
    assert (found.src, found.dst, found.data, found.flags) == (A, B, sip(), TUNNELLED)
    swap = {bytes(f.data[26:30]): address for f, address in ((talk.frames[0], (A6, B6)), (talk.frames[1], (B6, A6)))}
    over6 = [
        frame(ether(ip6(6, f.data[34:], src=swap[f.data[26:30]][0], dst=swap[f.data[26:30]][1])), n)
        for n, f in enumerate(talk.frames)
    ]
    ((found,), _) = read(save(tmp_path / "b.pcap", *over6), keylog)
    assert (found.src, found.dst, found.data, found.ip_id) == (A6, B6, sip(), -1)


def test_nothing_is_read_twice(pem: Path, keylog: Path, tmp_path: Path) -> None:
    talk = Talk(pem, keylog=keylog).handshake().say(sip("secret"))
    clear = [frame(ether(ip4(17, udp(sip(f"clear-{n}")))), n) for n in range(3)]
    path = save(tmp_path / "a.pcap", *talk.frames, *clear)
    assert texts(read(path, keylog)[0]) == [sip("secret")]
    assert plain(path) == 3


def test_messages_keep_their_place_in_the_order(pem: Path, keylog: Path, tmp_path: Path) -> None:
    talk = Talk(pem, keylog=keylog).handshake().say(sip("secret"))
    path = save(tmp_path / "a.pcap", *talk.frames, frame(ether(ip4(17, udp(sip("clear")))), 10**9))
    keys = keys_for(str(path), str(keylog))
    decryption = keys.decrypt(PORTS) if keys else None
    assert decryption is not None
    decoder = Decoder(first_seq=100)
    rows = []
    for block in PcapFile(str(path)).blocks():
        rows += decoder.feed(block) + decoder.take(decryption.feed(block))
    decryption.close()
    assert [(TRANSPORTS[m.transport[0]], int(m.seq[0])) for m in rows] == [("udp", 100), ("tls", 101)]
    assert decoder.counters.decrypted == 1
    assert decoder.take([]) == []
    again = decoder.take([read(path, keylog)[0][0]])
    assert [int(m.seq[0]) for m in again] == [102]


# ---------------------------------------------------------------- secrets in the file itself


def with_secrets(frames: list[Frame], secrets: bytes) -> bytes:
    """A pcapng with a Decryption Secrets Block behind its section header."""
    data = write_capture(frames, "a comment makes it a pcapng")
    (size,) = struct.unpack_from("<I", data, 4)
    body = struct.pack("<II", 0x544C534B, len(secrets)) + secrets + bytes(-len(secrets) % 4)
    around = struct.pack("<I", len(body) + 12)
    return data[:size] + struct.pack("<I", 10) + around + body + around + data[size:]


@pytest.mark.parametrize("packed", [False, True])
def test_secrets_inside_the_file(pem: Path, keylog: Path, tmp_path: Path, packed: bool) -> None:
    talk = Talk(pem, keylog=keylog).handshake().say(sip())
    data = with_secrets(talk.frames, keylog.read_bytes())
    path = tmp_path / "a.pcapng"
    path.write_bytes(gzip.compress(data) if packed else data)
    assert holds_secrets(str(path))
    assert texts(read(path, None)[0]) == [sip()]
    assert plain(path) == 0


def test_files_without_secrets(pem: Path, tmp_path: Path) -> None:
    frames = Talk(pem).handshake().frames
    for name, data in (
        ("a.pcap", write_capture(frames)),
        ("a.pcapng", write_capture(frames, "comment")),
        ("short", write_capture(frames, "comment")[:30]),
        ("empty", b""),
        ("zeros", b"\x0a\x0d\x0d\x0a" + bytes(90)),
        ("damaged.gz", b"\x1f\x8b\x08junk"),
    ):
        (tmp_path / name).write_bytes(data)
        assert not holds_secrets(str(tmp_path / name)), name
        assert keys_for(str(tmp_path / name), None) is None
    assert not holds_secrets(str(tmp_path / "none"))


# ---------------------------------------------------------------- what goes wrong


def test_a_wrong_key_log_is_told_and_loses_nothing(pem: Path, keylog: Path, tmp_path: Path) -> None:
    Talk(pem, keylog=keylog).handshake()
    talk = Talk(pem).handshake().say(sip())
    path = save(tmp_path / "a.pcap", *talk.frames, frame(ether(ip4(17, udp(sip("clear"))))))
    found, complaint = read(path, keylog)
    assert found == [] and complaint is not None
    assert complaint.startswith(f"nothing could be decrypted with the key log {keylog}")
    assert plain(path) == 1
    keylog.write_bytes(bytes(range(256)))
    assert "nothing could be decrypted" in str(read(path, keylog)[1])


def test_a_capture_that_ends_early(pem: Path, keylog: Path, tmp_path: Path) -> None:
    talk = Talk(pem, keylog=keylog).handshake().say(sip("a")).say(sip("b"))
    path = save(tmp_path / "a.pcap", *talk.frames)
    path.write_bytes(path.read_bytes()[:-5])
    found, complaint = read(path, keylog)
    assert texts(found) == [sip("a")]
    assert "not all could be decrypted" in str(complaint) and "cut short" in str(complaint)


def test_a_message_whose_rest_never_came(pem: Path, keylog: Path, tmp_path: Path) -> None:
    whole = sip("half", bytes(500))
    talk = Talk(pem, keylog=keylog).handshake().say(whole[:-100])
    assert texts(read(save(tmp_path / "a.pcap", *talk.frames), keylog)[0]) == [whole[:-100]]


def test_key_logs_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keylog = tmp_path / "keys.log"
    with pytest.raises(Unreachable, match=r"cannot read the key log .*keys\.log: no such file"):
        keys_for("a.pcap", str(keylog))
    with pytest.raises(Unreachable, match="is a directory"):
        keys_for("a.pcap", str(tmp_path))
    keylog.touch()
    with pytest.raises(SiptrailError, match="standard input"):
        keys_for("-", str(keylog))
    assert keys_for("-", None) is None
    keys = keys_for("a.pcap", str(keylog))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert keys is not None
    with pytest.raises(Unreachable, match=r"--keylog needs tshark; install tshark \(Debian: apt install tshark\)"):
        keys.decrypt(PORTS)


def test_plain_text_does_not_stay_behind(
    pem: Path, keylog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    path = save(tmp_path / "a.pcap", *Talk(pem, keylog=keylog).handshake().say(sip()).frames)
    keys = keys_for(str(path), str(keylog))
    assert keys is not None
    decryption = keys.decrypt(PORTS)
    assert list(folder.iterdir()) and decryption is not None
    decryption.close()
    assert not list(folder.iterdir())
    program(tmp_path / "bin", f"printf '{answer(ip_src='x')}'", monkeypatch)
    with pytest.raises(Unreachable, match="not understood"):
        keys.decrypt(PORTS)
    assert not list(folder.iterdir())


def program(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another tshark than the real one."""
    folder.mkdir(exist_ok=True)
    (folder / "tshark").write_text(f"#!/bin/sh\n{text}\n")
    (folder / "tshark").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_it_can_be_stopped(keylog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keylog.touch()
    keys = keys_for("a.pcap", str(keylog))
    assert keys is not None
    program(tmp_path / "bin", f"echo $$ > {tmp_path}/pid; exec sleep 1000", monkeypatch)
    decryption = Decryption(keys, PORTS, lambda: (tmp_path / "pid").exists())
    decryption.close()
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


def test_names_are_taken_as_they_are(pem: Path, tmp_path: Path) -> None:
    folder = tmp_path / 'a:b "c" -d é'
    folder.mkdir()
    keylog = folder / "-keys.log"
    path = save(folder / "-r.pcap", *Talk(pem, keylog=keylog).handshake().say(sip()).frames)
    assert texts(read(path, keylog)[0]) == [sip()]


# ---------------------------------------------------------------- tshark's answers


def answer(**values: str) -> str:
    """A line of tshark's."""
    usual = {
        "frame_number": "9",
        "frame_protocols": "eth:ethertype:ip:tcp:tls:data",
        "tcp_stream": "3",
        "tcp_srcport": "40000",
        "tcp_dstport": "5061",
        "ip_src": A,
        "ip_dst": B,
        "ip_id": "0x004d",
        "data_data": "0a0b",
    } | values
    return "\t".join(usual.get(field.replace(".", "_"), "") for field in FIELDS)


def test_answers_become_chunks() -> None:
    (chunk,) = chunks_of(answer())
    assert (chunk.frame, chunk.stream, chunk.ip_id, chunk.flags) == (9, 3, 77, 0)
    assert (chunk.carriers, chunk.data) == ((9,), b"\n\x0b")
    assert [c.data for c in chunks_of(answer(data_data="0a:0b,ff"))] == [b"\n\x0b", b"\xff"]
    first, second = chunks_of(answer(data_data="0a,0b", tcp_segment="7,8,9"))
    assert (first.carriers, second.carriers) == ((7, 8, 9), (9,))
    both: list[Chunk] = list(chunks_of(answer(data_data="0a,0b", tcp_segment="7,9,8")))
    assert {c.carriers for c in both} == {(7, 8, 9)}, "this frame filled a hole: all that waited came with it"
    (chunk,) = chunks_of(answer(ip_fragment="5,9"))
    assert (chunk.carriers, chunk.flags) == ((5, 9), FRAGMENTED)


@pytest.mark.parametrize(
    "line", ["", "9", answer(frame_protocols="eth:ethertype:ip:tcp:data"), answer(frame_protocols="eth:tls:data")]
)
def test_answers_that_hold_nothing(line: str) -> None:
    assert list(chunks_of(line)) == []


@pytest.mark.parametrize(
    "line", [answer(ip_src="x"), answer(tcp_srcport="70000"), answer(data_data="xyz"), answer(tcp_stream="")]
)
def test_answers_that_are_not_understood(line: str) -> None:
    with pytest.raises(Unreachable, match="not understood"):
        list(chunks_of(line))
