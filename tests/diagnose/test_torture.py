"""The torture messages of RFC 4475 and RFC 5118, each alone in a capture: valid ones raise no alarm.

SIPTRAIL_CORPUS names a folder with torture/ in it; torture.toml holds what must be told of each message, and why.
"""

from __future__ import annotations

import os
import struct
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from calls import RULES

from capture.frames import Frame
from diagnose.file_desk import FileDesk
from diagnose.finding import Finding
from sip.message import parse_message
from tests.capture.wire import ether, frame, ip4, syn, tcp_frame, udp

EXPECTED: dict[str, dict[str, Any]] = tomllib.loads((Path(__file__).parent / "torture.toml").read_text("utf-8"))
PORTS = frozenset({5060})
CONTEXT = {"media-port-unusual", "nat-test-bits"}
"""Told of nearly each of them, and no judgement of the message's form."""
BROKEN_EXAMPLES = {"rfc5118/ipv4-mapped-ipv6", "rfc5118/ipv6-in-sdp", "rfc5118/mult-ip-in-sdp"}
"""Meant to be valid, but their Content-Length was not counted again."""

each_message = pytest.mark.parametrize("name", EXPECTED)


def _folder() -> Path:
    return Path(os.environ["SIPTRAIL_CORPUS"]) / "torture"


def _frames(raw: bytes) -> list[Frame]:
    """In the transport that its Via names; TLS cannot be seen inside, and the others say nothing of the transport."""
    via = parse_message(raw).top_via
    if via is not None and via.transport.upper() in ("TCP", "TLS"):
        return [syn(1000), tcp_frame(raw, 1000, 1_000_000)]
    return [frame(ether(ip4(17, udp(raw))))]


def _pcap(frames: Iterable[Frame]) -> bytes:
    out = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1)
    for f in frames:
        out += struct.pack("<IIII", *divmod(f.ts, 10**9), len(f.data), len(f.data)) + f.data
    return out


@cache
def _told(raw: bytes, folder: Path) -> tuple[Finding, ...]:
    path = folder / "message.pcap"
    path.write_bytes(_pcap(_frames(raw)))
    desk = FileDesk(str(path), "here", PORTS, True, rules=RULES)
    try:
        (call,) = desk.calls().calls
        return desk.findings(call.call_id)
    finally:
        desk.close()


@pytest.fixture
def told(name: str, tmp_path: Path) -> tuple[Finding, ...]:
    """What is told of the message."""
    path = _folder() / f"{name}.dat"
    if not path.exists():
        pytest.skip(f"SIPTRAIL_CORPUS has no torture/{name}.dat")
    return _told(path.read_bytes(), tmp_path)


@pytest.mark.needs("corpus")
@each_message
def test_what_is_told_of_it(name: str, told: tuple[Finding, ...]) -> None:
    assert not [r.name for r in RULES if r.failures]
    seen = {f.name: f.severity for f in told if f.name not in CONTEXT}
    assert seen == EXPECTED[name]["findings"], [f.headline for f in told]


@pytest.mark.needs("corpus")
@each_message
def test_valid_ones_raise_no_alarm(name: str, told: tuple[Finding, ...]) -> None:
    alarms = [f.headline for f in told if f.severity in ("critical", "error")]
    assert not alarms or not EXPECTED[name]["valid"] or name in BROKEN_EXAMPLES


@pytest.mark.needs("corpus")
def test_every_message_was_read() -> None:
    folder = _folder()
    assert {str(p.relative_to(folder).with_suffix("")) for p in folder.rglob("*.dat")} == set(EXPECTED)


@each_message
def test_every_entry_names_rules_that_are_there_and_says_why(name: str) -> None:
    entry = EXPECTED[name]
    assert set(entry) == {"valid", "findings", "why"} and entry["why"].strip()
    assert set(entry["findings"]) <= {rule.name for rule in RULES}
