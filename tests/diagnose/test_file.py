"""From the bytes of a capture file to findings, a headline and JSON, with the user's own rules."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from calls import CALL_ID, INVITE_TIMES, Packet, request
from cases import CASES, unanswered

from diagnose.engine import load_rules
from diagnose.file_desk import FileDesk
from diagnose.finding import Evidence

OWN = '''"""A rule of our own."""
from diagnose.finding import Finding
def check(call):
    yield Finding("", "warning", "possible", f"{len(call.steps)} messages.", (), "Count them.", "none", 95)
'''


def frame(p: Packet, ident: int) -> bytes:
    """Ethernet, IPv4 and UDP round a message."""
    (src, sport), (dst, dport) = (x.rsplit(":", 1) for x in (p.src, p.dst))
    udp = struct.pack(">HHHH", int(sport), int(dport), len(p.raw) + 8, 0) + p.raw
    ip = struct.pack(">BBHHHBBH", 0x45, 0, len(udp) + 20, ident, 0, 64, 17, 0)
    return bytes(12) + b"\x08\x00" + ip + ip_address(src).packed + ip_address(dst).packed + udp


def pcap(packets: list[Packet]) -> bytes:
    out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
    for n, p in enumerate(sorted(packets, key=lambda p: p.at)):
        data = frame(p, n + 1)
        seconds = 1_700_000_000 + p.at
        out += struct.pack("<IIII", int(seconds), round(seconds % 1 * 1e6), len(data), len(data)) + data
    return out


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[FileDesk]:
    """A phone behind NAT, and a last packet of another call 40 s later."""
    own = tmp_path / "rules"
    own.mkdir()
    (own / "count_messages.py").write_text(OWN)
    other = request("OPTIONS").replace(CALL_ID.encode(), b"other")
    packets = [*CASES["private-contact-to-public-peer"].fires, Packet(40, "192.0.2.1:5060", "192.0.2.2:5060", other)]
    (tmp_path / "a.pcap").write_bytes(pcap(packets))
    made = FileDesk(str(tmp_path / "a.pcap"), "n", frozenset({5060}), True, rules=load_rules(own))
    yield made
    made.close()


def test_findings_come_out_of_a_file(desk: FileDesk) -> None:
    found = desk.findings(CALL_ID)
    names = ["private-contact-to-public-peer", "count-messages", "nat-test-bits", "received-missing"]
    assert [f.name for f in found] == names
    assert found[0].evidence[0] == Evidence(
        1,
        "Contact says 192.168.1.20, which is private; the packet went from 203.0.113.9:31044 to 198.51.100.10:5060",
        "Contact: <sip:alice@192.168.1.20:5060>",
    )
    assert found[1].headline == "3 messages."


def test_the_list_shows_the_headline(desk: FileDesk) -> None:
    call = next(c for c in desk.calls().calls if c.call_id == CALL_ID)
    assert call.headline == desk.findings(CALL_ID)[0].headline
    assert call.severity == "error"
    assert call.findings == tuple(f.name for f in desk.findings(CALL_ID))


def test_the_json_report(desk: FileDesk) -> None:
    record = desk.findings(CALL_ID)[1].to_json()
    assert record == {
        "name": "count-messages",
        "severity": "warning",
        "confidence": "possible",
        "headline": "3 messages.",
        "evidence": (),
        "advice": "Count them.",
        "reference": "none",
        "precedence": 95,
    }


def test_what_another_call_shows_counts_as_heard(tmp_path: Path) -> None:
    """Whether the way back is visible is a matter of the whole capture, not of one call."""
    silent = list(unanswered())
    assert len(silent) == len(INVITE_TIMES) + 1
    back = Packet(35, silent[0].dst, silent[0].src, request("OPTIONS").replace(CALL_ID.encode(), b"other"))
    for packets, name in ((silent, "one-sided-capture"), ([*silent, back], "invite-unanswered")):
        later = Packet(45, "192.0.2.1:5060", "192.0.2.2:5060", request("OPTIONS").replace(CALL_ID.encode(), b"third"))
        (tmp_path / "b.pcap").write_bytes(pcap([*packets, later]))
        desk = FileDesk(str(tmp_path / "b.pcap"), "n", frozenset({5060}), True)
        try:
            assert [f.name for f in desk.findings(CALL_ID)] == [name]
        finally:
            desk.close()
