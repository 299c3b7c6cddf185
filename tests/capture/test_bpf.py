"""The built-in kernel filter, run by a small interpreter over frames built by scapy; users' filters by libpcap."""

from __future__ import annotations

import gzip
import socket
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, GRE, Dot1Q, Ether
from scapy.layers.ppp import PPP, PPPoE
from scapy.layers.sctp import SCTP
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from capture import bpf
from capture.hep import parse_hep
from tests.capture import hepproducts
from tests.capture.heppackets import hep3, hep12

SIP = b"INVITE sip:a@192.0.2.1 SIP/2.0\r\nCall-ID: x\r\n\r\n"
RTP = b"\x80\x00\x12\x34" + bytes(168)


def ether(**fields: Any) -> Packet:
    """Both addresses are given, or scapy would ask the real network for one."""
    return Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02", **fields)


INNER = IP(src="192.0.2.1", dst="192.0.2.2")
INNER6 = IPv6(src="2001:db8::1", dst="2001:db8::2")
E4 = ether() / INNER
E6 = ether() / INNER6


def run(program: bpf.Program, frame: bytes) -> int:
    """What the kernel would return: classic BPF as linux/filter.h has it, loads beyond the frame reject."""
    a = x = at = 0
    while True:
        code, jt, jf, k = program.code[at]
        at += 1
        kind = code & 7
        if kind == 6:
            return k if code & 0x18 == 0 else a
        if kind in (0, 1):
            size, mode = {0x00: 4, 0x08: 2, 0x10: 1}[code & 0x18], code & 0xE0
            if mode == 0x00:
                value = k
            else:
                start = k + (x if mode == 0x40 else 0)
                if mode == 0xA0:
                    size = 1
                if start + size > len(frame):
                    return 0
                value = int.from_bytes(frame[start : start + size], "big")
                if mode == 0xA0:
                    value = (value & 15) * 4
            if kind == 0:
                a = value
            else:
                x = value
        elif kind == 4:
            operand = x if code & 8 else k
            a = {0x00: a + operand, 0x50: a & operand}[code & 0xF0] & 0xFFFFFFFF
        elif kind == 5:
            if code & 0xF0 == 0:
                at += k
            else:
                holds = {0x10: a == k, 0x20: a > k, 0x30: a >= k, 0x40: bool(a & k)}[code & 0xF0]
                at += jt if holds else jf
        elif kind == 7:
            if code & 0x80:
                a = x
            else:
                x = a
        else:
            raise AssertionError(f"instruction {code:#x}")


ETHERNET = bpf.default_program({5060, 5061})
RAW = bpf.default_program({5060, 5061}, link_type=101)


def udp(payload: bytes, sport: int = 40000, dport: int = 40002) -> Packet:
    return UDP(sport=sport, dport=dport) / Raw(payload)


STARTS = [
    SIP,
    b"SIP/2.0 200 OK\r\n\r\n",
    b"ACK sip:a SIP/2.0\r\n\r\n",
    b"BYE sip:a SIP/2.0\r\n\r\n",
    b"\r\n" + SIP,
    b"KDMQ sip:a SIP/2.0\r\n\r\n",
    b"HEP3\x00\x40",
] + [
    m + b" sip:a SIP/2.0\r\n\r\n"
    for m in (
        b"CANCEL",
        b"REGISTER",
        b"OPTIONS",
        b"PRACK",
        b"SUBSCRIBE",
        b"NOTIFY",
        b"PUBLISH",
        b"INFO",
        b"REFER",
        b"MESSAGE",
        b"UPDATE",
    )
]


@pytest.mark.parametrize("payload", STARTS, ids=lambda p: p[:8].decode(errors="replace").strip())
def test_what_starts_like_sip_passes_on_any_port(payload: bytes) -> None:
    for base in (E4, E6):
        whole = base / udp(payload)
        assert run(ETHERNET, bytes(whole)), "Ethernet"
        assert run(RAW, bytes(whole.payload)), "raw IP"
        tagged = ether() / Dot1Q(vlan=7) / whole.payload
        assert run(ETHERNET, bytes(tagged)), "one tag"
        double = ether(type=0x88A8) / Dot1Q(vlan=7) / Dot1Q(vlan=8) / whole.payload
        assert run(ETHERNET, bytes(double)), "two tags"


OLD_HEP = {
    **{
        f"{version}, {family}, {words[:4].strip().decode() or 'blank line'}": hep12(words, version, src=src, dst=dst)
        for version in (1, 2)
        for family, src, dst in (("IPv4", "192.0.2.1", "192.0.2.2"), ("IPv6", "2001:db8::1", "2001:db8::2"))
        for words in (SIP, b"BYE sip:a SIP/2.0\r\n\r\n", b"SIP/2.0 200 OK\r\n\r\n", b"\r\n" + SIP)
    },
    "2, unpadded": hep12(b"", 2)[:26] + b"SIP/2.0 200 OK\r\n\r\n",
    "2, unpadded IPv6": hep12(b"", 2, src="2001:db8::1", dst="2001:db8::2")[:50] + b"SIP/2.0 200 OK\r\n\r\n",
    "2, length without the time": b"\x02\x10" + hep12(SIP, 2)[2:],
    "1, the family of a Mac": b"\x01\x28\x1e" + hep12(SIP, 1, src="2001:db8::1", dst="2001:db8::2")[3:],
    "2, over TLS": b"\x02\x1c\x02\x16" + hep12(SIP, 2)[4:],
    "squeezed": gzip.compress(hep3(SIP)),
    "OpenSIPS 2": hepproducts.opensips12(SIP, 2),
}


@pytest.mark.parametrize("payload", OLD_HEP.values(), ids=OLD_HEP.keys())
def test_what_the_decoder_reads_as_old_or_squeezed_hep_passes_on_any_port(payload: bytes) -> None:
    assert parse_hep(payload).data
    for base in (E4, E6):
        assert run(ETHERNET, bytes(base / udp(payload)))
        assert run(RAW, bytes((base / udp(payload)).payload))


def near_hep(at: int, value: int, version: int = 1) -> bytes:
    """A packet of HEP with one byte changed."""
    packet = bytearray(hep12(SIP, version))
    packet[at] = value
    return bytes(packet)


NOT_SIP = {
    "HEP of another version": near_hep(0, 3),
    "a header length that no version has": near_hep(1, 0x11),
    "version 1 with the length of version 2": near_hep(1, 0x1C),
    "an unknown family": near_hep(2, 1),
    "IPv6 in an IPv4 header": near_hep(2, 10),
    "HEP 1 around no SIP": hep12(RTP, 1),
    "HEP 2 around no SIP": hep12(RTP, 2),
    "HEP 2 cut before its message": hep12(SIP, 2)[:29],
    "radius, whose length is that of a header": b"\x01\x10\x02\x11" + bytes(range(128, 228)),
    "dns, truncated, with such an identifier": b"\x01\x10\x02\x00\x00\x01"
    + bytes(6)
    + b"\x03www\x07example\x03org\x00",
    "stun error": b"\x01\x11\x00\x10\x21\x12\xa4\x42" + bytes(28),
    "gzip with flags": b"\x1f\x8b\x08\x08" + bytes(40),
    "dns, an inverse query": b"\x1f\x8b\x09\x00" + bytes(40),
    "rtp": RTP,
    "rtcp": b"\x81\xc9\x00\x07" + bytes(28),
    "stun": b"\x00\x01\x00\x08\x21\x12\xa4\x42" + bytes(16),
    "dtls": b"\x16\xfe\xff\x00" + bytes(40),
    "dns": b"AB\x01\x00\x00\x01" + bytes(20),
    "tiny": b"IN",
    "empty": b"",
    "lower case": b"get / http/1.0\r\n",
}


@pytest.mark.parametrize("payload", NOT_SIP.values(), ids=NOT_SIP.keys())
def test_other_udp_is_kept_out_but_not_on_a_sip_port(payload: bytes) -> None:
    for base in (E4, E6):
        other = base / udp(payload)
        tagged = ether() / Dot1Q(vlan=7) / Dot1Q(vlan=8) / other.payload
        assert not run(ETHERNET, bytes(other))
        assert not run(ETHERNET, bytes(tagged))
        assert not run(RAW, bytes(other.payload))
        assert run(ETHERNET, bytes(base / udp(payload, dport=5060)))
        assert run(ETHERNET, bytes(base / udp(payload, sport=5061)))
        assert run(RAW, bytes((base / udp(payload, dport=5060)).payload))


@pytest.mark.parametrize("first", [0x80, 0x90, 0xA0, 0xB0, 0x81, 0x8F], ids=hex)
def test_rtp_never_passes_whatever_its_payload_type_and_numbers(first: int) -> None:
    """Payload types with and without the marker are RTCP's packet types as well (RFC 5761 section 4)."""
    for kind in range(256):
        for sequence in (b"SIP/", b"HEP3", b"\r\nIN", b"\x10\x02\x11\x00"):
            packet = E4 / udp(bytes([first, kind]) + sequence + SIP)
            assert not run(ETHERNET, bytes(packet))


def test_log_lines_in_gzip_are_no_squeezed_hep() -> None:
    squeezed = gzip.compress(hep3(SIP))
    assert not run(ETHERNET, bytes(E4 / udp(squeezed, dport=12201)))
    assert not run(ETHERNET, bytes(E4 / udp(squeezed, sport=12201)))


def test_ip_options_move_the_ports() -> None:
    options = ether() / IP(src="192.0.2.1", dst="192.0.2.2", options=b"\x94\x04\x00\x00")
    assert run(ETHERNET, bytes(options / udp(RTP, dport=5060)))
    assert run(ETHERNET, bytes(options / udp(SIP)))
    assert not run(ETHERNET, bytes(options / udp(RTP)))


def test_every_fragment_passes_whatever_it_carries() -> None:
    pieces = fragment(INNER / udp(SIP + b"x" * 4000), fragsize=1400)
    assert len(pieces) == 3
    for piece in pieces:
        assert run(ETHERNET, bytes(ether() / piece))
        assert run(RAW, bytes(piece))
    later = E6 / IPv6ExtHdrFragment(offset=100, m=0, nh=17) / Raw(RTP)
    assert run(ETHERNET, bytes(later))
    assert run(ETHERNET, bytes(E6 / IPv6ExtHdrHopByHop() / udp(RTP)))
    assert not run(ETHERNET, bytes(ether() / IP(dst="192.0.2.2", flags="DF") / udp(RTP))), "DF is no fragment"


@pytest.mark.parametrize(("port", "passes"), [(5060, True), (5066, True), (5070, False), (443, False)])
def test_tcp_and_sctp_pass_on_sip_and_websocket_ports_only(port: int, passes: bool) -> None:
    for base in (E4, E6):
        for transport in (TCP, SCTP):
            assert bool(run(ETHERNET, bytes(base / transport(sport=port, dport=40000)))) is passes
            assert bool(run(ETHERNET, bytes(base / transport(sport=40000, dport=port)))) is passes


TUNNELS = {
    "ipip": E4 / INNER / udp(RTP),
    "6in4": E4 / INNER6 / udp(RTP),
    "4in6": E6 / INNER / udp(RTP),
    "6in6": E6 / INNER6 / udp(RTP),
    "gre": E4 / GRE() / INNER / udp(RTP),
    "vxlan": E4 / UDP(sport=40000, dport=4789) / VXLAN(vni=1) / ether() / INNER / udp(RTP),
    "geneve": E4 / udp(bytes(60), dport=6081),
    "gtp": E4 / udp(bytes(60), sport=2152),
    "l2tp": E4 / udp(bytes(60), dport=1701),
    "pppoe": ether() / PPPoE(sessionid=1) / PPP() / INNER / udp(RTP),
    "mpls": ether(type=0x8847) / Raw(bytes(60)),
    "three tags": ether() / Dot1Q() / Dot1Q() / Dot1Q() / INNER / udp(RTP),
}


@pytest.mark.parametrize("frame", TUNNELS.values(), ids=TUNNELS.keys())
def test_tunnels_pass_whole(frame: Packet) -> None:
    assert run(ETHERNET, bytes(frame))


def test_what_is_not_ours_is_kept_out() -> None:
    arp = ARP(psrc="192.0.2.1", hwsrc="02:00:00:00:00:01", pdst="192.0.2.2")
    for frame in (ether() / arp, E4 / ICMP(), ether(type=0x88CC) / Raw(bytes(50)), ether()):
        assert not run(ETHERNET, bytes(frame))
    assert not run(ETHERNET, bytes(E6 / IPv6ExtHdrHopByHop(nh=58) / Raw(bytes(20)))), "a multicast listener report"
    assert not run(RAW, b"\x10" + bytes(60))
    assert not run(RAW, b"")


def test_far_labels_are_reached_with_many_ports() -> None:
    program = bpf.default_program(range(20000, 20400))
    assert run(program, bytes(E4 / udp(RTP, dport=20000)))
    assert run(program, bytes(E4 / udp(RTP, dport=20399)))
    assert run(program, bytes(E6 / TCP(sport=20399, dport=1)))
    assert not run(program, bytes(E4 / udp(RTP, dport=20400)))


def test_a_program_too_long_for_the_kernel_says_so() -> None:
    program = bpf.default_program(range(1, 4000))
    with socket.socket() as sock, pytest.raises(bpf.FilterSyntax, match="4096"):
        program.attach(sock)


def test_the_kernel_takes_the_built_in_programs() -> None:
    for program in (ETHERNET, RAW):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            program.attach(sock)


def has_libpcap() -> bool:
    try:
        bpf._libpcap()
    except bpf.FilterSyntax:
        return False
    return True


@pytest.mark.skipif(not has_libpcap(), reason="needs libpcap")
class TestUserFilter:
    def test_it_does_what_it_says(self) -> None:
        program = bpf.compile_user("udp port 7000", 1)
        assert run(program, bytes(E4 / udp(RTP, dport=7000)))
        assert not run(program, bytes(E4 / udp(RTP, dport=7001)))
        raw = bpf.compile_user("udp port 7000", 101)
        assert run(raw, bytes((E4 / udp(RTP, dport=7000)).payload))
        assert not run(raw, bytes((E4 / udp(RTP, dport=7001)).payload))

    @pytest.mark.parametrize(
        ("expression", "part"),
        [
            ("udp prt 5060", "udp prt 5060"),
            ("port\n", "--filter"),
            ("not (vlan 5)", "takes VLAN tags off"),
            ("a\0b", "NUL"),
        ],
    )
    def test_a_bad_one_is_refused_in_one_line(self, expression: str, part: str) -> None:
        with pytest.raises(bpf.FilterSyntax) as caught:
            bpf.compile_user(expression, 1)
        assert part in str(caught.value)
        assert "\n" not in str(caught.value)


def test_without_libpcap_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr("ctypes.CDLL", nowhere)
    with pytest.raises(bpf.FilterSyntax, match="needs libpcap"):
        bpf.compile_user("udp", 1)
