"""`siptrail show --dissect`: tshark's view of a call's messages, in order, and its absence told in one line."""

from __future__ import annotations

import asyncio
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from capture.frames import Frame
from sip.errors import NotFound
from siptrail.dissect import dissect_call
from tests.capture.wire import SECOND, ether, frame, ip4, ok, sip, tcp_frame, udp

SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n"
FROM_TO = b"From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>\r\n"
INVITE = sip("dissected", SDP, extra=FROM_TO + b"Content-Type: application/sdp\r\n")


def pcap(*frames: Frame) -> bytes:
    """A capture with nanoseconds."""
    out = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1)
    for f in frames:
        out += struct.pack("<IIII", f.ts // 10**9, f.ts % 10**9, len(f.data), f.original) + f.data
    return out


def over_udp(*messages: bytes, port: int = 5060) -> bytes:
    return pcap(*(frame(ether(ip4(17, udp(m, port, port), ident=n)), n * SECOND) for n, m in enumerate(messages)))


def show(
    folder: Path, capture: bytes, call_id: str = "dissected", **environment: str
) -> subprocess.CompletedProcess[str]:
    """The command itself."""
    (folder / "call.pcap").write_bytes(capture)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SIPTRAIL_")}
    return subprocess.run(
        [sys.executable, "-m", "siptrail.cli", "show", call_id, "--dissect", "--pcap", "call.pcap"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
        env=kept | environment,
    )


@pytest.mark.needs("tshark")
def test_every_message_is_shown_in_order_with_its_fields(tmp_path: Path) -> None:
    done = show(tmp_path, over_udp(INVITE, sip("other call"), ok("dissected")), TZ="America/New_York")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("Frame")] == [
        "Frame 1  2001-09-09T01:46:40.000000Z",
        "Frame 2  2001-09-09T01:46:42.000000Z",
    ]
    request = lines.index("  Request-Line: INVITE sip:bob@198.51.100.10 SIP/2.0")
    assert request < lines.index("    Media Port: 4000") < lines.index("  Status-Line: SIP/2.0 200 OK")
    for field in ("Call-ID: dissected", "SIP from tag: 1", "Media Type: audio", "Media Format: ITU-T G.711 PCMA"):
        assert f"    {field}" in lines
    assert "other call" not in done.stdout


@pytest.mark.needs("tshark")
@pytest.mark.parametrize(
    "capture",
    [
        pytest.param(pcap(tcp_frame(INVITE[:150], 1), tcp_frame(INVITE[150:], 151)), id="in two TCP segments"),
        pytest.param(
            pcap(
                frame(ether(ip4(17, udp(INVITE)[:200], more=True))), frame(ether(ip4(17, udp(INVITE)[200:], off=200)))
            ),
            id="in two fragments",
        ),
        pytest.param(over_udp(INVITE, port=7777), id="on another port"),
        pytest.param(
            pcap(tcp_frame(INVITE[:10], 1, dport=7777), tcp_frame(INVITE[10:], 11, dport=7777)),
            id="in TCP on another port",
        ),
    ],
)
def test_reassembled_as_tshark_does_it(capture: bytes) -> None:
    text = dissect_call(capture, [5060, 7777])
    assert "    Call-ID: dissected" in text
    assert "    Media Port: 4000" in text


@pytest.mark.needs("tshark")
def test_several_messages_in_a_segment_are_all_shown() -> None:
    text = dissect_call(pcap(tcp_frame(INVITE + sip("second", method="BYE"), 1)), [5060])
    assert text.index("Call-ID: dissected") < text.index("Request-Line: BYE") < text.index("Call-ID: second")


@pytest.mark.needs("tshark")
def test_nothing_of_the_wire_reaches_the_terminal_as_a_command() -> None:
    hostile = sip("hostile", extra=b"Subject: \x1b[2J\x1b]0;owned\x07 \xe2\x80\xae\r\n")
    text = dissect_call(over_udp(hostile), [5060])
    assert "Subject" in text and "owned" in text
    assert not any((c < " " and c != "\n") or c in "\x7f\u202e" for c in text)


@pytest.mark.needs("tshark")
def test_where_tshark_finds_nothing_it_says_so() -> None:
    with pytest.raises(NotFound, match="no SIP"):
        dissect_call(over_udp(b"no SIP at all", port=9), [5060])


@pytest.mark.needs("tshark")
def test_it_needs_no_event_loop_of_others() -> None:
    asyncio.set_event_loop(None)  # as asyncio.run leaves it
    assert "INVITE" in dissect_call(over_udp(INVITE), [5060])


def test_without_tshark_the_error_says_what_to_install(tmp_path: Path) -> None:
    done = show(tmp_path, over_udp(INVITE), PATH=str(tmp_path))
    assert done.returncode == 3
    assert done.stderr.splitlines() == ["siptrail: --dissect needs tshark; install it (Debian: apt install tshark)"]


@pytest.mark.needs("tshark")
def test_without_pyshark_the_error_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "pyshark.py").write_text("raise ImportError('not installed')\n")
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    done = show(tmp_path, over_udp(INVITE), PYTHONPATH=paths)
    assert done.returncode == 3
    assert done.stderr.splitlines() == ["siptrail: --dissect needs pyshark; install siptrail[dissect]"]
