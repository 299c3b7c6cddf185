"""Message rows become partial call rows: one pass of a kernel, one row per call and hour of a batch.

It owns the first step of the roll-up (see index.rollup for the second, and for what the columns mean). A batch is of
one node. The order of rows does not matter, but for which of two messages with the same time counts as the first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from capture.flags import COPY, NO_MESSAGE, REPEATED, RESENT
from capture.gather import number_pairs
from capture.jit import kernel
from index.rollup import CALL_COLUMNS, LATER

I64 = NDArray[np.int64]
NONE = -(1 << 62)
"""No such message."""
OTHER, INVITE, ACK, CANCEL, BYE, PRACK = range(6)
_METHODS = {"INVITE": INVITE, "ACK": ACK, "CANCEL": CANCEL, "BYE": BYE, "PRACK": PRACK}

_VALUES = (
    "first_ts",
    "last_ts",
    "messages",
    "first_key",
    "initial",
    "invite_ts",
    "last_invite_ts",
    "last_invite_cseq",
    "trying_ts",
    "ring_ts",
    "answer_ts",
    "fail_ts",
    "fail_cseq",
    "bye_ts",
    "cancel_ts",
    "side_ts",
    "side_final_ts",
    "offer_ts",
    "answer_key",
    "flags",
    "retransmissions",
    "pai_ts",
    "diversion_ts",
    "nat",
)
(
    FIRST,
    LAST,
    COUNT,
    KEY,
    INITIAL,
    INVITED,
    LAST_INVITE,
    LAST_CSEQ,
    TRYING,
    RING,
    ANSWER,
    FAIL,
    FAIL_CSEQ,
    BYE_TS,
    CANCEL_TS,
    SIDE,
    SIDE_FINAL,
    OFFER,
    ANSWER_KEY,
    FLAGS,
    RESENDS,
    PAI,
    DIVERSION,
    NAT,
) = range(len(_VALUES))
R_FIRST, R_ANSWER, R_FAIL, R_SIDE, R_OFFER, R_CODECS, R_BYE, R_PAI, R_DIVERSION = range(9)
HAS_PAI, HAS_DIVERSION = 1, 2


@kernel
def _low(out: I64, g: int, k: int, value: int) -> bool:
    """Keep the lower; whether it was taken."""
    if out[g, k] == NONE or value < out[g, k]:
        out[g, k] = value
        return True
    return False


@kernel
def _high(out: I64, g: int, k: int, value: int) -> bool:
    """Keep the higher (the later of equals); whether it was taken."""
    if out[g, k] == NONE or value >= out[g, k]:
        out[g, k] = value
        return True
    return False


@kernel
def roll(
    group: I64,
    ts: I64,
    code: NDArray[np.int16],
    method: NDArray[np.uint8],
    in_dialog: NDArray[np.uint8],
    cseq: I64,
    codecs: NDArray[np.uint8],
    flags: NDArray[np.int32],
    numbers: NDArray[np.uint8],
    nat: NDArray[np.int32],
    later: int,
    out: I64,
    rows: I64,
) -> None:
    """Fill out[group, value] and rows[group, …] (row numbers of the messages whose texts count)."""
    for i in range(len(group)):
        g = group[i]
        t, c, m = ts[i], code[i], method[i]
        _low(out, g, FIRST, t)
        _high(out, g, LAST, t)
        if not flags[i] & COPY:
            out[g, COUNT] += 1
        if flags[i] & RESENT:
            out[g, RESENDS] += 1
        out[g, FLAGS] |= flags[i] & ~REPEATED
        if _low(out, g, KEY, t + later if c > 0 else t):
            rows[g, R_FIRST] = i
        if c == 0:
            out[g, NAT] |= nat[i]
            if numbers[i]:
                if numbers[i] & HAS_PAI and _low(out, g, PAI, t):
                    rows[g, R_PAI] = i
                if numbers[i] & HAS_DIVERSION and _low(out, g, DIVERSION, t):
                    rows[g, R_DIVERSION] = i
        fresh = c == 0 and in_dialog[i] == 0
        if fresh:
            out[g, INITIAL] = 1
        if m == INVITE:
            if fresh:
                _low(out, g, INVITED, t)
                # The first sending of the last try: silence is measured from it (Timer B, RFC 3261 section 17.1.1.2).
                if out[g, LAST_CSEQ] == NONE or cseq[i] > out[g, LAST_CSEQ]:
                    out[g, LAST_CSEQ] = cseq[i]
                    out[g, LAST_INVITE] = t
                elif cseq[i] == out[g, LAST_CSEQ]:
                    _low(out, g, LAST_INVITE, t)
            elif c == 100:
                _low(out, g, TRYING, t)
            elif 100 < c < 200:
                _low(out, g, RING, t)
            elif 200 <= c < 300:
                if _low(out, g, ANSWER, t):
                    rows[g, R_ANSWER] = i
            elif c >= 300 and _high(out, g, FAIL, t):
                rows[g, R_FAIL] = i
                out[g, FAIL_CSEQ] = cseq[i]
            if codecs[i] and 100 < c < 300 and _low(out, g, ANSWER_KEY, t if c >= 200 else t + later):
                rows[g, R_CODECS] = i
        elif m == BYE:
            if c == 0 and _low(out, g, BYE_TS, t):
                rows[g, R_BYE] = i
        elif m == CANCEL:
            if c == 0:
                _low(out, g, CANCEL_TS, t)
        elif m == OTHER:
            if c == 0:
                _high(out, g, SIDE, t)
            elif c >= 200 and _high(out, g, SIDE_FINAL, t):
                rows[g, R_SIDE] = i
        if codecs[i] and c == 0 and _low(out, g, OFFER, t):
            rows[g, R_OFFER] = i


def partials(messages: pa.Table) -> pa.Table:
    """Partial rows (the columns of index.rollup.CALL_COLUMNS) of a table with the columns of index.columns.MESSAGES."""
    messages = _arrived(messages).unify_dictionaries()
    n = messages.num_rows
    columns = {name: _one(messages[name]) for name in messages.column_names}
    ids = columns["call_id"].indices.to_numpy(zero_copy_only=False).astype(np.uint64)
    slot = columns["day"].cast(pa.int32()).to_numpy().astype(np.int64) * 24 + columns["hour"].to_numpy()
    codes, first = np.empty(n, np.int32), np.empty(n, np.int64)
    if n:
        number_pairs(slot.astype(np.uint64), ids, codes, first)
    group = codes.astype(np.int64)
    count = int(group.max()) + 1 if n else 0
    named = columns["method"]
    codes = np.array([_METHODS.get(m, OTHER) for m in named.dictionary.to_pylist()] or [0], np.uint8)
    out = np.full((count, len(_VALUES)), NONE, np.int64)
    out[:, [COUNT, INITIAL, FLAGS, RESENDS, NAT]] = 0
    rows = np.full((count, 9), -1, np.int64)
    if n:
        roll(
            group,
            columns["ts"].to_numpy(),
            columns["code"].to_numpy(),
            codes[named.indices.to_numpy(zero_copy_only=False)],
            columns["in_dialog"].cast(pa.uint8()).to_numpy(),
            columns["cseq"].to_numpy(),
            _filled(columns["codecs"]),
            columns["flags"].to_numpy(),
            _filled(columns["pai"]) * np.uint8(HAS_PAI) | _filled(columns["diversion"]) * np.uint8(HAS_DIVERSION),
            columns["nat"].fill_null(0).to_numpy(),
            LATER,
            out,
            rows,
        )
    return _table(columns, out, rows)


def _filled(column: pa.DictionaryArray) -> Any:
    """1 for each row that has a text."""
    known = np.array(pc.binary_length(column.dictionary).to_numpy(zero_copy_only=False) > 0, np.uint8)
    if not known.any():
        return np.zeros(len(column), np.uint8)
    if column.null_count:
        known, column = np.append(known, np.uint8(0)), column.indices.fill_null(len(known))
        return known[column.to_numpy()]
    return known[column.indices.to_numpy(zero_copy_only=False)]


def _arrived(messages: pa.Table) -> pa.Table:
    """Without what ICMP errors only quote, and without ends of connections."""
    others = messages["flags"].to_numpy() & NO_MESSAGE != 0
    return messages.filter(pa.array(~others)) if others.any() else messages


def _one(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return whole.combine_chunks() if isinstance(whole, pa.ChunkedArray) else whole


def _table(columns: dict[str, pa.Array], out: Any, rows: Any) -> pa.Table:
    def text(name: str, k: int) -> pa.Array:
        at = rows[:, k]
        return columns[name].take(pa.array(at, mask=at < 0))

    values = {name: pa.array(out[:, k], mask=out[:, k] == NONE) for k, name in enumerate(_VALUES)}
    values["initial"] = values["initial"].cast(pa.bool_())
    values["flags"] = values["flags"].cast(pa.int32())
    values["nat"] = values["nat"].cast(pa.int32())
    for name in (
        *("day", "hour", "call_id", "node", "interface"),
        *("method", "from_user", "to_user", "transport", "user_agent"),
    ):
        values[name] = text(name, R_FIRST)
    # Of a response, the sender is the called side.
    answered = out[:, KEY] >= LATER
    at = pa.array(rows[:, R_FIRST])
    for side, other in (("src", "dst"), ("dst", "src")):
        for part in ("ip", "port"):
            straight, turned = columns[f"{side}_{part}"].take(at), columns[f"{other}_{part}"].take(at)
            if answered.any():
                if part == "ip":
                    texts = pc.if_else(pa.array(answered), turned.cast(pa.string()), straight.cast(pa.string()))
                    straight = texts.dictionary_encode()
                else:
                    straight = pc.if_else(pa.array(answered), turned, straight)
            values[f"{side}_{part}"] = straight
    for prefix, k in (("answer", R_ANSWER), ("fail", R_FAIL), ("side", R_SIDE)):
        values[f"{prefix}_code"], values[f"{prefix}_reason"] = text("code", k), text("reason", k)
    values["offer_codecs"], values["answer_codecs"] = text("codecs", R_OFFER), text("codecs", R_CODECS)
    values["bye_ip"], values["bye_port"] = text("src_ip", R_BYE), text("src_port", R_BYE)
    values["pai"], values["diversion"] = text("pai", R_PAI), text("diversion", R_DIVERSION)
    return pa.table({name: values[name] for name in CALL_COLUMNS})
