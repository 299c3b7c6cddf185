"""What a process may do before and after it gave up its capabilities (each in a process of its own)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from capture import privileges

TOP = Path(__file__).resolve().parents[2]


def run_python(code: str, *, user: int | None = None) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, timeout=120, user=user)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_text_is_one_line_and_names_capability_and_cure() -> None:
    text = privileges.missing_capability_text()
    assert "\n" not in text
    for part in ("CAP_NET_RAW", "sudo setcap cap_net_raw+ep /", "AmbientCapabilities"):
        assert part in text


@pytest.mark.needs("root")
def test_dropping_takes_new_packet_sockets_away_for_good() -> None:
    out = run_python(
        "from capture.privileges import *\n"
        "print(can_capture(), threads_with_capabilities())\n"
        "drop_capabilities()\n"
        "print(can_capture(), threads_with_capabilities())\n"
        "wanted = ('CapInh', 'CapPrm', 'CapEff', 'CapAmb', 'NoNewPrivs')\n"
        "print(*(f'{k}={int(v, 16)}' for k, v in (l.split(':') for l in open('/proc/self/status')) if k in wanted))\n"
    )
    assert out.splitlines() == ["True 1", "False 0", "CapInh=0 CapPrm=0 CapEff=0 CapAmb=0 NoNewPrivs=1"]


@pytest.mark.needs("root")
def test_a_ring_opened_before_still_reads_after() -> None:
    out = run_python(
        "import socket\n"
        "from capture.bpf import default_program\n"
        "from capture.privileges import drop_capabilities\n"
        "from capture.sources.ring import open_ring\n"
        "ring = open_ring('lo', program=default_program({5060}), block_bytes=1 << 16, blocks=4)\n"
        "drop_capabilities()\n"
        "payload = b'OPTIONS sip:after-the-drop SIP/2.0\\r\\n\\r\\n'\n"
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(payload, ('127.0.0.1', 9))\n"
        "seen = b''\n"
        "for _ in range(50):\n"
        "    block = ring.poll(0.2)\n"
        "    seen += bytes(block.data) if block is not None else b''\n"
        "    if payload in seen: break\n"
        "print(payload in seen)\n"
    )
    assert out == "True"


@pytest.mark.needs("root")
def test_without_the_capability_opening_says_what_to_do() -> None:
    out = run_python(
        "from capture.privileges import can_capture, drop_capabilities\n"
        "from capture.sources.ring import CaptureError, open_ring\n"
        "drop_capabilities()\n"
        "try: open_ring('lo', program=None)\n"
        "except CaptureError as error: print(error.exit_code, error)\n"
    )
    assert out.startswith("3 cannot record lo: ")
    assert "sudo setcap cap_net_raw+ep" in out


@pytest.mark.needs("root")
@pytest.mark.parametrize("early", [True, False])
def test_capture_threads_go_first_where_the_rights_were_there(early: bool) -> None:
    """They outlive the rights, which nobody keeps; the other threads stay where they are."""
    make = "threads = PreferredThreads()\n"
    out = run_python(
        "import os, threading\n"
        "from capture.privileges import *\n"
        f"threads_with_capabilities(); {make if early else ''}\n"
        "become(65534, 65534)\n"
        f"{'' if early else make}"
        "threads.drop_capabilities(); drop_capabilities()\n"
        "def work():\n"
        "    print(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))\n"
        "thread = threading.Thread(target=work); threads.start(thread); thread.join()\n"
        "print(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()), threads_with_capabilities())\n"
    )
    usual = os.nice(0)  # the tests may have been started behind others
    assert out.splitlines() == [str(-10 if early else usual), f"{usual} 0"]


@pytest.mark.needs("root")
def test_the_thread_that_starts_them_keeps_no_capability() -> None:
    out = run_python(
        "from capture.privileges import *\n"
        "threads = PreferredThreads()\n"
        "drop_capabilities(); print(threads_with_capabilities())\n"
        "threads.drop_capabilities(); print(threads.granted, threads_with_capabilities())\n"
    )
    assert out.splitlines() == ["1", "True 0"]
