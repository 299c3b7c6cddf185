"""Kernel filters: the built-in program that keeps RTP out of user space, and users' own expressions (libpcap).

Classic BPF as sock_filter records. The built-in program accepts UDP whose payload begins like SIP on any port, the SIP ports
for everything, every IP fragment (the later ones carry no ports), and tunnels as a whole.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import socket
import struct
from dataclasses import dataclass, field

from sip.errors import SiptrailError

SO_ATTACH_FILTER = 26
LD_B, LD_H, LD_W = 0x30, 0x28, 0x20
LDI_B, LDI_H, LDI_W = 0x50, 0x48, 0x40
LDX_MSH, LDX_IMM, ST, LDX_MEM, LD_MEM = 0xB1, 0x01, 0x02, 0x61, 0x60
JEQ, JSET, JGT, JA, RET = 0x15, 0x45, 0x25, 0x05, 0x06
ADD_X, ADD_K, TAX = 0x0C, 0x04, 0x07
ACCEPT, REJECT = 262_144, 0
STARTS = (b"SIP/", b"INVI", b"ACK ", b"BYE ", b"CANC", b"REGI", b"OPTI", b"PRAC", b"SUBS", b"NOTI", b"PUBL", b"INFO", b"REFE", b"MESS", b"UPDA")
"""First four payload bytes of SIP requests and responses."""
TUNNEL_PORTS = (4789, 6081, 2152, 1701)


class FilterSyntax(SiptrailError):
    """A BPF expression that libpcap does not accept, or no libpcap."""


@dataclass(frozen=True, slots=True)
class Program:
    """A filter program: (code, jt, jf, k) records."""

    code: tuple[tuple[int, int, int, int], ...]

    def attach(self, sock: socket.socket) -> None:
        """Let the kernel run it on every packet of `sock`."""
        raw = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *c) for c in self.code))
        prog = struct.pack("@HP", len(self.code), ctypes.addressof(raw))
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, prog)


@dataclass(slots=True)
class _Assembler:
    """Instructions with labels instead of distances."""

    out: list[tuple[int, str | None, str | None, int, str]] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)

    def label(self, name: str) -> None:
        self.labels[name] = len(self.out)

    def put(self, code: int, k: int, yes: str | None = None, no: str | None = None) -> None:
        self.out.append((code, yes, no, k, ""))

    def jump(self, target: str) -> None:
        self.out.append((JA, None, None, 0, target))

    def program(self) -> Program:
        done = []
        for here, (code, yes, no, k, target) in enumerate(self.out):
            if target:
                done.append((code, 0, 0, self.labels[target] - here - 1))
            else:
                jumps = [0 if x is None else self.labels[x] - here - 1 for x in (yes, no)]
                assert all(0 <= j < 256 for j in jumps), "a conditional jump is too far"
                done.append((code, *jumps, k))
        return Program(tuple(done))


def default_program(sip_ports: frozenset[int], ws_ports: frozenset[int] = frozenset(), link_type: int = 1) -> Program:
    """The built-in filter for Ethernet (1, also loopback) or raw IP (101) frames."""
    a = _Assembler()
    ports = sorted(sip_ports | ws_ports)
    # M[0] holds the offset of the IP header; VLAN tags in the frame move it.
    if link_type == 1:
        a.put(LDX_IMM, 12)
        for tag in range(3):
            a.put(LDI_H, 0)
            a.put(JEQ, 0x0800, f"v4_{tag}", None)
            a.put(JEQ, 0x86DD, f"v6_{tag}", None)
            a.put(JEQ, 0x8864, f"yes_{tag}", None)
            a.put(JEQ, 0x8847, f"yes_{tag}", None)
            if tag < 2:
                a.put(JEQ, 0x8100, f"tag_{tag}", None)
                a.put(JEQ, 0x88A8, f"tag_{tag}", None)
                a.put(JEQ, 0x9100, f"tag_{tag}", f"no_{tag}")
            else:
                a.jump(f"no_{tag}")
            a.label(f"v4_{tag}")
            a.put(LDX_IMM, 14 + 4 * tag)
            a.jump("ip4")
            a.label(f"v6_{tag}")
            a.put(LDX_IMM, 14 + 4 * tag)
            a.jump("ip6")
            a.label(f"yes_{tag}")
            a.put(RET, ACCEPT)
            a.label(f"no_{tag}")
            a.put(RET, REJECT)
            if tag < 2:
                a.label(f"tag_{tag}")
                a.put(LDX_IMM, 16 + 4 * tag)
    else:
        a.put(LDX_IMM, 0)
        a.put(LD_B, 0)
        a.put(0x54, 0xF0)
        a.put(JEQ, 0x60, "raw6", "raw4")
        a.label("raw6")
        a.jump("ip6")
        a.label("raw4")
    a.label("ip4")
    a.put(LDI_H, 6)
    a.put(JSET, 0x3FFF, "yes4", None)
    a.put(LDI_B, 9)
    a.put(JEQ, 17, "udp4", None)
    a.put(JEQ, 6, "tcp4", None)
    a.put(JEQ, 132, "tcp4", None)
    for proto in (4, 41, 47):
        a.put(JEQ, proto, "yes4", None)
    a.put(RET, REJECT)
    a.label("yes4")
    a.put(RET, ACCEPT)
    # X = offset of the transport header: IP offset + 4 * IHL.
    for name in ("udp4", "tcp4"):
        a.label(name)
        a.put(LDI_B, 0)
        a.put(0x54, 0x0F)
        a.put(0x64, 2)
        a.put(ADD_X, 0)
        a.put(TAX, 0)
        a.jump(name[:3])
    a.label("ip6")
    a.put(LDI_B, 6)
    a.put(JEQ, 17, "udp6", None)
    a.put(JEQ, 6, "tcp6", None)
    a.put(JEQ, 132, "tcp6", None)
    for proto in (0, 43, 44, 51, 60, 4, 41, 47):
        a.put(JEQ, proto, "yes6", None)
    a.put(RET, REJECT)
    a.label("yes6")
    a.put(RET, ACCEPT)
    for name in ("udp6", "tcp6"):
        a.label(name)
        a.put(0x87, 0)  # A = X
        a.put(ADD_K, 40)
        a.put(TAX, 0)
        a.jump(name[:3])
    a.label("tcp")
    for offset in (0, 2):
        a.put(LDI_H, offset)
        for port in ports:
            a.put(JEQ, port, "yes", None)
    a.put(RET, REJECT)
    a.label("udp")
    for offset in (0, 2):
        a.put(LDI_H, offset)
        for port in (*ports, *TUNNEL_PORTS):
            a.put(JEQ, port, "yes", None)
    a.put(LDI_W, 8)
    for start in STARTS:
        a.put(JEQ, int.from_bytes(start, "big"), "yes", None)
    # SIP may follow line ends (RFC 3261 section 7.5).
    a.put(0x54, 0xFFFF0000)
    a.put(JEQ, 0x0D0A0000, "yes", None)
    a.put(RET, REJECT)
    a.label("yes")
    a.put(RET, ACCEPT)
    return a.program()


class _BpfProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint), ("code", ctypes.POINTER(ctypes.c_uint8)))


def compile_user(expression: str, link_type: int) -> Program:
    """A user's expression, compiled by libpcap; FilterSyntax in one line when that cannot be done."""
    name = ctypes.util.find_library("pcap") or "libpcap.so.0.8"
    try:
        pcap = ctypes.CDLL(name)
    except OSError as error:
        raise FilterSyntax("--filter needs libpcap; install it (Debian: apt install libpcap0.8)") from error
    pcap.pcap_open_dead.restype = ctypes.c_void_p
    pcap.pcap_geterr.restype = ctypes.c_char_p
    pcap.pcap_geterr.argtypes = [ctypes.c_void_p]
    pcap.pcap_compile.argtypes = [ctypes.c_void_p, ctypes.POINTER(_BpfProgram), ctypes.c_char_p, ctypes.c_int, ctypes.c_uint32]
    pcap.pcap_freecode.argtypes = [ctypes.POINTER(_BpfProgram)]
    pcap.pcap_close.argtypes = [ctypes.c_void_p]
    handle = pcap.pcap_open_dead(12 if link_type == 101 else link_type, ACCEPT)
    try:
        program = _BpfProgram()
        if pcap.pcap_compile(handle, ctypes.byref(program), expression.encode(), 1, 0xFFFFFFFF) != 0:
            raise FilterSyntax(f"--filter {expression!r}: {pcap.pcap_geterr(handle).decode('utf-8', 'replace')}")
        raw = ctypes.string_at(program.code, program.length * 8)
        pcap.pcap_freecode(ctypes.byref(program))
    finally:
        pcap.pcap_close(handle)
    return Program(tuple(struct.iter_unpack("=HBBI", raw)))
