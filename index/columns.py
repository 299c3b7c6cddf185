"""Message blocks become Arrow rows: narrow decoded columns in one table, original frames in another.

It owns the two row schemas. It decides nothing about calls and touches no store.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from capture.gather import (
    gather,
    gather_bytes,
    gather_codecs,
    gather_size,
    number_pairs,
    number_pieces,
    views_of,
)
from capture.natscan import nat_tests
from capture.pipeline import TRANSPORTS, MessageBlock
from capture.scan import (
    ASSERTED,
    BODY,
    CALL_ID,
    DIVERSION,
    FROM_USER,
    METHOD,
    REASON,
    RURI_USER,
    TO_USER,
    USER_AGENT,
)
from sip.sdp import parse_sdp
from sip.text import text_of

DAY_NS = 86_400_000_000_000
HOUR_NS = 3_600_000_000_000
SANE = (946_684_800_000_000_000, 4_102_444_800_000_000_000)
"""2000 to 2100: a time outside of it is a broken clock; such rows go to the nearest sane hour."""

TEXT = pa.dictionary(pa.int32(), pa.string())
"""Texts that repeat: each stands once in its batch, however many messages name it."""

MESSAGES = pa.schema(
    [
        ("day", pa.date32()),
        ("hour", pa.int8()),
        ("call_id", TEXT),
        ("ts", pa.int64()),
        ("seq", pa.int64()),
        ("method", TEXT),
        ("code", pa.int16()),
        ("reason", TEXT),
        ("cseq", pa.int64()),
        ("in_dialog", pa.bool_()),
        ("from_user", TEXT),
        ("to_user", TEXT),
        ("ruri_user", TEXT),
        ("user_agent", TEXT),
        ("src_ip", TEXT),
        ("src_port", pa.uint16()),
        ("dst_ip", TEXT),
        ("dst_port", pa.uint16()),
        ("transport", TEXT),
        ("interface", TEXT),
        ("node", TEXT),
        ("size", pa.int32()),
        ("flags", pa.int32()),
        ("ip_id", pa.int32()),
        ("codecs", TEXT),
        ("pai", TEXT),
        ("diversion", TEXT),
        ("nat", pa.int32()),
    ]
)
"""One row a SIP message. ts: ns since the epoch; code: 0 for requests; ip_id: -1 where there is none; nat: see
`sip.nat.packed`. What versions before it did not have (pai, diversion, nat) is null in their rows."""

FRAMES = pa.schema(
    [
        ("day", pa.date32()),
        ("hour", pa.int8()),
        ("call_id", TEXT),
        ("ts", pa.int64()),
        ("seq", pa.int64()),
        ("part", pa.int16()),
        ("node", TEXT),
        ("interface", TEXT),
        ("link", pa.int32()),
        ("frame_ts", pa.int64()),
        ("original", pa.int32()),
        ("frame", pa.binary_view()),
        ("payload_at", pa.int32()),
        ("payload_size", pa.int32()),
        ("payload", pa.binary()),
    ]
)
"""One row a frame of a message. The payload is frame[payload_at:][:payload_size], or, where it was reassembled,
`payload` (in part 0)."""


MOST_TEXTS = 1 << 16
_TEXTS: dict[tuple[int, int], str] = {}
_TRANSPORT_NAMES = pa.array(TRANSPORTS, pa.string())


@dataclass(frozen=True, slots=True)
class Rows:
    """A batch of messages and their frames, ready for the store."""

    messages: pa.RecordBatch
    frames: pa.RecordBatch


def to_rows(block: MessageBlock, node: str) -> Rows:
    """The Arrow rows of a message block."""
    n = len(block)
    clamped = np.clip(block.ts, *SANE)
    day = pa.array((clamped // DAY_NS).astype(np.int32)).cast(pa.date32())
    hour = pa.array((clamped % DAY_NS // HOUR_NS).astype(np.int8))
    call_id = _texts(block, CALL_ID)
    names = pa.array([i.name for i in block.interfaces], pa.string())
    messages = pa.record_batch(
        [
            day,
            hour,
            call_id,
            pa.array(block.ts),
            pa.array(block.seq),
            _texts(block, METHOD),
            pa.array(block.code.astype(np.int16)),
            _texts(block, REASON),
            pa.array(block.cseq),
            pa.array(block.in_dialog.astype(bool)),
            _texts(block, FROM_USER),
            _texts(block, TO_USER),
            _texts(block, RURI_USER),
            _texts(block, USER_AGENT),
            _addresses(block.src_hi, block.src_lo),
            pa.array(block.sport.astype(np.uint16)),
            _addresses(block.dst_hi, block.dst_lo),
            pa.array(block.dport.astype(np.uint16)),
            _named(block.transport.astype(np.int32), _TRANSPORT_NAMES),
            _named(block.interface, names),
            _named(np.zeros(n, np.int32), pa.array([node], pa.string())),
            pa.array(block.length),
            pa.array(block.flags),
            pa.array(block.ip_id),
            _codecs(block),
            _texts(block, ASSERTED),
            _texts(block, DIVERSION),
            pa.array(nat_tests(block)),
        ],
        schema=MESSAGES,
    )
    return Rows(messages, _frames(block, day, hour, call_id, names, node))


def as_messages(table: pa.Table) -> pa.Table:
    """Message rows as the store has them (texts are plain there), in the shape of MESSAGES."""
    columns = [table[f.name].dictionary_encode() if f.type == TEXT else table[f.name].cast(f.type) for f in MESSAGES]
    return pa.table(columns, schema=MESSAGES)


def _frames(
    block: MessageBlock, day: pa.Array, hour: pa.Array, call_id: pa.Array, names: pa.Array, node: str
) -> pa.RecordBatch:
    m = len(block.frame_message)
    ts, seq, part = pa.array(block.ts), pa.array(block.seq), np.zeros(m, np.int16)
    links = np.array([i.link_type for i in block.interfaces], np.int32)
    frame = _frame_views(block)
    if block.reassembled:
        owner = pa.array(block.frame_message)
        part = (np.arange(m) - np.searchsorted(block.frame_message, block.frame_message)).astype(np.int16)
        day, hour, call_id, ts, seq = (column.take(owner) for column in (day, hour, call_id, ts, seq))
        head = part == 0
        lengths = np.where(head, block.length[block.frame_message], 0).astype(np.int64)
        payload = _binary(block.data, block.start[block.frame_message], lengths)
        payload = pa.Array.from_buffers(pa.binary(), m, [pa.array(head).buffers()[1], *payload.buffers()[1:]])
        at, size = np.zeros(m, np.int32), np.zeros(m, np.int32)
    else:
        # One frame a message, in the same order.
        payload = pa.nulls(m, pa.binary())
        at, size = (block.start - block.frame_start).astype(np.int32), block.length
    return pa.record_batch(
        [
            day,
            hour,
            call_id,
            ts,
            seq,
            pa.array(part),
            _named(np.zeros(m, np.int32), pa.array([node], pa.string())),
            _named(block.frame_interface, names),
            pa.array(links[block.frame_interface]),
            pa.array(block.frame_ts),
            pa.array(block.frame_original),
            frame,
            pa.array(at),
            pa.array(size),
            payload,
        ],
        schema=FRAMES,
    )


def _frame_views(block: MessageBlock) -> pa.Array:
    """The frames where they are: not copied, unless most of the block is no SIP and would be held for nothing."""
    data, starts, total = block.data, block.frame_start, int(block.frame_length.sum())
    if 2 * total < len(data):
        compact = _binary(data, starts, block.frame_length.astype(np.int64))
        data = np.frombuffer(compact.buffers()[2], np.uint8)
        starts = np.frombuffer(compact.buffers()[1], np.int32)[:-1].astype(np.int64)
    views = np.empty((len(starts), 4), np.int32)
    views_of(data, starts, block.frame_length, views)
    return pa.Array.from_buffers(pa.binary_view(), len(starts), [None, pa.py_buffer(views), pa.py_buffer(data)])


def _binary(data: Any, starts: Any, lengths: Any) -> pa.Array:
    values, offsets = np.empty(int(lengths.sum()), np.uint8), np.empty(len(starts) + 1, np.int32)
    gather_bytes(data, starts, lengths, values, offsets)
    return pa.Array.from_buffers(pa.binary(), len(starts), [None, pa.py_buffer(offsets), pa.py_buffer(values)])


def _named(codes: Any, names: pa.Array, numbered_here: bool = False) -> pa.DictionaryArray:
    # What was numbered here counts up to the last of the names: Arrow need not look at each once more.
    return pa.DictionaryArray.from_arrays(pa.array(codes), names, safe=not numbered_here)


def _texts(block: MessageBlock, k: int) -> pa.DictionaryArray:
    """A column of pieces, each distinct one decoded once."""
    pieces, n = block.slices[k], len(block)
    some = np.flatnonzero(pieces[:, 1])
    if 2 * len(some) < n:
        # Most messages have none of it: they stay out of the numbering, but for the first one.
        some = np.concatenate(([np.flatnonzero(pieces[:, 1] == 0)[0]], some))
        codes = np.zeros(n, np.int32)
        codes[some], texts = _numbered(block, pieces[some])
        return _named(codes, texts, numbered_here=True)
    return _named(*_numbered(block, pieces), numbered_here=True)


def _numbered(block: MessageBlock, pieces: Any) -> tuple[Any, pa.Array]:
    """The numbers of pieces, in order of appearance, and their texts."""
    codes, first = np.empty(len(pieces), np.int32), np.empty(len(pieces), np.int64)
    distinct = pieces[first[: number_pieces(block.data, pieces, codes, first)]]
    values, offsets = np.empty(gather_size(distinct), np.uint8), np.empty(len(distinct) + 1, np.int32)
    gather(block.data, distinct, values, offsets)
    if not len(values) or values.max() < 128:
        return codes, pa.Array.from_buffers(
            pa.string(), len(distinct), [None, pa.py_buffer(offsets), pa.py_buffer(values)]
        )
    # Bytes that are not ASCII: decode one by one, without losing a byte.
    raw = values.tobytes()
    return codes, pa.array([text_of(raw[a:b]) for a, b in pairwise(offsets.tolist())], pa.string())


def _addresses(hi: Any, lo: Any) -> pa.DictionaryArray:
    codes, first = np.empty(len(hi), np.int32), np.empty(len(hi), np.int64)
    n = number_pairs(hi, lo, codes, first)
    pairs = list(zip(hi[first[:n]].tolist(), lo[first[:n]].tolist(), strict=True))
    # The same few hundred addresses come in every batch, so their texts are remembered.
    texts = list(map(_TEXTS.get, pairs))
    if None in texts:
        if len(_TEXTS) + n > MOST_TEXTS:
            _TEXTS.clear()
        _TEXTS.update((pair, address_text(*pair)) for pair, text in zip(pairs, texts, strict=True) if text is None)
        texts = [_TEXTS.get(pair) or address_text(*pair) for pair in pairs]
    return _named(codes, pa.array(texts, pa.string()), numbered_here=True)


def address_text(hi: int, lo: int) -> str:
    """The text form of an address in two halves (RFC 5952)."""
    if hi == 0 and lo >> 32 == 0xFFFF:
        return str(IPv4Address(lo & 0xFFFFFFFF))
    return str(IPv6Address((hi << 64) | lo))


def _codecs(block: MessageBlock) -> pa.Array:
    n, bodies = len(block), block.slices[BODY]
    values = np.empty(gather_size(bodies) + 2 * n + 64, np.uint8)
    offsets = np.empty(n + 1, np.int32)
    size = gather_codecs(block.data, bodies, values, offsets)
    codes, first = np.empty(n, np.int32), np.empty(n, np.int64)
    pieces = np.column_stack((offsets[:-1], np.diff(offsets))).astype(np.int64)
    distinct = number_pieces(values[:size], pieces, codes, first)
    names = [codec_names(values[offsets[i] : offsets[i + 1]].tobytes()) for i in first[:distinct]]
    same = pa.array(names, pa.string()).dictionary_encode()  # different lines may name the same codecs
    return _named(same.indices.to_numpy()[codes], same.dictionary)


@lru_cache(maxsize=4096)
def codec_names(lines: bytes) -> str:
    """Audio codecs of SDP media lines in order of preference, comma-separated; '' where there is no audio."""
    # The port was taken out of the m= line; put one back so that the lines are SDP again.
    whole = [b"v=0"] + [
        b" ".join((parts := line.split(b" "))[:1] + [b"1"] + [p for p in parts[1:] if p])
        if line.startswith(b"m=")
        else line
        for line in lines.split(b"\n")
    ]
    sdp = parse_sdp(b"\r\n".join(whole))
    if sdp is None:
        return ""
    names: list[str] = []
    for media in sdp.media:
        if media.kind != "audio":
            names += ["T38"] if media.kind == "image" else []
            continue
        for codec in media.codecs:
            if codec.name.lower() not in ("telephone-event", "cn", "red") and codec.name not in names:
                names.append(codec.name.replace(",", " "))
    return ",".join(names)
