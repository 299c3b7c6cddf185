"""A carrier's SIP traffic as a capture file: `python benchmarks/generate.py --messages 1000000 -o calls.pcap`.

Owns: the shape of the benchmark's workload. A back-to-back user agent joins two legs with a Call-ID each (customer to
switch, switch to carrier); calls overlap in time; one in eight fails. The same seed gives the same bytes.
Must not: import siptrail (it is the thing measured) or need anything outside the standard library.
"""

from __future__ import annotations

import argparse
import heapq
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

START_NS = 1_767_607_200_000_000_000  # 2026-01-05 10:00:00 UTC
CALLS_PER_SECOND = 100
SWITCH = "192.0.2.10"
CUSTOMERS = [f"198.51.100.{n}" for n in range(1, 201)]
CARRIERS = [f"203.0.113.{n}" for n in (10, 20, 30, 40, 50, 60)]
AGENTS = [b"Asterisk PBX 20.6.0", b"FPBX-16.0.40(18.20.2)", b"3CXPhoneSystem 20.0.3", b"Cisco-SIPGateway/IOS-16.12.4"]
_G729 = b"a=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\n"
_PCMA, _PCMU = b"a=rtpmap:8 PCMA/8000\r\n", b"a=rtpmap:0 PCMU/8000\r\n"
CODECS = [  # (formats of the m= line, rtpmap lines)
    (b"18 8 0 101", _G729 + _PCMA + _PCMU),
    (b"8 0 101", _PCMA + _PCMU),
    (b"0 8 101", _PCMU + _PCMA),
    (b"18 101", _G729),
]

# ---- what is said: one template a message -----------------------------------------------------------------------

SDP = (
    b"v=0\r\no=- %(session)d %(session)d IN IP4 %(sdp_host)s\r\ns=-\r\nc=IN IP4 %(sdp_host)s\r\nt=0 0\r\n"
    b"m=audio %(rtp_port)d RTP/AVP %(formats)s\r\n%(rtpmaps)sa=rtpmap:101 telephone-event/8000\r\n"
    b"a=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
)
_VIA = b"Via: SIP/2.0/UDP %(uac)s:5060;branch=z9hG4bK%(branch)s;rport\r\n"
_VIA_BACK = b"Via: SIP/2.0/UDP %(uac)s:5060;received=%(uac)s;branch=z9hG4bK%(branch)s;rport=5060\r\n"
_FROM = b'From: "%(caller)s" <sip:%(caller)s@%(uac)s;user=phone>;tag=%(from_tag)s\r\n'
_TO = b"To: <sip:%(callee)s@%(uas)s;user=phone>%(to_tag)s\r\n"
_CALL = b"Call-ID: %(call_id)s\r\n"
_SDP_END = b"Content-Type: application/sdp\r\nContent-Length: %(length)d\r\n\r\n%(sdp)s"
_END = b"Content-Length: 0\r\n\r\n"
_ALLOW = b"Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, INFO, UPDATE\r\n"
_CONTACT_UAS = b"Contact: <sip:%(callee)s@%(uas)s:5060>\r\nServer: %(server)s\r\nSupported: replaces, timer\r\n"


def _request(method: bytes, cseq: bytes, extra: bytes, end: bytes) -> bytes:
    line = method + b" sip:%(callee)s@%(uas)s:5060 SIP/2.0\r\n"
    return line + _VIA + b"Max-Forwards: 70\r\n" + _FROM + _TO + _CALL + b"CSeq: " + cseq + b"\r\n" + extra + end


def _response(status: bytes, cseq: bytes, extra: bytes, end: bytes) -> bytes:
    return b"SIP/2.0 " + status + b"\r\n" + _VIA_BACK + _FROM + _TO + _CALL + b"CSeq: " + cseq + b"\r\n" + extra + end


_INVITE_EXTRA = (
    b"Contact: <sip:%(caller)s@%(uac)s:5060>\r\nUser-Agent: %(agent)s\r\n" + _ALLOW + b"Supported: replaces, timer\r\n"
    b"Session-Expires: 1800;refresher=uac\r\nMin-SE: 90\r\nP-Asserted-Identity: <sip:%(caller)s@%(uac)s;user=phone>\r\n"
    b"P-Charging-Vector: icid-value=%(branch)s%(from_tag)s;icid-generated-at=%(uac)s;orig-ioi=home.example\r\n"
)
_AGENT = b"User-Agent: %(agent)s\r\nContact: <sip:%(caller)s@%(uac)s:5060>\r\n"

# name -> (does it travel from the leg's caller to its callee, has the callee put its tag in, template)
MESSAGES: dict[str, tuple[bool, bool, bytes]] = {
    "INVITE": (True, False, _request(b"INVITE", b"1 INVITE", _INVITE_EXTRA, _SDP_END)),
    "100": (False, False, _response(b"100 Trying", b"1 INVITE", b"Server: %(server)s\r\n", _END)),
    "180": (False, True, _response(b"180 Ringing", b"1 INVITE", _CONTACT_UAS + _ALLOW, _END)),
    "200": (False, True, _response(b"200 OK", b"1 INVITE", _CONTACT_UAS + _ALLOW, _SDP_END)),
    "ACK": (True, True, _request(b"ACK", b"1 ACK", _AGENT, _END)),
    "BYE": (True, True, _request(b"BYE", b"2 BYE", _AGENT + b"Reason: Q.850;cause=16\r\n", _END)),
    "200 BYE": (False, True, _response(b"200 OK", b"2 BYE", _CONTACT_UAS + _ALLOW, _END)),
    "CANCEL": (True, False, _request(b"CANCEL", b"1 CANCEL", b"User-Agent: %(agent)s\r\n", _END)),
    "200 CANCEL": (False, True, _response(b"200 canceling", b"1 CANCEL", b"Server: %(server)s\r\n", _END)),
    "FINAL": (False, True, _response(b"%(status)s", b"1 INVITE", b"Server: %(server)s\r\n%(why)s", _END)),
}

# ---- what happens: (leg, message, least delay in µs, most) after the step before ---------------------------------

Script = tuple[tuple[str, str, int, int], ...]
_SETUP: Script = (
    ("a", "INVITE", 0, 0), ("a", "100", 300, 1_500), ("b", "INVITE", 2_000, 9_000), ("b", "100", 4_000, 30_000),
)  # fmt: skip
_RING: Script = (("b", "180", 400_000, 3_000_000), ("a", "180", 200, 900))
ANSWERED: Script = (
    *_SETUP, *_RING, ("b", "200", 2_000_000, 12_000_000), ("b", "ACK", 300, 1_000), ("a", "200", 200, 900),
    ("a", "ACK", 5_000, 40_000), ("a", "BYE", 8_000_000, 110_000_000), ("a", "200 BYE", 200, 900),
    ("b", "BYE", 300, 1_500), ("b", "200 BYE", 4_000, 30_000),
)  # fmt: skip
_REFUSED_ONWARD: Script = (("b", "ACK", 200, 900), ("a", "FINAL", 200, 900), ("a", "ACK", 5_000, 40_000))
REJECTED: Script = (*_SETUP, ("b", "FINAL", 40_000, 900_000), *_REFUSED_ONWARD)
RANG_THEN_REJECTED: Script = (*_SETUP, *_RING, ("b", "FINAL", 800_000, 18_000_000), *_REFUSED_ONWARD)
NO_ANSWER: Script = (
    *_SETUP, *_RING, ("a", "CANCEL", 20_000_000, 40_000_000), ("a", "200 CANCEL", 200, 900),
    ("b", "CANCEL", 300, 1_500), ("b", "200 CANCEL", 4_000, 30_000), ("b", "FINAL", 300, 2_000), *_REFUSED_ONWARD,
)  # fmt: skip
_CONGESTED = b'Retry-After: 5\r\nReason: Q.850;cause=42;text="Switching equipment congestion"\r\n'
FAILURES: list[tuple[Script, bytes, bytes]] = [
    (REJECTED, b"503 Service Unavailable", _CONGESTED),
    (REJECTED, b"404 Not Found", b'Reason: Q.850;cause=1;text="Unallocated number"\r\n'),
    (RANG_THEN_REJECTED, b"486 Busy Here", b'Reason: Q.850;cause=17;text="User busy"\r\n'),
    (RANG_THEN_REJECTED, b"480 Temporarily Unavailable", b'Reason: Q.850;cause=19;text="No answer from user"\r\n'),
    (NO_ANSWER, b"487 Request Terminated", b""),
]

# ---- how it is sent: Ethernet, IPv4, UDP --------------------------------------------------------------------------

_RECORD = struct.Struct("<IIII")
_HEADERS = struct.Struct("!12sHBBHHHBBH4s4sHHHH")


class Wire:
    """Wraps a message in its headers. The UDP checksum is zero, which says "none" over IPv4 (RFC 768)."""

    def __init__(self) -> None:
        self._identification = 0
        self._paths: dict[tuple[str, str], tuple[bytes, bytes, bytes, int]] = {}

    def frame(self, src: str, dst: str, payload: bytes) -> bytes:
        path = self._paths.get((src, dst))
        if path is None:
            source, target = (bytes(int(part) for part in host.split(".")) for host in (src, dst))
            macs = b"\x02\x00" + target + b"\x02\x00" + source
            words = struct.unpack("!HHHH", source + target)
            path = self._paths[(src, dst)] = (macs, source, target, 0x4500 + 0x4000 + 0x4011 + sum(words))
        macs, source, target, total = path
        length = len(payload)
        self._identification = number = (self._identification + 1) & 0xFFFF
        total += length + 28 + number
        total = (total & 0xFFFF) + (total >> 16)
        total = (total & 0xFFFF) + (total >> 16)
        return (
            _HEADERS.pack(
                macs, 0x0800, 0x45, 0, length + 28, number, 0x4000, 64, 17, total ^ 0xFFFF, source, target,
                5060, 5060, length + 8, 0,
            )
            + payload
        )  # fmt: skip


_TCP_HEADERS = struct.Struct("!12sHBBHHHBBH4s4sHHIIBBHHH")
MSS = 1448


class TcpWire:
    """The same over TCP: one connection for each pair of hosts, opened by a handshake, each message in as many segments
    as it needs, each acknowledged. The client is the host with the lower address, from port 40000."""

    def __init__(self) -> None:
        self._sent: dict[tuple[str, str], int] = {}

    def frames(self, src: str, dst: str, payload: bytes) -> Iterator[bytes]:
        if (src, dst) not in self._sent:
            client, server = sorted((src, dst))
            yield self._segment(client, server, 0x02, b"")
            yield self._segment(server, client, 0x12, b"")
            yield self._segment(client, server, 0x10, b"")
        for at in range(0, len(payload), MSS):
            yield self._segment(src, dst, 0x18, payload[at : at + MSS])
            yield self._segment(dst, src, 0x10, b"")

    def _segment(self, src: str, dst: str, bits: int, data: bytes) -> bytes:
        seq, ack = self._sent.get((src, dst), 0), self._sent.get((dst, src), 0)
        self._sent[src, dst] = (seq + len(data) + (bits >> 1 & 1)) & 0xFFFFFFFF
        source, target = (bytes(int(part) for part in host.split(".")) for host in (src, dst))
        ports = (40_000, 5060) if src < dst else (5060, 40_000)
        return (
            _TCP_HEADERS.pack(
                b"\x02\x00" + target + b"\x02\x00" + source, 0x0800, 0x45, 0, len(data) + 40, 0, 0x4000, 64, 6, 0,
                source, target, *ports, seq, ack, 0x50, bits, 0xFFFF, 0, 0,
            )
            + data
        )  # fmt: skip


# ---- calls --------------------------------------------------------------------------------------------------------

Fields = dict[bytes, bytes | int]


class Caller:
    """Makes calls, one after the other, from one random source."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._hosts = {host: host.encode() for host in (SWITCH, *CUSTOMERS, *CARRIERS)}

    def _leg(self, uac: str, uas: str, caller: bytes, callee: bytes, call_id: bytes, agents: tuple[bytes, bytes],
             codecs: tuple[bytes, bytes]) -> tuple[Fields, Fields]:  # fmt: skip
        """The fields of a leg's messages before and after the callee has put its tag in."""
        bits, hosts = self._random.getrandbits, self._hosts
        early: Fields = {
            b"uac": hosts[uac], b"uas": hosts[uas], b"caller": caller, b"callee": callee, b"call_id": call_id,
            b"agent": agents[0], b"server": agents[1], b"branch": b"%016x" % bits(64), b"from_tag": b"%08x" % bits(32),
            b"to_tag": b"", b"session": bits(31), b"sdp_host": hosts[uac], b"rtp_port": 10_000 + 2 * bits(13),
            b"formats": codecs[0], b"rtpmaps": codecs[1],
        }  # fmt: skip
        early[b"sdp"] = sdp = SDP % early
        early[b"length"] = len(sdp)
        late = early | {
            b"to_tag": b";tag=%08x" % bits(32), b"session": bits(31), b"sdp_host": hosts[uas],
            b"rtp_port": 10_000 + 2 * bits(13),
        }  # fmt: skip
        late[b"sdp"] = sdp = SDP % late
        late[b"length"] = len(sdp)
        return early, late

    def call(self, number: int, start_ns: int) -> Iterator[tuple[int, str, str, bytes]]:
        """The messages of call `number` in order: (time, source, destination, SIP)."""
        rand = self._random
        customer, carrier = rand.choice(CUSTOMERS), rand.choice(CARRIERS)
        caller, callee = b"+4930%07d" % rand.randrange(10**7), b"+44207%07d" % rand.randrange(10**7)
        codecs, agent = rand.choice(CODECS), rand.choice(AGENTS)
        first_id = b"%032x@%s" % (rand.getrandbits(128), self._hosts[customer])
        second_id = b"%08x-%04x-%012x" % (rand.getrandbits(32), rand.getrandbits(16), rand.getrandbits(48))
        first = self._leg(customer, SWITCH, caller, callee, first_id, (agent, b"Switch/4.2"), codecs)
        second = self._leg(SWITCH, carrier, caller, callee, second_id, (b"Switch/4.2", b"SBC 9.1"), codecs)
        legs = {"a": (customer, SWITCH, first), "b": (SWITCH, carrier, second)}
        script, status, why = (ANSWERED, b"", b"") if number % 8 != 7 else FAILURES[number // 8 % len(FAILURES)]
        when = start_ns
        for leg, name, least, most in script:
            when += 1_000 * (least + int(rand.random() * (most - least))) + rand.getrandbits(10)
            uac, uas, (early, late) = legs[leg]
            forward, tagged, template = MESSAGES[name]
            fields = late if tagged else early
            if name == "FINAL":
                fields = fields | {b"status": status, b"why": why}
            src, dst = (uac, uas) if forward else (uas, uac)
            yield when, src, dst, template % fields


def traffic(messages: int, seed: int = 1) -> Iterator[tuple[int, str, str, bytes]]:
    """Exactly `messages` messages, in strict order of time, of calls that overlap."""
    caller = Caller(seed)
    waiting: list[tuple[int, int, str, str, bytes]] = []
    made, sent, last, number = 0, 0, 0, 0
    spacing = 1_000_000_000 // CALLS_PER_SECOND
    while sent < messages:
        starts = START_NS + number * spacing
        if made < messages:
            for when, src, dst, sip in caller.call(number, starts):
                heapq.heappush(waiting, (when, made, src, dst, sip))
                made += 1
            number += 1
        while waiting and sent < messages and (made >= messages or waiting[0][0] < starts + spacing):
            when, _, src, dst, sip = heapq.heappop(waiting)
            last = max(when, last + 1)
            sent += 1
            yield last, src, dst, sip


def write(out: BinaryIO, messages: int, seed: int = 1, tcp: bool = False) -> int:
    """Writes the capture (classic pcap, nanoseconds, Ethernet) and returns its size in bytes."""
    out.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, 1))
    wire, streams, size = Wire(), TcpWire(), 24
    for when, src, dst, sip in traffic(messages, seed):
        seconds, nanos = divmod(when, 1_000_000_000)
        if tcp:
            frames = list(streams.frames(src, dst, sip.replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP", 1)))
        else:
            frames = [wire.frame(src, dst, sip)]
        for frame in frames:
            out.write(_RECORD.pack(seconds, nanos, len(frame), len(frame)))
            out.write(frame)
            size += 16 + len(frame)
    return size


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a capture file of a carrier's SIP traffic.")
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tcp", action="store_true", help="over TCP, a connection for each pair of hosts")
    chosen = parser.parse_args()
    with chosen.output.open("wb", buffering=1 << 20) as out:
        size = write(out, chosen.messages, chosen.seed, chosen.tcp)
    each = size / max(chosen.messages, 1)
    print(f"{chosen.output}: {chosen.messages:,} messages, {size:,} bytes, {each:.0f} a message")


if __name__ == "__main__":
    main()
