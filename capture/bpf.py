"""Classic BPF programs that keep RTP in the kernel: the built-in one, assembled here, and users' own, by libpcap.

It owns what the kernel lets through. A frame let through for nothing costs a little; one kept out is lost for good,
so whatever the program cannot judge (fragments, tunnels, extension headers) is let through.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from capture.netdevices import ETHERNET, RAW
from capture.ports import DEFAULT_WS_PORTS
from sip.errors import SiptrailError

SO_ATTACH_FILTER = 26
LONGEST = 4096
"""BPF_MAXINSNS of the kernel."""
WHOLE = 0x40000
"""Bytes of an accepted frame that are kept: more than any frame has."""

# Instruction codes (linux/bpf_common.h): load a half or a byte at k; a word or a half at X + k; …
LD_H, LD_B = 0x28, 0x30
LD_W_X, LD_H_X, LD_B_X = 0x40, 0x48, 0x50
LDX_K, LDX_HEADER = 0x01, 0xB1
ADD, AND, TAX, TXA = 0x04, 0x54, 0x07, 0x87
JA, JEQ, JSET = 0x05, 0x15, 0x45
RET = 0x06

ETH_IP4, ETH_IP6 = 0x0800, 0x86DD
ETH_VLAN = (0x8100, 0x88A8, 0x9100)
ETH_ACCEPTED = (0x8864, 0x8847, 0x8848)
"""PPPoE session, MPLS unicast and multicast: what they carry is looked at later."""
PROTOCOLS_ACCEPTED = (4, 41, 47, 137, 43, 44, 51, 60, 135)
"""IP in IP, GRE, MPLS in IP; then the IPv6 extension headers (44 is the fragment header, RFC 8200 section 4.5)."""
TUNNEL_PORTS = (4789, 6081, 2152, 1701)
"""VXLAN, GENEVE, GTP-U, L2TP."""
HOP_BY_HOP, ICMP, TCP, UDP, ICMP6, SCTP = 0, 1, 6, 17, 58, 132
GELF_PORT = 12201
"""Graylog's log lines: gzip in UDP too, and many of them."""
GZIP = 0x1F8B0800
"""A gzip member with no flag set, as Go's compressor (heplify) writes it."""
HEP1_PAYLOAD = {0x01100200: 16, 0x01280A00: 40, 0x01281C00: 40, 0x01281E00: 40}
"""Version, header length and address family of HEP 1, the protocol left out; where the message begins."""
HEP2_PAYLOAD = {
    (0x02 << 24) | (length << 16) | (family << 8): at
    for lengths, families, at in (((0x10, 0x1C), (2,), 26), ((0x28, 0x34), (0x0A, 0x1C, 0x1E), 50))
    for length in lengths
    for family in families
}
"""The same of HEP 2, whose time header is followed by two bytes of padding, or by none."""
ICMP_ERRORS = {ICMP: (3,), ICMP6: (1, 2)}
"""Destination unreachable, and in IPv6 packet too big: they quote the SIP that was not delivered."""


class FilterSyntax(SiptrailError):
    """A filter that cannot be compiled or attached."""


@dataclass(frozen=True, slots=True)
class Program:
    """A filter program: (code, jt, jf, k) records."""

    code: tuple[tuple[int, int, int, int], ...]

    def attach(self, sock: socket.socket) -> None:
        """Make it the socket's filter: from now on the kernel drops what it does not accept."""
        if len(self.code) > LONGEST:
            raise FilterSyntax(
                f"the filter has {len(self.code)} instructions and the kernel takes {LONGEST}: name fewer ports"
            )
        code = b"".join(struct.pack("HBBI", *one) for one in self.code)
        buffer = ctypes.create_string_buffer(code, len(code))
        head = struct.pack("@HP", len(self.code), ctypes.addressof(buffer))
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, head)
        except OSError as error:
            raise FilterSyntax(f"the kernel refuses the filter: {error.strerror}") from error


@dataclass(slots=True)
class _Assembler:
    """A label assembler. A test that holds runs into an unconditional jump, whose 32 bits reach any label."""

    code: list[tuple[int, int, int, int | str]] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)

    def put(self, code: int, k: int = 0) -> None:
        self.code.append((code, 0, 0, k))

    def label(self, name: str) -> None:
        self.labels[name] = len(self.code)

    def go(self, label: str) -> None:
        self.code.append((JA, 0, 0, label))

    def when(self, value: int, label: str, test: int = JEQ) -> None:
        self.code.append((test, 0, 1, value))
        self.go(label)

    def when_any(self, values: Iterable[int], label: str) -> None:
        for value in values:
            self.when(value, label)

    def program(self) -> Program:
        return Program(
            tuple(
                (code, jt, jf, self.labels[k] - at - 1 if isinstance(k, str) else k)
                for at, (code, jt, jf, k) in enumerate(self.code)
            )
        )


def _ip(asm: _Assembler, base: int) -> None:
    """The labels ip4@base and ip6@base: leave the transport's offset in X, its protocol in A."""
    asm.label(f"ip4@{base}")
    asm.put(LD_H, base + 6)
    asm.when(0x3FFF, "accept", JSET)  # more fragments, or an offset: later ones carry no ports (RFC 791 section 3.1)
    asm.put(LDX_HEADER, base)
    asm.put(TXA)
    asm.put(ADD, base)
    asm.put(TAX)
    asm.put(LD_B, base + 9)
    asm.go("protocol")
    asm.label(f"ip6@{base}")
    asm.put(LDX_K, base + 40)
    asm.put(LD_B, base + 6)
    asm.go("protocol")


def _ethernet(asm: _Assembler) -> None:
    """Ethertypes behind no, one or two VLAN tags (the kernel has often taken the outer one off already)."""
    for base in (14, 18, 22):
        asm.label(f"ethertype@{base}")
        asm.put(LD_H, base - 2)
        asm.when(ETH_IP4, f"ip4@{base}")
        asm.when(ETH_IP6, f"ip6@{base}")
        asm.when_any(ETH_ACCEPTED, "accept")
        asm.when_any(ETH_VLAN, f"ethertype@{base + 4}" if base < 22 else "accept")
        asm.go("reject")
    for base in (14, 18, 22):
        _ip(asm, base)


def _raw_ip(asm: _Assembler) -> None:
    asm.put(LD_B, 0)
    asm.put(AND, 0xF0)
    asm.when(0x40, "ip4@0")
    asm.when(0x60, "ip6@0")
    asm.go("reject")
    _ip(asm, 0)


def _number(text: bytes) -> int:
    return int.from_bytes(text, "big")


def _move(asm: _Assembler, by: int) -> None:
    """X further on by so many bytes."""
    asm.put(TXA)
    asm.put(ADD, by)
    asm.put(TAX)


def _start_line(asm: _Assembler) -> None:
    """Accept a UDP payload that begins with 'SIP/', HEP3, or a method name: four capitals, or three and a space.

    One masked comparison asks whether each byte lies in 0x40-0x5F. Blank lines before the start line are legal
    (RFC 3261 section 7.5)."""
    asm.put(LD_H_X, 8)
    asm.when(_number(b"\r\n"), "accept")
    asm.put(LD_W_X, 8)
    asm.when_any((_number(b"SIP/"), _number(b"HEP3")), "accept")
    asm.put(AND, 0xE0E0E0FF)
    asm.when(0x40404020, "accept")
    asm.put(LD_W_X, 8)
    asm.put(AND, 0xE0E0E0E0)
    asm.when(0x40404040, "accept")


def _old_hep(asm: _Assembler) -> None:
    """HEP 1 and 2, and squeezed packets of HEP 3: binary headers that other protocols could begin with by chance.

    So the message behind the header has to begin like SIP as well; STUN, RADIUS and DNS then stay out. What a squeezed
    packet holds cannot be seen."""
    asm.label(f"hep-{GZIP >> 24}")
    asm.put(LD_W_X, 8)
    asm.when(GZIP, "squeezed")
    asm.go("reject")
    asm.label("squeezed")
    for at in (0, 2):
        asm.put(LD_H_X, at)
        asm.when(GELF_PORT, "reject")
    asm.go("accept")
    for first, heads in ((1, HEP1_PAYLOAD), (2, HEP2_PAYLOAD)):
        asm.label(f"hep-{first}")
        asm.put(LD_W_X, 8)
        asm.put(AND, 0xFFFFFF00)
        for head, at in heads.items():
            asm.when(head, f"hep-{first}-{at}")
        asm.go("reject")
        for at in dict.fromkeys(heads.values()):
            asm.label(f"hep-{first}-{at}")
            _move(asm, at)
            asm.go("start" if first == 1 else "unpadded")
    asm.label("unpadded")
    _start_line(asm)
    _move(asm, 2)


def default_program(
    sip_ports: Iterable[int], ws_ports: Iterable[int] = DEFAULT_WS_PORTS, link_type: int = ETHERNET
) -> Program:
    """SIP on any UDP port by its first bytes, the given ports whole, and whatever has to be put together first."""
    sip = sorted(set(sip_ports))
    asm = _Assembler()
    if link_type == RAW:
        _raw_ip(asm)
    else:
        _ethernet(asm)
    asm.label("protocol")
    asm.when(UDP, "udp")
    asm.when_any((TCP, SCTP), "stream")
    asm.when_any(PROTOCOLS_ACCEPTED, "accept")
    asm.when(HOP_BY_HOP, "options")
    for protocol in ICMP_ERRORS:
        asm.when(protocol, f"icmp{protocol}")
    asm.go("reject")
    for protocol, kinds in ICMP_ERRORS.items():
        asm.label(f"icmp{protocol}")
        asm.put(LD_B_X)
        asm.when_any(kinds, "accept")
        asm.go("reject")
    asm.label("options")  # its first byte names what follows; every multicast listener report (RFC 3810) has one
    asm.put(LD_B_X)
    asm.when(ICMP6, "reject")
    asm.go("accept")
    asm.label("stream")
    for at in (0, 2):
        asm.put(LD_H_X, at)
        asm.when_any(sorted({*sip, *ws_ports}), "accept")
    asm.go("reject")
    asm.label("udp")
    for at in (0, 2):
        asm.put(LD_H_X, at)
        asm.when_any((*sip, *TUNNEL_PORTS), "accept")
    # RTP, RTCP and DTLS begin with other bytes (RFC 7983 section 7) and pay for one comparison each.
    asm.put(LD_B_X, 8)
    for first in (1, 2, GZIP >> 24):
        asm.when(first, f"hep-{first}")
    asm.go("start")
    _old_hep(asm)
    asm.label("start")
    _start_line(asm)
    asm.label("reject")
    asm.put(RET, 0)
    asm.label("accept")
    asm.put(RET, WHOLE)
    return asm.program()


class _Compiled(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint), ("code", ctypes.c_void_p))


def _libpcap() -> ctypes.CDLL:
    for name in ("libpcap.so.1", "libpcap.so.0.8", ctypes.util.find_library("pcap")):
        if name is None:
            continue
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.pcap_open_dead.restype = ctypes.c_void_p
        library.pcap_geterr.restype = ctypes.c_char_p
        library.pcap_geterr.argtypes = library.pcap_close.argtypes = [ctypes.c_void_p]
        library.pcap_compile.argtypes = [
            ctypes.c_void_p,
            ctypes.POINTER(_Compiled),
            ctypes.c_char_p,
            ctypes.c_int,
            ctypes.c_uint32,
        ]
        return library
    raise FilterSyntax(
        "--filter needs libpcap: install it (Debian: apt install libpcap0.8), or leave the option out "
        "for the built-in filter"
    )


def compile_user(expression: str, link_type: int) -> Program:
    """A pcap-filter expression, compiled by libpcap for frames of `link_type`."""
    words = expression.lower().translate({ord(c): " " for c in "()!&|"}).split()
    if "vlan" in words:
        raise FilterSyntax(
            f"--filter {expression!r} names 'vlan', but the kernel takes VLAN tags off before filters "
            "run: leave it out, or record the VLAN's own interface"
        )
    if "\0" in expression:
        raise FilterSyntax("--filter holds a NUL character")
    library = _libpcap()
    # DLT_RAW is 101 in files and 12 inside libpcap.
    handle = library.pcap_open_dead(12 if link_type == RAW else link_type, WHOLE)
    if not handle:
        raise FilterSyntax(f"--filter {expression!r}: libpcap cannot compile for link type {link_type}")
    compiled = _Compiled()
    try:
        if library.pcap_compile(handle, ctypes.byref(compiled), expression.encode(), 1, 0xFFFFFFFF) != 0:
            reason = " ".join(library.pcap_geterr(handle).decode(errors="replace").split())
            raise FilterSyntax(f"--filter {expression!r}: {reason}")
        code = ctypes.string_at(compiled.code, compiled.length * 8)
        library.pcap_freecode(ctypes.byref(compiled))
    finally:
        library.pcap_close(handle)
    return Program(tuple(struct.iter_unpack("HBBI", code)))
