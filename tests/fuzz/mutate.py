"""Inputs made from inputs: bits, numbers, lengths, cuts, repeats, joints. The same seed makes the same inputs."""

from __future__ import annotations

import random
import struct

from tests.fuzz.targets import frames_of

NUMBERS = (
    0,
    1,
    2,
    5,
    6,
    8,
    16,
    20,
    28,
    40,
    127,
    128,
    255,
    256,
    1460,
    4096,
    32767,
    32768,
    65535,
    2**31 - 1,
    2**31,
    2**32 - 1,
)
WORDS = (
    b"\r\n", b"\r\n\r\n", b"SIP/2.0 200 OK\r\n", b"INVITE sip:a SIP/2.0\r\n", b"Content-Length: 99999\r\n", b"l:0\r\n",
    b"Call-ID: x\r\n", b"HEP3", b"\x1f\x8b\x08", b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", b"\x16\x03\x01",
    b"\x45\x00", b"\x60\x00", b"\x08\x00", b"\x86\xdd", b"\x81\x00", b"\0\0", b"\xff\xff",
)  # fmt: skip


def mutated(rng: random.Random, data: bytes, others: list[bytes], binary_frames: bool) -> bytes:
    """Another input; of a capture (`binary_frames`) mostly its frames are changed, not the file around them."""
    if binary_frames and rng.random() < 0.9:
        return _capture(rng, data, others)
    out = data
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        out = _once(rng, out, others)
    return out[:100_000]


def _once(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    at = _place(rng, len(data))
    kind = rng.randrange(8)
    if kind == 0 and data:
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    if kind == 1 and data:
        return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
    if kind == 2:
        size = rng.choice((1, 2, 4))
        number = (rng.choice(NUMBERS) % 256**size).to_bytes(size, rng.choice(("big", "little")))
        return data[:at] + number + data[at + size :]
    if kind == 3:
        return data[:at] + data[_place(rng, len(data)) :]
    if kind == 4:
        return data[: _place(rng, len(data))] + data[at:]
    if kind == 5:
        return data[:at] + rng.choice(WORDS) + data[at + rng.choice((0, 0, 2)) :]
    if kind == 6:
        return data[:at]
    other = rng.choice(others)
    return data[:at] + other[_place(rng, len(other)) :]


def _place(rng: random.Random, size: int) -> int:
    """Anywhere, but half the time near the front, where headers are."""
    return rng.randrange(min(size, 64) if rng.random() < 0.5 else size) if size else 0


def _capture(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    interfaces, frames = frames_of(data)
    if not frames:
        return data
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        n = rng.randrange(len(frames))
        number, frame, ts = frames[n]
        kind = rng.randrange(12)
        if kind == 0:
            frames.insert(rng.randrange(len(frames)), (number, frame, ts))
        elif kind == 1 and len(frames) > 1:
            del frames[n]
        elif kind == 2:
            m = rng.randrange(len(frames))
            frames[n], frames[m] = frames[m], frames[n]
        elif kind == 3:
            frames[n] = number, frame, max(0, ts + rng.choice((-1, 1)) * rng.randrange(100 * 10**9))
        elif kind == 4:
            more = frames_of(rng.choice(others))
            if more[0] and more[0][0].link_type == interfaces[0].link_type:
                frames += [(0, f, ts + k) for k, (_, f, _) in enumerate(more[1][:8])]
        else:
            frames[n] = number, _once(rng, frame, [f for _, f, _ in frames]), ts
    return capture(interfaces[0].link_type, [(frame, ts) for _, frame, ts in frames[:40]])


def capture(link: int, frames: list[tuple[bytes, int]]) -> bytes:
    """A nanosecond pcap."""
    out = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, link)]
    for frame, ts in frames:
        seconds, rest = divmod(min(ts, 2**32 * 10**9 - 1), 10**9)
        out += [struct.pack("<IIII", seconds, rest, len(frame), len(frame)), frame]
    return b"".join(out)
