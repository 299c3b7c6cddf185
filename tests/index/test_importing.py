"""A capture file that is begun before there is a store to put its messages in."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest

from capture.links import UnknownLinkType
from capture.sources import pcapfile
from index.archive import Archive
from index.importing import AHEAD, FirstSeqs, Reading, import_file
from index.lake import Lake
from sip.errors import Unreachable
from tests.index.stored import START, call, capture


def test_what_was_read_before_comes_first_and_the_rest_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcapfile, "CHUNK", 1 << 14)
    path = capture(tmp_path / "a.pcap", *(call(f"c{n}", START + n) for n in range(1000)))
    reading = Reading(str(path), first_seq=7)
    reading.ahead(lambda: True)
    assert reading.decoder.counters.packets == 0, "it was enough before it began"
    reading.ahead(lambda: False)
    ahead = reading.decoder.counters.packets
    assert 0 < ahead < 3000, f"{AHEAD} blocks are not all of it"
    archive = Archive(Lake(tmp_path / "store"), lambda: START)
    assert import_file(archive, reading, "n", imported_at=START).messages == 3000
    whole = Archive(None, lambda: START)
    import_file(whole, str(path), "n", first_seq=7)
    for name in ("c0", "c500", "c999"):
        stored, read = archive.trace(name), whole.trace(name)
        assert [(m.ts, m.seq) for m in stored.messages] == [(m.ts, m.seq) for m in read.messages]
    archive.close()


def test_what_is_wrong_is_told_when_it_is_its_turn(tmp_path: Path) -> None:
    path = capture(tmp_path / "a.pcap", call("one", START), call("two", START + 10**9))
    path.write_bytes(path.read_bytes()[:-5])
    cut = Reading(str(path))
    cut.ahead(lambda: False)
    archive = Archive(None, lambda: START)
    result = import_file(archive, cut, "n")
    assert result.messages == 5 and "ends inside a record" in str(result.damage)

    usb = tmp_path / "usb.pcap"
    usb.write_bytes(
        struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 220) + struct.pack("<4I", 1, 0, 4, 4) + b"1234"
    )
    unknown = Reading(str(usb))
    unknown.ahead(lambda: False)
    with pytest.raises(UnknownLinkType, match="220"):
        import_file(archive, unknown, "n")
    with pytest.raises(Unreachable, match="no such file"):
        Reading(str(tmp_path / "missing.pcap"))


def test_imports_of_one_second_share_no_seq() -> None:
    seqs = FirstSeqs()
    first, second = seqs.next(), seqs.next()
    assert first >> 30 == pytest.approx(time.time(), abs=2) and second == first + (1 << 30)
