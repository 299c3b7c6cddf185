"""Calls as a roll-up of messages: associative aggregates, one partial row per call, hour and batch.

Partials of one call may come from several hours, nodes or restarts, in any order; adding them up again gives the
call. It owns the columns, the SQL that adds partials up, and the meaning of `state`;
index.partials makes the partials. It runs nothing itself.
"""

from __future__ import annotations

LATER = 1 << 62
"""Added to the time of what counts only where nothing better is there: a response as the first message, the codecs of a
provisional answer."""

CALL_COLUMNS = {
    "day": "DATE",
    "hour": "TINYINT",
    "call_id": "VARCHAR",
    "node": "VARCHAR",
    "first_ts": "BIGINT",
    "last_ts": "BIGINT",
    "messages": "BIGINT",
    "first_key": "BIGINT",
    "method": "VARCHAR",
    "from_user": "VARCHAR",
    "to_user": "VARCHAR",
    "src_ip": "VARCHAR",
    "src_port": "USMALLINT",
    "dst_ip": "VARCHAR",
    "dst_port": "USMALLINT",
    "transport": "VARCHAR",
    "user_agent": "VARCHAR",
    "initial": "BOOLEAN",
    "invite_ts": "BIGINT",
    "last_invite_ts": "BIGINT",
    "last_invite_cseq": "BIGINT",
    "trying_ts": "BIGINT",
    "ring_ts": "BIGINT",
    "answer_ts": "BIGINT",
    "answer_code": "SMALLINT",
    "answer_reason": "VARCHAR",
    "fail_ts": "BIGINT",
    "fail_code": "SMALLINT",
    "fail_reason": "VARCHAR",
    "fail_cseq": "BIGINT",
    "bye_ts": "BIGINT",
    "cancel_ts": "BIGINT",
    "side_ts": "BIGINT",
    "side_final_ts": "BIGINT",
    "side_code": "SMALLINT",
    "side_reason": "VARCHAR",
    "offer_ts": "BIGINT",
    "offer_codecs": "VARCHAR",
    "answer_key": "BIGINT",
    "answer_codecs": "VARCHAR",
    "flags": "INTEGER",
    "retransmissions": "BIGINT",
    "interface": "VARCHAR",
    "bye_ip": "VARCHAR",
    "bye_port": "USMALLINT",
    "pai_ts": "BIGINT",
    "pai": "VARCHAR",
    "diversion_ts": "BIGINT",
    "diversion": "VARCHAR",
    "nat": "INTEGER",
}
"""The columns of the `calls` table, in order.

interface: of the first message; bye_ip, bye_port: who sent the first BYE; pai, diversion: of the first request that has
one; nat: what is true of any request (see `sip.nat.packed`)."""

_MERGE = {
    "node": "arg_min(node, first_key)",
    "first_ts": "min(first_ts)",
    "last_ts": "max(last_ts)",
    "messages": "sum(messages)::BIGINT",
    "initial": "bool_or(initial)",
    "invite_ts": "min(invite_ts)",
    "last_invite_ts": "arg_max(last_invite_ts, last_invite_cseq::HUGEINT * 4611686018427387904 - last_invite_ts)",
    "last_invite_cseq": "max(last_invite_cseq)",
    "trying_ts": "min(trying_ts)",
    "ring_ts": "min(ring_ts)",
    "answer_ts": "min(answer_ts)",
    "answer_code": "arg_min(answer_code, answer_ts)",
    "answer_reason": "arg_min(answer_reason, answer_ts)",
    "fail_ts": "max(fail_ts)",
    "fail_code": "arg_max(fail_code, fail_ts)",
    "fail_reason": "arg_max(fail_reason, fail_ts)",
    "fail_cseq": "arg_max(fail_cseq, fail_ts)",
    "bye_ts": "min(bye_ts)",
    "cancel_ts": "min(cancel_ts)",
    "side_ts": "max(side_ts)",
    "side_final_ts": "max(side_final_ts)",
    "side_code": "arg_max(side_code, side_final_ts)",
    "side_reason": "arg_max(side_reason, side_final_ts)",
    "offer_codecs": "arg_min(offer_codecs, offer_ts)",
    "answer_codecs": "arg_min(answer_codecs, answer_key)",
    "flags": "bit_or(flags)",
    "retransmissions": "coalesce(sum(retransmissions), 0)::BIGINT",
    "bye_ip": "arg_min(bye_ip, bye_ts)",
    "bye_port": "arg_min(bye_port, bye_ts)",
    "pai": "arg_min(pai, pai_ts)",
    "diversion": "arg_min(diversion, diversion_ts)",
    "nat": "bit_or(nat)",
}
_BY_FIRST = (
    "method",
    "from_user",
    "to_user",
    "src_ip",
    "src_port",
    "dst_ip",
    "dst_port",
    "transport",
    "user_agent",
    "interface",
)

MERGED = (
    "SELECT call_id, "
    + ", ".join(f"{sql} AS {name}" for name, sql in _MERGE.items())
    + ", "
    + ", ".join(f"arg_min({name}, first_key) AS {name}" for name in _BY_FIRST)
    + " FROM ({source}) GROUP BY call_id"
)
"""Partial rows to one row a call."""

_NEAR = (
    "first_key", "invite_ts", "last_invite_ts", "trying_ts", "ring_ts", "answer_ts", "fail_ts", "bye_ts", "cancel_ts",
    "side_ts", "side_final_ts", "offer_ts", "answer_key", "pai_ts", "diversion_ts",
)  # fmt: skip
"""Times that closed hours keep as steps from first_ts, which take half the room: -1 for none, -2 for a nanosecond, …"""
_FAR = 1 << 42
_USUAL = f"first_ts BETWEEN 0 AND {LATER}"
STORED = {
    name: f"CASE WHEN {name} BETWEEN {-_FAR} AND -1 AND {_USUAL} THEN first_ts - 1 - {name} ELSE {name} END"
    if name in _NEAR
    else f'"{name}"'
    for name in CALL_COLUMNS
}
"""SQL of the columns for the rows of the store, whichever way they are kept."""
_KEPT = ", ".join(
    f"CASE WHEN {_USUAL} THEN CASE WHEN {name} BETWEEN first_ts AND first_ts + {_FAR - 1} "
    f"THEN first_ts - 1 - {name} ELSE {name} END ELSE {name} END AS {name}"
    if name in _NEAR
    else f'"{name}"'
    for name in CALL_COLUMNS
    if name not in ("day", "hour")
)
_KEYS = {name: f"min({name})" for name in ("first_key", "offer_ts", "answer_key", "pai_ts", "diversion_ts")}
_IN_ORDER = ", ".join(
    f"{ {**_MERGE, **_KEYS}.get(name) or f'arg_min({name}, first_key)' } AS {name}"
    for name in CALL_COLUMNS
    if name not in ("day", "hour", "call_id", "node")
)
_READ = ", ".join(f"{sql} AS {name}" for name, sql in STORED.items() if name not in ("day", "hour"))
ADDED = (
    f"SELECT {_KEPT} FROM (SELECT call_id, node, {_IN_ORDER} FROM (SELECT {_READ} FROM {{source}}) "
    "GROUP BY call_id, node) ORDER BY call_id, node"
)
"""Stored rows of an hour to one for each call and node, as closed hours keep them: what they add up to is the same."""

UNANSWERED_NS = 32_000_000_000
"""64*T1 (RFC 3261 section 17.1.1.2): after this, silence is an answer."""

# The order of the branches is the order of judgement: an answer beats every failure on another branch of the call.
_STATE = f"""CASE
  WHEN invite_ts IS NULL AND answer_ts IS NULL AND fail_ts IS NULL
    AND (bye_ts IS NOT NULL OR method IN ('ACK', 'BYE', 'CANCEL', 'PRACK', 'INVITE'))
    THEN CASE WHEN bye_ts IS NOT NULL THEN 'completed' WHEN method = 'CANCEL' THEN 'cancelled' ELSE 'in-call' END
  WHEN invite_ts IS NOT NULL OR answer_ts IS NOT NULL OR fail_ts IS NOT NULL THEN CASE
    WHEN answer_ts IS NOT NULL THEN CASE WHEN bye_ts IS NOT NULL THEN 'completed' ELSE 'in-call' END
    WHEN fail_ts IS NULL OR (fail_code IN (401, 407, 422) AND coalesce(last_invite_cseq > fail_cseq, false)) THEN CASE
      WHEN cancel_ts IS NOT NULL THEN 'cancelled'
      WHEN bye_ts IS NOT NULL THEN 'completed'
      WHEN ring_ts IS NOT NULL THEN 'ringing'
      WHEN $now - coalesce(last_invite_ts, first_ts) > {UNANSWERED_NS} AND trying_ts IS NULL THEN 'unanswered'
      ELSE 'calling' END
    WHEN fail_code = 487 OR cancel_ts IS NOT NULL THEN 'cancelled'
    WHEN fail_code IN (486, 600) THEN 'busy'
    WHEN fail_code = 603 THEN 'declined'
    WHEN fail_code IN (408, 480) AND ring_ts IS NOT NULL THEN 'no-answer'
    WHEN fail_code IN (401, 407) AND $now - fail_ts <= {UNANSWERED_NS} THEN 'challenged'
    WHEN fail_code BETWEEN 300 AND 399 THEN 'redirected'
    ELSE 'failed' END
  WHEN side_final_ts IS NULL THEN
    CASE WHEN $now - coalesce(side_ts, first_ts) > {UNANSWERED_NS} THEN 'unanswered' ELSE 'pending' END
  WHEN side_code BETWEEN 200 AND 299 THEN 'ok'
  WHEN side_code IN (401, 407) THEN 'challenged'
  ELSE 'failed' END"""

_ENDED = """CASE
  WHEN bye_ts IS NOT NULL THEN CASE
    WHEN bye_ip = src_ip AND (src_ip <> dst_ip OR bye_port <> dst_port) THEN 'caller'
    WHEN bye_ip IS NOT NULL THEN 'callee' END
  WHEN cancel_ts IS NOT NULL AND answer_ts IS NULL THEN 'caller' END AS ended_by"""
"""The first BYE that is seen comes from where the call came from, or from elsewhere: the called side, or the next hop
towards it."""

OF_ONE_ROW = f"""
SELECT call_id, first_ts AS start, last_ts AS "end", {_STATE} AS state, method, from_user, to_user,
  src_ip, src_port, dst_ip, dst_port, transport,
  CAST(CASE WHEN answer_ts IS NOT NULL THEN answer_code WHEN fail_ts IS NOT NULL THEN fail_code
       WHEN invite_ts IS NULL THEN side_code END AS INTEGER) AS final_code,
  CASE WHEN answer_ts IS NOT NULL THEN answer_reason WHEN fail_ts IS NOT NULL THEN fail_reason
       WHEN invite_ts IS NULL THEN side_reason END AS final_reason,
  messages,
  CASE WHEN least(ring_ts, answer_ts) >= invite_ts THEN (least(ring_ts, answer_ts) - invite_ts) / 1e6 END AS pdd_ms,
  CASE WHEN coalesce(answer_ts, least(cancel_ts, fail_ts)) >= ring_ts
    THEN (coalesce(answer_ts, least(cancel_ts, fail_ts)) - ring_ts) / 1e6 END AS ring_ms,
  CASE WHEN answer_ts IS NOT NULL AND bye_ts >= answer_ts THEN (bye_ts - answer_ts) / 1e6 END AS talk_ms,
  coalesce(answer_codecs, offer_codecs, '') AS codecs, user_agent, node, flags,
  coalesce(retransmissions, 0)::BIGINT AS retransmissions, initial,
  coalesce(interface, '') AS interface, coalesce(pai, '') AS pai, coalesce(diversion, '') AS diversion, nat, {_ENDED}
FROM ({{source}})
"""
"""As `CALLS`, where no call has more than one row: the others' columns need not be added up for those of few."""
CALLS = OF_ONE_ROW.replace("{source}", MERGED)
"""Partial rows to the calls that lists, filters and summaries use. {source}: partial rows; $now: capture time, ns."""
