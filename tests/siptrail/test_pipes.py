"""What comes through pipes, goes into them, or is interrupted: read once, told once, left at once."""

from __future__ import annotations

import gzip
import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.index.stored import START, call, capture

ROOT = Path(__file__).parents[2]
COMMAND = [
    sys.executable,
    "-c",
    f"import sys; sys.path.insert(0, {str(ROOT)!r}); from siptrail.cli import main; main()",
]


@pytest.fixture
def good(tmp_path: Path) -> bytes:
    return capture(tmp_path / "good.pcap", call("one", START)).read_bytes()


def run(folder: Path, *arguments: str, code: int, **given: Any) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run([*COMMAND, *arguments], cwd=folder, capture_output="stdout" not in given, timeout=60, **given)
    assert done.returncode == code, done
    assert b"Traceback" not in (done.stderr or b"")
    return done


@pytest.mark.parametrize("data", [b"XXXX", b"XXXXYYYYZZZZ", b"XXXX*"], ids=["short", "long", "before a capture"])
def test_standard_input_that_is_no_capture_is_read_once(data: bytes, good: bytes, tmp_path: Path) -> None:
    done = run(tmp_path, "import", "-", "--store", "store", code=3, input=data.replace(b"*", good))
    assert b"its first bytes are 58 58 58 58" in done.stderr


def test_a_named_pipe_is_read_once(good: bytes, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for data, code, told in ((b"XXXXYYYY", 3, b"58 58 58 58"), (good, 0, b"3 SIP messages from 3 packets")):
        feeder = threading.Thread(target=pipe.write_bytes, args=(data,))
        feeder.start()
        done = run(tmp_path, "import", "pipe", "--store", "store", code=code)
        feeder.join(10)
        assert told in done.stdout + done.stderr


def test_a_store_that_cannot_be_had_is_told_before_anything_comes_in(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    try:
        done = run(tmp_path, "import", "-", "--store", "/proc/none", code=3, stdin=reader)
    finally:
        os.close(reader)
        os.close(writer)
    assert b"cannot open the store /proc/none" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["store"], ["version"], ["calls", "--pcap", "good.pcap"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_output_that_takes_nothing_is_one_line(
    arguments: list[str], unbuffered: str, good: bytes, tmp_path: Path
) -> None:
    given = {"env": os.environ | {"PYTHONUNBUFFERED": unbuffered}, "stderr": subprocess.PIPE}
    with open("/dev/full", "wb") as full:
        done = run(tmp_path, *arguments, code=3, stdout=full, **given)
    assert done.stderr == b"siptrail: No space left on device\n"
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run(tmp_path, *arguments, code=0, stdout=writer, **given)
    finally:
        os.close(writer)
    assert done.stderr == b"", "who reads no more has seen enough"


@pytest.mark.parametrize("arguments", [["show", b"\xff", "--pcap", "good.pcap"], ["calls", "--token", b"\xff"]])
def test_bytes_that_are_no_text_are_one_line(arguments: list[Any], good: bytes, tmp_path: Path) -> None:
    address = {"SIPTRAIL_URL": "http://127.0.0.1:1"} if "--token" in arguments else {}
    done = run(tmp_path, *arguments, code=2, env=os.environ | address)
    assert b"is no text in UTF-8" in done.stderr and done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("first", [True, False])
def test_an_import_that_is_interrupted_ends_at_once(first: bool, good: bytes, tmp_path: Path) -> None:
    """Also while a large file is only looked at, to tell whether the store has it."""
    piece = gzip.compress(bytes(1 << 28), 1)
    began = time.process_time()
    with gzip.open(io.BytesIO(piece)) as unpacked:
        while unpacked.read(1 << 20):
            pass
    whole = 256 * (time.process_time() - began)  # to unpack all of it
    (tmp_path / "large.gz").write_bytes(gzip.compress(good[:24]) + 256 * piece)
    files = ["large.gz"] if first else ["good.pcap", "large.gz"]
    importing = subprocess.Popen(
        [*COMMAND, "import", *files, "--store", "store"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while not (tmp_path / "store" / "catalogue.duckdb").exists():
        time.sleep(0.05)
    time.sleep(0.5)
    before = os.times().children_user
    importing.send_signal(signal.SIGINT)
    told, _ = importing.communicate(timeout=120)
    assert importing.returncode == 130 and told.strip() == b""
    assert os.times().children_user - before < whole / 4
