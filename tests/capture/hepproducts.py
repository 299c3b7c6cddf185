"""HEP as each product writes it: which chunks, in which order, with which numbers. Facts from their source, no code.

Kamailio is not here: the tests run the real one.
"""

from __future__ import annotations

import gzip
import json
import struct
from ipaddress import ip_address

from tests.capture.heppackets import MICROS, SECONDS, chunk

SRC, DST = "192.0.2.1", "198.51.100.2"
SRC6, DST6 = "2001:db8::1", "2001:db8::2"
UDP, TCP, IDP, ESP, SCTP = 17, 6, 22, 50, 132


def whole(*chunks: bytes) -> bytes:
    """A packet of version 3."""
    body = b"".join(chunks)
    return b"HEP3" + struct.pack(">H", len(body) + 6) + body


def addresses(src: str, dst: str) -> bytes:
    """Chunks 3 and 4, or 5 and 6."""
    a, b = ip_address(src), ip_address(dst)
    return chunk(3 if a.version == 4 else 5, a.packed) + chunk(4 if b.version == 4 else 6, b.packed)


def generic(protocol: int, kind: int, agent: int, family: int = 2) -> bytes:
    """What res_hep, proto_hep and sofia-sip have in one packed struct (hep_generic), in this order."""
    return b"".join(
        (
            chunk(1, bytes([family])),
            chunk(2, bytes([protocol])),
            chunk(7, struct.pack(">H", 5060)),
            chunk(8, struct.pack(">H", 5080)),
            chunk(9, struct.pack(">I", SECONDS)),
            chunk(10, struct.pack(">I", MICROS)),
            chunk(11, bytes([kind])),
            chunk(12, struct.pack(">I", agent)),
        )
    )


def asterisk(
    payload: bytes,
    *,
    uuid: str = "",
    password: str = "",
    protocol: int = UDP,
    kind: int = 1,
    src: str = SRC,
    dst: str = DST,
) -> bytes:
    """res/res_hep.c, hep_queue_cb: the generic chunks, addresses, the key (14) where capture_password is set, the UUID
    (17: Call-ID, or the channel's name with uuid_type = channel) always, even empty, and the payload (15) last.

    res_hep_pjsip.c tells reliable transports (TCP, TLS, WebSocket) as 6, old versions everything as 17; milliseconds in
    what was received. res_hep_rtcp.c: type 5, JSON, always 17."""
    key = chunk(14, password.encode()) if password else b""
    family = 2 if ":" not in src else 10
    return whole(
        generic(protocol, kind, 1234, family), addresses(src, dst), key, chunk(17, uuid.encode()), chunk(15, payload)
    )


def freeswitch3(
    payload: bytes, *, protocol: int = UDP, src: bytes = b"", dst: bytes = b"", most: int = 16_000
) -> bytes:
    """sofia-sip, tport_logging.c, tport_capt_msg_hepv3: no correlation, no key; WS and WSS are told as 6, TLS as 22.

    Of IPv6 it copies four bytes, and those of the flow label: `src` and `dst` are 16 bytes then. Its copy stops at
    16,000 bytes, counted with the headers, its lengths do not."""
    if src:
        head = generic(protocol, 1, 100, 10) + chunk(5, src) + chunk(6, dst)
    else:
        head = generic(protocol, 1, 100) + addresses(SRC, DST)
    packet = whole(head, chunk(15, payload))
    return packet[: len(packet) - len(payload)] + payload[: max(0, most - (len(packet) - len(payload)))]


def freeswitch12(payload: bytes, version: int, *, protocol: int = UDP) -> bytes:
    """tport_capt_msg_hepv2: the header length of version 2 counts the time, whose struct ends in two bytes of padding;
    seconds, microseconds and capture id are in the machine's own order."""
    size = 16 + (12 if version == 2 else 0)
    head = struct.pack(">BBBBHH", version, size, 2, protocol, 5060, 5080)
    time = struct.pack("<IIHxx", SECONDS, MICROS, 100) if version == 2 else b""
    return head + ip_address(SRC).packed + ip_address(DST).packed + time + payload


def opensips3(
    payload: bytes, *, protocol: int = UDP, kind: int = 1, correlation: str = "", homer5: bool = True, net: str = ""
) -> bytes:
    """modules/proto_hep/hep.c, build_hep3_buf, as modules/tracer/tracer.c uses it: generic chunks, addresses, payload,
    then correlation and chunks of the script's own.

    TLS is told as 22, WS and WSS as 50 (pipport2su). With homer5_on = 0 the payload is the text "payload" of an
    indented JSON object, and connections' numbers come as a correlation of JSON beside the plain one."""
    if homer5:
        extra = chunk(17, correlation.encode()) if correlation else b""
        return whole(generic(protocol, kind, 1), addresses(SRC, DST), chunk(15, payload), extra)
    text = json.dumps({"payload": payload.decode("utf-8", "surrogateescape")}, indent="\t", ensure_ascii=False)
    extra = chunk(17, json.dumps({"net": net}).encode()) if net else b""
    extra += chunk(17, correlation.encode()) if correlation else b""
    data = text.encode("utf-8", "surrogateescape")
    return whole(generic(protocol, kind, 1), addresses(SRC, DST), chunk(15, data), extra)


def opensips12(payload: bytes, version: int, *, protocol: int = UDP, src: str = SRC, dst: str = DST) -> bytes:
    """build_hep12_buf: the header length never counts the time; the buffer counts the addresses twice, so that as many
    zeros follow the message."""
    a, b = ip_address(src).packed, ip_address(dst).packed
    head = struct.pack(">BBBBHH", version, 8 + len(a + b), 2 if len(a) == 4 else 10, protocol, 5060, 5080)
    time = struct.pack("<IIHxx", SECONDS, MICROS, 1) if version == 2 else b""
    return head + a + b + time + payload + bytes(len(a + b))


def heplify1(
    payload: bytes, *, protocol: int = UDP, kind: int = 1, name: str = "", cid: bytes = b"", password: str = ""
) -> bytes:
    """heplify 1, publish/marshal.go: addresses before ports, the payload before correlation (17, RTCP and logs only),
    VLAN (18, always there) and node name (19)."""
    return whole(
        chunk(1, b"\x02"),
        chunk(2, bytes([protocol])),
        addresses(SRC, DST),
        *_middle(kind),
        chunk(14, password.encode()) if password else b"",
        chunk(15, payload),
        chunk(17, cid) if cid else b"",
        chunk(18, b"\0\0"),
        chunk(19, name.encode()) if name else b"",
    )


def heplify2(payload: bytes, *, protocol: int = UDP, kind: int = 1, name: str = "", squeezed: bool = False) -> bytes:
    """heplify 2, src/hep/encoder.go: the payload last, TCP flags (23) and TOS (24) where not zero; with payload_zip
    src/transport/sender.go squeezes the whole packet with gzip, over UDP, TCP and TLS alike."""
    packet = whole(
        chunk(1, b"\x02"),
        chunk(2, bytes([protocol])),
        addresses(SRC, DST),
        *_middle(kind),
        chunk(18, struct.pack(">H", 42)),
        chunk(19, name.encode()) if name else b"",
        chunk(23, b"\x18") if protocol == TCP else b"",
        chunk(24, b"\x60"),
        chunk(15, payload),
    )
    return gzip.compress(packet) if squeezed else packet


def _middle(kind: int) -> tuple[bytes, ...]:
    return (
        chunk(7, struct.pack(">H", 5060)),
        chunk(8, struct.pack(">H", 5080)),
        chunk(9, struct.pack(">I", SECONDS)),
        chunk(10, struct.pack(">I", MICROS)),
        chunk(11, bytes([kind])),
        chunk(12, struct.pack(">I", 2002)),
    )
