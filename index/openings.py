"""How calls began and how far they got: the first INVITE, parsed, and the times of what followed.

That is all that linking legs needs of a call, and far less than all its messages. It owns the queries for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from capture.hepframes import correlation_in
from index.opening import Opening
from index.packed import unpacked_rows
from index.rollup import MERGED
from index.trace import Endpoint
from index.traces import payload_of
from sip.message import parse_message

INVITE = "method = 'INVITE' AND code = 0 AND NOT in_dialog"
_TIMES = (
    "answer_ts, last_ts, least(bye_ts, cancel_ts), ring_ts, "
    # A challenge is followed by the INVITE again; what counts is the last failure.
    "CASE WHEN fail_code IN (401, 407) AND coalesce(last_invite_cseq > fail_cseq, false) THEN NULL ELSE fail_ts END, "
    "coalesce(fail_code, 0)"
)


def openings(
    cur: duckdb.DuckDBPyConnection,
    call_ids: pa.Array,
    calls: str,
    hot: Mapping[str, pa.Table],
    bytes_of: pa.ChunkedArray,
    stored: Mapping[str, str | None],
    inside: str,
) -> dict[str, Opening]:
    """Of those calls that have an INVITE. `calls`: SQL of partial rows; `hot` and `bytes_of`: what is in memory;
    `stored`: where SQL finds what is in the tables of the lake, None where nothing is; `inside`: a condition on their
    hours."""
    cur.register("wanted", pa.table({"call_id": call_ids}))
    some = f"SELECT s.* FROM ({calls}) s JOIN wanted USING (call_id)"
    times = {
        row[0]: row[1:]
        for row in cur.execute(f"SELECT call_id, {_TIMES} FROM ({MERGED.format(source=some)})").fetchall()
    }
    first: dict[str, dict[str, Any]] = {}
    rows = _hot(hot["messages"], call_ids)
    if stored["messages"] is not None:
        cur.execute(
            f"SELECT m.call_id, m.ts, m.seq, src_ip, src_port, dst_ip, dst_port FROM {stored['messages']} m "
            f"JOIN wanted USING (call_id) WHERE {INVITE} AND ({inside})"
        )
        rows += cur.to_arrow_table().to_pylist()
    for row in rows:
        known = first.get(row["call_id"])
        if known is None or (row["ts"], row["seq"]) < (known["ts"], known["seq"]):
            first[row["call_id"]] = row
    frames = _frames(cur, first, hot["frames"], bytes_of, stored, inside)
    out = {}
    for call_id, row in first.items():
        found = times.get(call_id)
        if found is None:
            continue
        answered, last, ended, rang, failed, code = found
        src, dst = Endpoint(row["src_ip"], row["src_port"]), Endpoint(row["dst_ip"], row["dst_port"])
        frame = frames.get(call_id)
        sip = parse_message(payload_of(frame) if frame is not None else b"")
        failed = None if answered is not None else failed
        out[call_id] = Opening(
            call_id, row["ts"], src, dst, sip, rang, answered, failed, code if failed is not None else 0, ended, last,
            _correlation(frame),
        )  # fmt: skip
    return out


def _hot(messages: pa.Table, call_ids: pa.Array) -> list[dict[str, Any]]:
    wanted = pc.and_(
        pc.and_(pc.equal(messages["method"], "INVITE"), pc.equal(messages["code"], 0)),
        pc.and_(pc.invert(messages["in_dialog"]), pc.is_in(messages["call_id"], call_ids)),
    )
    names = ["call_id", "ts", "seq", "src_ip", "src_port", "dst_ip", "dst_port"]
    found: list[dict[str, Any]] = messages.select(names).filter(wanted).to_pylist()
    return found


def _correlation(frame: Mapping[str, Any] | None) -> str:
    """What the agent that sent the message in HEP calls the call; '' where it came in another way."""
    if frame is None or frame["payload"] is None or frame["frame"] is None:
        return ""
    return correlation_in(frame["link"], bytes(frame["frame"]))


def _frames(
    cur: duckdb.DuckDBPyConnection,
    first: Mapping[str, Mapping[str, Any]],
    frames: pa.Table,
    bytes_of: pa.ChunkedArray,
    stored: Mapping[str, str | None],
    inside: str,
) -> dict[str, dict[str, Any]]:
    """The first frame of each of these messages, by Call-ID."""
    ids, ts, seq = (
        pa.array([r[k] for r in first.values()], t)
        for k, t in (("call_id", pa.string()), ("ts", pa.int64()), ("seq", pa.int64()))
    )
    wanted = pc.and_(pc.equal(frames["part"], 0), pc.and_(pc.is_in(frames["ts"], ts), pc.is_in(frames["call_id"], ids)))
    rows = frames.filter(wanted).to_pylist()
    cur.register("first_invites", pa.table({"call_id": ids, "ts": ts, "seq": seq}))
    if stored["frames"] is not None:
        cur.execute(
            "SELECT f.call_id, f.ts, f.seq, part, link, payload, payload_at, payload_size, frame "
            f"FROM {stored['frames']} f JOIN first_invites USING (call_id, ts, seq) WHERE part = 0 AND ({inside})"
        )
        rows += cur.to_arrow_table().to_pylist()
    if stored["packed"] is not None:
        # In closed hours the frames of a call are packed, from its first one in the hour on.
        packed = cur.execute(
            f"SELECT p.* FROM {stored['packed']} p JOIN first_invites f ON p.call_id = f.call_id AND p.ts <= f.ts "
            f"WHERE {inside}"
        ).to_arrow_table()
        rows += [row for row in unpacked_rows(packed) if row["part"] == 0]
    out: dict[str, dict[str, Any]] = {}
    for row in rows:
        mine = first[row["call_id"]]
        if (row["ts"], row["seq"]) != (mine["ts"], mine["seq"]):
            continue
        if row.get("place") is not None:
            row["frame"] = bytes_of[row["place"]].as_py()
        out[row["call_id"]] = row
    return out
