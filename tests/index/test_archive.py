"""Rows move from memory to the lake without a reader ever missing or doubling one, and come out as they went in."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import dpkt
import pytest

from capture.pipeline import Decoder
from capture.sources.pcapfile import PcapFile
from capture.warm import warm_up
from diagnose.file_desk import FileDesk
from index.archive import Archive
from index.columns import DAY_NS, HOUR_NS, to_rows
from index.filter import parse_filter
from index.importing import import_file
from index.lake import Lake
from index.pcapfile import write_capture
from index.spool import Spool
from sip.errors import NotFound, Unreachable

START = 1_767_607_200_000_000_000
FROM, TO = bytes((203, 0, 113, 5)), bytes((198, 51, 100, 10))


def frame(payload: bytes, src: bytes = FROM, dst: bytes = TO, ident: int = 1) -> bytes:
    udp = dpkt.udp.UDP(sport=5060, dport=5060, data=payload, ulen=len(payload) + 8)
    ip = dpkt.ip.IP(src=src, dst=dst, p=17, id=ident, data=udp)
    return bytes(dpkt.ethernet.Ethernet(data=ip, type=0x0800))


def message(start: str, call_id: bytes, cseq: str, tag: str = "", extra: str = "") -> bytes:
    return (
        (
            f"{start}\r\nVia: SIP/2.0/UDP 203.0.113.5;branch=z9hG4bK{cseq.replace(' ', '')}\r\n"
            f"From: <sip:1001@a>;tag=1\r\nTo: <sip:2002@b>{tag}\r\n"
            f"CSeq: {cseq}\r\n{extra}Call-ID: "
        ).encode()
        + call_id
        + b"\r\nContent-Length: 0\r\n\r\n"
    )


def call(call_id: bytes, at: int, code: int = 200, reason: str = "OK") -> list[tuple[int, bytes]]:
    out = [
        (at, frame(message("INVITE sip:2002@b SIP/2.0", call_id, "1 INVITE"))),
        (at + 10**8, frame(message("SIP/2.0 180 Ringing", call_id, "1 INVITE", ";tag=2"), TO, FROM)),
        (at + 2 * 10**9, frame(message(f"SIP/2.0 {code} {reason}", call_id, "1 INVITE", ";tag=2"), TO, FROM)),
    ]
    if code == 200:
        out += [
            (at + 5 * 10**9, frame(message("BYE sip:2002@b SIP/2.0", call_id, "2 BYE", ";tag=2"))),
            (at + 5 * 10**9 + 1, frame(message("SIP/2.0 200 OK", call_id, "2 BYE", ";tag=2"), TO, FROM)),
        ]
    return out


def capture(path: Path, *calls: list[tuple[int, bytes]]) -> Path:
    from capture.frames import Frame

    packets = sorted(p for c in calls for p in c)
    path.write_bytes(write_capture(Frame(ts, 1, "eth0", len(data), data) for ts, data in packets))
    return path


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "store")


def test_a_call_is_the_same_hot_and_stored(tmp_path: Path, lake: Lake) -> None:
    source = capture(
        tmp_path / "a.pcap", call(b"one", START), call(b"two", START + HOUR_NS, 503, "Server at max cps/channels")
    )
    archive = Archive(lake, lambda: START + DAY_NS)
    memory = Archive(None, lambda: START + DAY_NS)
    for one in (archive, memory):
        import_file(one, str(source), "n1")
    assert archive.hot_rows()[0] == 0 and memory.hot_rows()[0] == 8
    assert archive.calls(None, 10) == memory.calls(None, 10)
    first = archive.call("one")
    assert (first.state, first.final_code, first.talk_ms, first.pdd_ms, first.messages) == (
        "completed",
        200,
        3000.0,
        100.0,
        5,
    )
    assert (archive.call("two").state, archive.call("two").final_reason) == ("failed", "Server at max cps/channels")
    assert [m.sip.raw for m in archive.trace("one").messages] == [m.sip.raw for m in memory.trace("one").messages]
    assert [f.data for f in archive.frames(["two"])] == [
        d for _, d in call(b"two", START + HOUR_NS, 503, "Server at max cps/channels")
    ]


def test_a_call_that_spans_hours_is_one_call(tmp_path: Path, lake: Lake) -> None:
    begin = START + HOUR_NS - 10**9
    archive = Archive(lake, lambda: START + DAY_NS)
    whole = call(b"long", begin)
    for n, part in enumerate((whole[:2], whole[2:])):
        import_file(archive, str(capture(tmp_path / f"{n}.pcap", part)), "n1")
    found = archive.calls(None, 10)
    assert [(c.call_id, c.start, c.messages, c.state) for c in found] == [("long", begin, 5, "completed")]


@pytest.mark.parametrize(
    "call_id", [b"a/b%2F?#@\"'x", b"with space", "ümlaut–€".encode(), b"\xff\xfe\x80", b"%", b"x" * 3000, b"\x1b[2J"]
)
def test_every_call_id_works(tmp_path: Path, lake: Lake, call_id: bytes) -> None:
    from sip.text import bytes_of, text_of

    archive = Archive(lake, lambda: START + DAY_NS)
    import_file(archive, str(capture(tmp_path / "a.pcap", call(call_id, START), call(b"other", START))), "n1")
    name = text_of(call_id)
    assert bytes_of(name) == call_id
    assert archive.call(name).messages == 5
    assert len(archive.frames([name])) == 5


def test_pages_are_complete_and_stable(tmp_path: Path, lake: Lake) -> None:
    archive = Archive(lake, lambda: START + DAY_NS)
    import_file(
        archive,
        str(capture(tmp_path / "a.pcap", *(call(b"c%03d" % i, START + i // 3 * 10**9) for i in range(50)))),
        "n1",
    )
    seen: list[str] = []
    before = None
    while page := archive.calls(None, 7, before):
        seen += [c.call_id for c in page]
        before = (page[-1].start, page[-1].call_id)
    assert sorted(seen) == [f"c{i:03d}" for i in range(50)]
    failed = archive.calls(parse_filter("state:failed", START), 100)
    assert failed == []
    assert len(archive.calls(parse_filter("from:100* talk:>2s since:2020-01-01", START), 100)) == 50


def test_readers_never_miss_or_double_while_rows_move(tmp_path: Path, lake: Lake) -> None:
    archive = Archive(lake, lambda: START + DAY_NS)
    archive.spool = Spool(tmp_path / "store" / "spool")
    blocks = warm_up()
    wrong: list[int] = []
    done = threading.Event()
    added = [0]

    def read() -> None:
        while not done.is_set():
            low = added[0]
            got = archive.call("warm").messages if low else 0
            if not low <= got <= added[0] + 1:
                wrong.append(got)

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(60):
        archive.add(to_rows(blocks[0], "n1"), blocks[0])
        added[0] += 1
        if i % 5 == 4:
            archive.flush()
    done.set()
    reader.join()
    assert not wrong
    assert archive.call("warm").messages == 60
    assert archive.spool.left_over() == []


def test_batches_of_requests_and_of_responses_go_together(tmp_path: Path) -> None:
    """Calls that begin with a response are turned round; their rows stand beside those of the others."""
    archive = Archive(None, lambda: START + DAY_NS)
    for n, start in enumerate(("OPTIONS sip:b@x SIP/2.0", "SIP/2.0 200 OK", "BYE sip:b@x SIP/2.0")):
        path = tmp_path / f"{n}.pcap"
        with path.open("wb") as out:
            writer = dpkt.pcap.Writer(out)
            writer.writepkt(frame(message(start, b"%d" % n, "1 OPTIONS" if n < 2 else "2 BYE")), START / 1e9)
        import_file(archive, str(path), "n")
        assert len(archive.calls(None, 10)) == n + 1
    sides = {c.call_id: (c.src, c.dst) for c in archive.calls(None, 10)}
    assert sides["1"] == tuple(reversed(sides["0"])) and sides["2"] == sides["0"]
    archive.close()


def test_a_spool_that_cannot_be_written_keeps_what_is_whole(tmp_path: Path) -> None:
    """A disk that is full for a while: the segment stays readable, and what it lacks is counted."""
    (block,) = [b for b in warm_up() if not b.reassembled]
    spool = Spool(tmp_path)
    spool.append(block)
    spool.rotate().result()
    first = next(tmp_path.glob("*.pcapng")).stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (first + 100, hard))  # one packet and a bit
        spool.append(block)
        spool.append(block)
        (_, second) = sorted(spool.rotate().result())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert (tmp_path / second).stat().st_size == first and spool.skipped == 1
    spool.append(block)
    spool.append(block)
    (*_, third) = sorted(spool.rotate().result())
    for name, packets in ((second, 1), (third, 2)):
        source = PcapFile(str(tmp_path / name))
        assert sum(len(b) for b in source.blocks()) == packets and source.damage is None
    spool.close()


def test_a_spool_that_is_too_slow_does_not_hold_up_capture(tmp_path: Path) -> None:
    spool = Spool(tmp_path, most_bytes=-1)  # more than so much always waits
    spool.append(warm_up()[0])
    assert spool.skipped == 1 and spool.rotate().result() == []
    spool.close()


def test_a_synced_spool_holds_all_that_was_appended_before(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    block = warm_up()[0]
    for _ in range(500):
        spool.append(block)
    spool.sync()
    (segment,) = spool.left_over() or list(tmp_path.glob("*.pcapng"))
    with open(tmp_path / segment, "rb") as file:
        assert sum(1 for _ in dpkt.pcapng.Reader(file)) == 500 * len(block)
    spool.close()


def test_the_spool_brings_back_what_was_not_flushed(tmp_path: Path, lake: Lake) -> None:
    archive = Archive(lake, lambda: START + DAY_NS)
    archive.spool = Spool(tmp_path / "store" / "spool")
    decoder = Decoder()
    from capture.sources.pcapfile import PcapFile

    for block in PcapFile(str(capture(tmp_path / "a.pcap", call(b"one", START), call(b"two", START)))).blocks():
        for messages in decoder.feed(block):
            archive.add(to_rows(messages, "n1"), messages)
    archive.spool.sync()
    archive.close()
    again = Archive(Lake(tmp_path / "store"), lambda: START + DAY_NS)
    with pytest.raises(NotFound):
        again.call("one")
    spool = Spool(tmp_path / "store" / "spool")
    for name in spool.left_over():
        import_file(again, str(spool.folder / name), "n1", segments=[name])
    assert again.call("one").messages == 5 and again.call("two").messages == 5
    again.close()


def test_what_is_stored_leaves_memory_whoever_asked_before(tmp_path: Path, lake: Lake) -> None:
    archive = Archive(lake, lambda: START + DAY_NS)
    held = []
    for block in PcapFile(str(capture(tmp_path / "a.pcap", call(b"one", START)))).blocks():
        for messages in Decoder().feed(block):
            rows = to_rows(messages, "n1")
            held.append(weakref.ref(rows.frames))
            archive.add(rows)
    del rows
    assert archive.call("one").messages == 5 and archive.calls(None, 10)
    assert held and all(rows() is not None for rows in held)
    archive.flush()
    assert all(rows() is None for rows in held)
    assert archive.call("one").messages == 5
    archive.close()


def test_a_call_is_whole_however_long_ago_it_began(tmp_path: Path, lake: Lake) -> None:
    """Only those whose beginning is not among the recent rows are looked for further back."""
    archive = Archive(lake, lambda: START + HOUR_NS)
    again = message("INVITE sip:2002@b SIP/2.0", b"old", "3 INVITE", ";tag=2"), START + 30 * 60 * 10**9
    refused = message("SIP/2.0 488 Not Acceptable Here", b"old", "3 INVITE", ";tag=2"), again[1] + 1
    old = [(again[1], frame(again[0])), (refused[1], frame(refused[0], TO, FROM))]
    new = call(b"new", again[1], 503, "Service Unavailable")
    import_file(archive, str(capture(tmp_path / "a.pcap", call(b"old", START)[:3], call(b"o", START))), "n")
    import_file(archive, str(capture(tmp_path / "b.pcap", old, new)), "n")
    found = {c.call_id: c for c in archive.calls_of(["old", "new", "none"], 0, again[1] - 10**9)}
    assert {c: (x.messages, x.start) for c, x in found.items()} == {"old": (5, START), "new": (3, again[1])}
    assert found == {c.call_id: c for c in archive.calls_of(["old", "new"], 0)}
    assert archive.calls_of(["o"], START + HOUR_NS, START + HOUR_NS) == []
    archive.close()


def test_a_second_process_is_refused_in_words(tmp_path: Path, lake: Lake) -> None:
    with pytest.raises(Unreachable, match="open in another process"):
        Lake(tmp_path / "store")


def test_a_newer_store_is_refused_in_words(tmp_path: Path, lake: Lake) -> None:
    lake.con.execute("UPDATE lake.about SET value = '99' WHERE name = 'schema'")
    lake.close()
    with pytest.raises(Unreachable, match="newer siptrail"):
        Lake(tmp_path / "store")


def test_kill_9_keeps_what_was_committed(tmp_path: Path) -> None:
    source = capture(tmp_path / "a.pcap", *(call(b"k%03d" % i, START + i * 10**9) for i in range(200)))
    script = (
        "import sys, os, signal\nfrom pathlib import Path\nfrom index.archive import Archive\n"
        "from index.importing import import_file\n"
        "from index.lake import Lake\na = Archive(Lake(Path(sys.argv[1])), lambda: 0)\n"
        "import_file(a, sys.argv[2], 'n')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "s"), str(source)],
        cwd=Path(__file__).parents[2],
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert run.returncode == -signal.SIGKILL
    archive = Archive(Lake(tmp_path / "s"), lambda: START + DAY_NS)
    assert len(archive.calls(None, 1000)) == 200
    archive.close()


@pytest.mark.parametrize(
    "break_it",
    [
        lambda b: b[:-7],
        lambda b: b[:24],
        lambda b: b[:10],
        lambda b: b + b"\xff" * 40,
        lambda b: b[:32] + b"\xff" * 4 + b[36:],
    ],
)
def test_damaged_files_keep_what_can_be_read(tmp_path: Path, break_it: Callable[[bytes], bytes]) -> None:
    path = capture(tmp_path / "a.pcap", call(b"one", START))
    path.write_bytes(break_it(path.read_bytes()))
    desk = FileDesk(str(path), "n", frozenset({5060}), True)
    assert desk.stats().messages <= 5
    assert desk.result is not None and (desk.result.damage or desk.stats().messages == 0)
    desk.close()


def test_a_file_that_is_no_capture_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"hello world, this is text")
    with pytest.raises(Unreachable, match="no pcap or pcapng"):
        FileDesk(str(tmp_path / "x"), "n", frozenset({5060}), True)


@pytest.mark.parametrize(("stored", "hot"), [(200, 5), (2000, 50)])
def test_calls_without_their_beginning_are_listed_beside_hot_ones(tmp_path: Path, stored: int, hot: int) -> None:
    """As after a restart under traffic: the oldest calls lack their INVITE, the newest are not stored yet."""
    archive = Archive(Lake(tmp_path / "store"), lambda: START + HOUR_NS)
    calls = [call(b"c%d" % n, START + n * 10**6) for n in range(stored)]
    late = [c[1:] for c in calls[:3]]
    import_file(archive, str(capture(tmp_path / "a.pcap", *late, *calls[3:])), "n")
    block = capture(tmp_path / "b.pcap", *(call(b"h%d" % n, START + n * 10**6)[1:] for n in range(hot)))
    decoder = Decoder(frozenset({5060}), 1 << 40)
    for frames in PcapFile(str(block)).blocks():
        for messages in decoder.feed(frames):
            archive.add(to_rows(messages, "n"), messages)
    assert len(archive.calls(None, 10_000)) == stored + hot
    assert len(archive.calls_of([f"c{n}" for n in range(100)], 0)) == 100
    assert len(archive.traces([f"c{n}" for n in range(100)] + ["h0"])) == 101
    archive.close()
