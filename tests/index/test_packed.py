"""Packed frames come back byte for byte, whatever they are; damaged ones are told, and do no harm."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capture.pipeline import Decoder
from capture.sources.pcapfile import PcapFile
from index import packed as module
from index.columns import to_rows
from index.packed import in_parts, packed, unpacked
from index.schema import IN_FILES
from sip.errors import SiptrailError
from tests.index.stored import START, call, frame, message

SHAPE = IN_FILES["frames"]
CAPTURES = sorted((Path(__file__).parents[2] / "fixtures" / "pcaps").glob("*.pcap*"))
ORDER = [(name, "ascending") for name in ("call_id", "ts", "seq", "part")]


def same(rows: pa.Table) -> pa.Table:
    """Pack rows and unpack them, which must give the same ones; returns the packed ones."""
    rows = rows.sort_by(ORDER)
    into = packed(rows)
    assert into.schema == IN_FILES["packed"] and sum(into["frames"].to_pylist()) == rows.num_rows
    back = pa.concat_tables([SHAPE.empty_table(), *(unpacked(part) for part in in_parts(into, 50))])
    whole = [*ORDER, ("interface", "ascending"), ("link", "ascending"), ("node", "ascending")]
    assert back.sort_by(whole).equals(rows.sort_by(whole))
    return into


def rows_of(path: Path, node: str = "node") -> pa.Table:
    """The rows of the table frames that a capture gives."""
    source, decoder = PcapFile(str(path)), Decoder()
    parts = []
    try:
        blocks = [b for block in source.blocks() for b in decoder.feed(block)]
    finally:
        source.close()
    for block in [*blocks, *decoder.flush()]:
        wide = pa.Table.from_batches([to_rows(block, node).frames])
        parts.append(pa.table([wide[f.name].cast(f.type) for f in SHAPE], schema=SHAPE))
    return pa.concat_tables([SHAPE.empty_table(), *parts])


def made(frames: list[bytes | None], **columns: list[object]) -> pa.Table:
    """Rows with these frames, as plain as can be but for `columns`."""
    n = len(frames)
    plain: dict[str, list[object]] = {
        "call_id": ["call"] * n, "ts": [START + k for k in range(n)], "seq": list(range(n)), "part": [0] * n,
        "node": ["node"] * n, "interface": ["eth0"] * n, "link": [1] * n, "frame_ts": [START + k for k in range(n)],
        "original": [len(f or b"") for f in frames], "frame": list(frames), "payload_at": [0] * n,
        "payload_size": [0] * n, "payload": [None] * n,
    }  # fmt: skip
    plain |= columns
    return pa.table([pa.array(plain[f.name], f.type) for f in SHAPE], schema=SHAPE)


@pytest.mark.parametrize("path", CAPTURES, ids=[p.name for p in CAPTURES])
def test_every_capture_comes_back(path: Path) -> None:
    same(rows_of(path))


def udp(
    payload: bytes, number: int = 1, ttl: int = 64, summed: bool = True, six: bool = False, trail: bytes = b""
) -> bytes:
    """Ethernet, IP and UDP with right checksums."""
    source, target = (bytes(range(k, k + (16 if six else 4))) for k in (1, 40))
    size = len(payload) + 8
    head = struct.pack(">HHHH", 5060, 5060, size, 0)
    pseudo = source + target + struct.pack(">HH", 17, size)
    check = (total(pseudo + head + payload) or 0xFFFF) if summed or six else 0
    head = head[:6] + struct.pack(">H", check)
    if six:
        ip = struct.pack(">IHBB", 6 << 28, size, 17, ttl) + source + target
        return bytes(12) + b"\x86\xdd" + ip + head + payload + trail
    ip = struct.pack(">BBHHHBBH", 0x45, 0, size + 20, number, 0x4000, ttl, 17, 0) + source + target
    ip = ip[:10] + struct.pack(">H", total(ip)) + ip[12:]
    return bytes(12) + b"\x08\x00" + ip + head + payload + trail


def total(data: bytes) -> int:
    """The Internet checksum, the plain way."""
    data += b"\0" * (len(data) % 2)
    out = sum(struct.unpack(f">{len(data) // 2}H", data))
    while out >> 16:
        out = (out & 0xFFFF) + (out >> 16)
    return out ^ 0xFFFF


def placed(frames: list[bytes], at: int) -> pa.Table:
    return made(frames, payload_at=[at] * len(frames), payload_size=[len(f) - at for f in frames])


def test_what_can_be_worked_out_again_takes_no_room() -> None:
    text = message("INVITE sip:2002@b.example SIP/2.0", "call", "1 INVITE")
    for six, at in ((False, 42), (True, 62)):
        one = same(placed([udp(text, k, six=six) for k in range(1, 50)], at))
        room = sum(len(one[name][0].as_py()) for name in ("numbers", "moves", "text"))
        assert room < len(text) + at + 49 * (1 + 1 + 2 + 2 + 2), "steps, number, two bytes and two moves a message"


@pytest.mark.parametrize("where", range(14, 42))
def test_a_header_that_is_not_what_it_should_be_is_kept(where: int) -> None:
    for summed in (True, False):
        for value in (0, 1, 0x45, 0xFF):
            data = bytearray(udp(b"SIP/2.0 200 OK\r\n\r\n", 7, summed=summed))
            data[where] = value
            same(placed([bytes(data), bytes(data), udp(b"SIP/2.0 200 OK\r\n\r\n", 7)], 42))


def test_every_checksum_comes_back() -> None:
    """Also those of all ones, which could as well be zero."""
    for body in range(0, 1 << 16, 251):
        same(placed([udp(struct.pack(">H", body) + b"\n"), udp(struct.pack(">H", 65535 - body), body)], 42))
    zeros = bytearray(udp(b"\n"))
    for check in (b"\0\0", b"\xff\xff"):
        zeros[24:26] = check
        same(placed([bytes(zeros)], 42))
        zeros[40:42] = check
        same(placed([bytes(zeros)], 42))


def test_calls_interfaces_and_long_calls_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BYTES_OF_A_ROW", 4000)
    data = [d for _, d in call("call", START, padding=500)] * 200
    n = len(data)
    into = same(made(data, interface=["eth0", "eth1"] * (n // 2), node=["a"] * (n // 2) + ["b"] * (n // 2)))
    assert (
        max(into["frames"].to_pylist()) < 8
        and len(set(zip(*(into[c].to_pylist() for c in ("node", "interface")), strict=True))) == 4
    )
    monkeypatch.setattr(module, "BYTES_OF_A_ROW", 1 << 20)
    assert same(made(data)).num_rows == 3


WORDS = st.sampled_from(
    [b"203.0.113.10", b"z9hG4bK77aa", b"+493012345", b"SIP/2.0 ", b"INVITE ", b"\r\n", b"\n", b";", b"\xff\x80"]
)
TEXTS = st.one_of(st.binary(max_size=80), st.lists(st.one_of(WORDS, st.binary(max_size=6)), max_size=40).map(b"".join))
NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1)
SHORT = st.integers(-(1 << 15), (1 << 15) - 1)
INTS = st.one_of(st.integers(-2, 300), st.integers(-(1 << 31), (1 << 31) - 1))
ROWS = st.tuples(
    st.sampled_from(["a", "b", "", "ü%"]), NUMBERS, NUMBERS, SHORT, st.sampled_from(["n", None]),
    st.sampled_from(["eth0", "", None]), INTS, NUMBERS, INTS, st.none() | TEXTS | TEXTS.map(udp), INTS, INTS,
    st.none() | TEXTS,
)  # fmt: skip


@given(st.lists(ROWS, max_size=30))
@settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
def test_anything_comes_back(rows: list[tuple[object, ...]]) -> None:
    columns = list(zip(*rows, strict=True)) or [()] * len(SHAPE)
    same(pa.table([pa.array(list(c), f.type) for c, f in zip(columns, SHAPE, strict=True)], schema=SHAPE))


def test_damage_is_told_and_does_no_harm() -> None:
    data = [d for n in range(6) for _, d in call(f"call-{n}", START)]
    one = packed(placed(data, 42))
    chance = random.Random(1)
    told = 0
    for _ in range(3000):
        columns = {name: one[name].to_pylist() for name in one.column_names}
        name = chance.choice(["numbers", "moves", "text"])
        blob = bytearray(columns[name][0])
        for _ in range(chance.choice([1, 3])):
            what = chance.random()
            if what < 0.7 and blob:
                blob[chance.randrange(len(blob))] = chance.randrange(256)
            elif what < 0.85:
                del blob[chance.randrange(len(blob) + 1) :]
            else:
                blob += chance.randbytes(chance.randrange(1, 40))
        columns[name][0] = bytes(blob)
        broken = pa.table([pa.array(columns[f.name], f.type) for f in one.schema], schema=one.schema)
        try:
            back = unpacked(broken)
        except SiptrailError as error:
            told += 1
            assert "damaged" in str(error) and "\n" not in str(error)
        else:
            assert back.num_rows == len(data)
    assert told > 1000
    wild = one.set_column(
        one.schema.get_field_index("frames"), "frames", pa.array([1 << 30] * one.num_rows, pa.int32())
    )
    with pytest.raises(SiptrailError, match="damaged"):
        unpacked(wild)


def test_frames_of_one_size_and_no_frames() -> None:
    same(SHAPE.empty_table())
    same(made([None, b"", b"\n"], original=[0, 5, 1]))
    same(made([frame(b"") + b"x" * 70000], payload_at=[42], payload_size=[70000]))
    assert np.array(same(made([b"a\n" * 5000]))["frames"]).tolist() == [1]
