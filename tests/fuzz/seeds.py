"""Writes the corpus: one small file for each thing that a decoder knows. `python -m tests.fuzz.seeds`.

Files of other names (what fuzzing found) stay as they are.
"""

from __future__ import annotations

import gzip
import random
import struct
import zlib
from pathlib import Path

from capture.frames import Frame
from capture.sources.keylog import FIELDS
from index.pcapfile import write_capture
from tests.capture import heppackets, hepproducts
from tests.capture.test_fragments import cut
from tests.capture.test_tunnels import LINKS, TUNNELS
from tests.capture.wire import SECOND, ether, frame, ip4, ip6, ok, sip, tcp_frame, udp
from tests.fuzz.mutate import capture

CORPUS = Path(__file__).parent / "corpus"
BODY = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 18\r\n"
FULL = sip("full", BODY, extra=b'From: "A" <sip:a@b>;tag=1\r\nTo: <sip:b@c>\r\nContact: <sip:a@192.0.2.1:5060;ob>\r\n')


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")


def _pcap(*frames: Frame) -> bytes:
    return capture(frames[0].link_type, [(f.data, f.ts) for f in frames])


def frames() -> dict[str, bytes]:
    """Each link, tunnel, transport and kind of reassembly alone."""
    out = {f"tunnel-{_slug(n)}.pcap": _pcap(f) for n, f in TUNNELS.items()}
    out |= {f"link-{_slug(n)}.pcap": _pcap(f) for n, f in LINKS.items()}
    packet = ip4(17, udp(FULL))
    for name, link, head in (
        ("raw", 101, b""),
        ("null", 0, b"\2\0\0\0"),
        ("loop", 108, b"\0\0\0\2"),
        ("sll", 113, bytes(14) + b"\x08\0"),
        ("sll2", 276, b"\x08\0" + bytes(18)),
    ):
        out[f"link-{name}.pcap"] = _pcap(frame(head + packet, link=link))
    out["udp.pcap"] = _pcap(
        frame(ether(packet)), frame(ether(ip6(17, udp(ok()))), 5), frame(ether(ip4(17, udp(b"\r\n"))), 9)
    )
    for version in (4, 6):
        out[f"fragments-{version}.pcap"] = _pcap(*cut(version, 104, 208, 304))
        out[f"fragments-{version}-lost.pcap"] = _pcap(
            *cut(version, 104, 208, 304)[:2], frame(ether(packet), 90 * SECOND)
        )
    text = FULL + ok("full", BODY) + sip("next", method="BYE")
    out["tcp.pcap"] = _pcap(*[tcp_frame(text[a : a + 120], 1 + a, a) for a in range(0, len(text), 120)])
    out["tcp-order.pcap"] = _pcap(*[tcp_frame(text[a : a + 90], 1 + a, a) for a in (0, 180, 90, 270, 90)])
    out["tcp-hole.pcap"] = _pcap(tcp_frame(text[:90], 1), tcp_frame(text[300:], 301), tcp_frame(FULL, 2000, 9 * SECOND))
    out["tcp-wrap.pcap"] = _pcap(*[tcp_frame(text[a : a + 99], 2**32 - 200 + a, a) for a in range(0, len(text), 99)])
    texts, number = [FULL, ok("full", BODY), FULL, b"A b SIP/2.0\nl:0\n\n" * 80, FULL], 1
    segments = []
    for n, text in enumerate(texts):
        segments.append(tcp_frame(text, number, n))
        number += len(text)
    out["tcp-tiny-messages.pcap"] = _pcap(*segments)
    web = b"".join(websockets()["masked"][2:][at : at + 1] for at in range(400))
    out["websocket.pcap"] = _pcap(tcp_frame(web[:200], 1, dport=80), tcp_frame(web[200:], 201, dport=80))
    hello = tls()["client-hello"][2:]
    out["tls.pcap"] = _pcap(tcp_frame(hello[:50], 1, dport=5061), tcp_frame(hello[50:], 51, dport=5061))
    icmp = b"\3\3\0\0\0\0\0\0" + packet
    out["icmp.pcap"] = _pcap(
        frame(ether(ip4(1, icmp))), frame(ether(ip6(58, b"\1\4\0\0\0\0\0\0" + ip6(17, udp(FULL)))))
    )
    out["sctp.pcap"] = _pcap(frame(ether(ip4(132, _sctp(3, FULL, 7)))))
    out["sctp-pieces.pcap"] = _pcap(
        *[
            frame(ether(ip4(132, _sctp(bits, part, 7 + n))), n)
            for n, (bits, part) in enumerate(((2, FULL[:99]), (0, FULL[99:200]), (1, FULL[200:])))
        ]
    )
    out["hep.pcap"] = _pcap(frame(ether(ip4(17, udp(hepproducts.heplify2(FULL), 50000, 9060)))))
    return out


def _sctp(bits: int, data: bytes, number: int) -> bytes:
    chunk = struct.pack(">BBHIHHI", 0, bits, len(data) + 16, number, 0, 0, 0) + data
    return struct.pack(">HHII", 5060, 5060, 1, 0) + chunk + bytes(-len(chunk) % 4)


def files() -> dict[str, bytes]:
    """Capture files themselves."""
    some = [frame(ether(ip4(17, udp(FULL))), n) for n in range(3)]
    other = Frame(10**18, 101, "any", 99, ip4(17, udp(ok())))
    plain, mixed = write_capture(some), write_capture([*some, other], "a comment")
    big = struct.pack(">IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1) + struct.pack(">IIII", 1, 2, 4, 9) + b"abcd"
    simple = _block(3, struct.pack("<I", 4) + b"abcd")
    secrets = _block(10, struct.pack("<II", 0x544C534B, 4) + b"KEYS")
    return {
        "nanoseconds.pcap": plain,
        "big-endian.pcap": big,
        "mixed.pcapng": mixed,
        "packed.pcap.gz": gzip.compress(plain, mtime=0),
        "two-sections.pcapng": mixed + mixed,
        "simple.pcapng": mixed[:64] + mixed[64:] + simple,
        "secrets.pcapng": mixed + secrets,
        "cut.pcap": plain[:-7],
        "cut.pcapng": mixed[:-9],
    }


def _block(kind: int, body: bytes) -> bytes:
    size = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + size + body + size


def ring() -> dict[str, bytes]:
    """A block of three frames, one with a VLAN tag beside it."""
    out, data = bytearray(48), ether(ip4(17, udp(FULL)))
    struct.pack_into("<III", out, 8, 1, 3, 48)
    for n in range(3):
        head = bytearray(68 + 20)
        step = (len(head) + len(data) + 15) & ~15
        struct.pack_into(
            "<IIIIIIHH", head, 0, step if n < 2 else 0, 1, 2, len(data), len(data), 0x51 if n == 1 else 1, 88, 102
        )
        struct.pack_into("<IIH", head, 28, 0, 7, 0x8100)
        out += (head + data).ljust(step, b"\0")
    return {"three": bytes(out)}


def streams() -> dict[str, bytes]:
    """SIP in streams, cut by the two bytes in front."""
    text = (
        FULL + b"\r\n\r\n" + ok("a", BODY) + sip("b").replace(b"Content-Length: 0", b"Content-Length: 700") + sip("c")
    )
    return {f"cut-{n}": bytes([n, 1]) + text for n in (0, 12, 40, 255)}


def websockets() -> dict[str, bytes]:
    """Upgrade, masked frames, pieces, pings, deflate with context."""
    upgrade = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
    deflate = zlib.compressobj(wbits=-15)
    squeezed = [deflate.compress(m) + deflate.flush(zlib.Z_SYNC_FLUSH)[:-4] for m in (FULL, ok("full", BODY))]
    return {
        "masked": b"\x28\x01"
        + upgrade
        + _frame(0x81, FULL, b"abcd")
        + _frame(0x89, b"ping", b"abcd")
        + _frame(0x82, ok(), b"1234"),
        "pieces": b"\xff\x07"
        + upgrade
        + _frame(0x01, FULL[:50])
        + _frame(0x8A, b"")
        + _frame(0x00, FULL[50:90])
        + _frame(0x80, FULL[90:]),
        "deflate": b"\x40\x02" + upgrade + b"".join(_frame(0xC1, s, b"keyk") for s in squeezed),
        "midway": b"\xff\x07" + _frame(0x81, FULL),
        "plain": b"\xff\x07" + FULL,
        "http": b"\x10\x01" + upgrade.replace(b"Upgrade", b"Other"),
    }


def _frame(first: int, data: bytes, mask: bytes = b"") -> bytes:
    bit = 0x80 if mask else 0
    size = bytes([bit | len(data)]) if len(data) < 126 else struct.pack(">BH", bit | 126, len(data))
    hidden = bytes(b ^ mask[n % 4] for n, b in enumerate(data)) if mask else data
    return bytes([first]) + size + mask + hidden


def tls() -> dict[str, bytes]:
    """Hellos of both sides and alerts."""
    name = b"sip.example.com"
    extensions = _extension(0, struct.pack(">HBH", len(name) + 3, 0, len(name)) + name)
    extensions += _extension(16, b"\0\4\3sip") + _extension(43, b"\4\3\4\3\3")
    client = b"\3\3" + bytes(32) + b"\0" + b"\0\2\x13\1" + b"\1\0" + struct.pack(">H", len(extensions)) + extensions
    chosen = _extension(43, b"\3\4")
    server = b"\3\3" + bytes(32) + b"\0" + b"\x13\1" + b"\0" + struct.pack(">H", len(chosen)) + chosen
    alert = _record(21, b"\2\x30")
    return {
        "client-hello": b"\xff\x07" + _record(22, _handshake(1, client)) + _record(23, bytes(50)),
        "server-hello": b"\x14\x01" + _record(22, _handshake(2, server)) + _record(20, b"\1") + alert,
        "pieces": b"\xff\x07" + b"".join(_record(22, _handshake(1, client)[at : at + 30]) for at in range(0, 150, 30)),
    }


def _extension(kind: int, data: bytes) -> bytes:
    return struct.pack(">HH", kind, len(data)) + data


def _handshake(kind: int, data: bytes) -> bytes:
    return bytes([kind]) + len(data).to_bytes(3, "big") + data


def _record(kind: int, data: bytes) -> bytes:
    return struct.pack(">BHH", kind, 0x0301, len(data)) + data


def hep() -> dict[str, bytes]:
    """A packet as each product writes it."""
    h = hepproducts
    return {
        "asterisk": h.asterisk(FULL, uuid="full", password="x"),
        "asterisk-6": h.asterisk(FULL, src=h.SRC6, dst=h.DST6),
        "freeswitch-3": h.freeswitch3(FULL, protocol=22),
        "freeswitch-2": h.freeswitch12(FULL, 2),
        "freeswitch-1": h.freeswitch12(FULL, 1),
        "opensips-3": h.opensips3(FULL, correlation="c", protocol=50),
        "opensips-json": h.opensips3(FULL, homer5=False, net="1"),
        "opensips-2": h.opensips12(FULL, 2),
        "opensips-1": h.opensips12(FULL, 1),
        "heplify-1": h.heplify1(FULL, name="n", protocol=6),
        "heplify-2": h.heplify2(FULL, name="n", protocol=132),
        "squeezed": gzip.compress(h.heplify2(FULL), mtime=0),
        "payload": heppackets.hep3(FULL, compress=True),
        "rtcp": h.asterisk(b"{}", kind=5),
    }


def hep_streams() -> dict[str, bytes]:
    """Packets in a row."""
    every = hep()
    plain = b"".join(p for n, p in every.items() if p[:4] == b"HEP3")
    return {
        "plain": b"\xff\x07" + plain[:4000],
        "mixed": b"\x11\x01" + every["squeezed"] + b"junk" + every["asterisk"] + every["squeezed"],
    }


def decrypted() -> dict[str, bytes]:
    """Lines as tshark is asked to write them."""
    value = {
        "frame.number": "7",
        "frame.protocols": "eth:ethertype:ip:tcp:tls:data",
        "ip.src": "192.0.2.1",
        "ip.dst": "192.0.2.2",
        "tcp.srcport": "5061",
        "tcp.dstport": "40000",
        "tcp.stream": "3",
        "ip.id": "0x004d",
        "tcp.segment": "5,6",
        "data.data": FULL.hex() + "," + ok().hex(),
    }
    six = value | {
        "frame.protocols": "eth:ipv6:ip:ipv6:tcp:tls:data",
        "ipv6.src": "2001:db8::1,::2",
        "ipv6.dst": "::3",
        "ipv6.fragment": "1",
    }
    return {n: "\t".join(v.get(f, "") for f in FIELDS).encode() for n, v in (("line", value), ("ipv6", six))}


def messages() -> dict[str, bytes]:
    """Whole messages."""
    return {
        "invite": FULL,
        "ok": ok("x", BODY),
        "compact": b"SIP/2.0 200 OK\r\nv: SIP/2.0/UDP h\r\nf: <sip:a>;tag=1\r\nt: x\r\ni: 1\r\n l: 2\r\n"
        + b"c: application/sdp\r\n\r\n"
        + BODY,
    }


def write() -> None:
    """All of it."""
    for make in (frames, files, ring, streams, websockets, tls, hep, hep_streams, decrypted, messages):
        folder = CORPUS / make.__name__
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in make().items():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    random.seed(0)
    write()
