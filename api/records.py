"""A call's trace as JSON and back: the contract between the server and its client.

It loads no web framework, so that the client stays light. `raw` is exact; `text` is for readers.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import asdict
from typing import Any

from capture.flags import NAMES, names
from index.questions import Resends
from index.summary import from_rfc3339, rfc3339
from index.trace import CallTrace, Endpoint, Loss, TraceMessage
from sip.message import parse_message
from sip.text import text_of

BITS = {name: bit for bit, name in NAMES.items()}


def trace_to_json(trace: CallTrace) -> dict[str, Any]:
    """All messages, and what the tap could not see."""
    return {
        "call_id": trace.call_id,
        "capture_start": rfc3339(trace.capture_start),
        "capture_end": rfc3339(trace.capture_end),
        "heard": sorted(trace.heard),
        "losses": [asdict(x) | {"start": rfc3339(x.start), "end": rfc3339(x.end)} for x in trace.losses],
        "messages": [message_to_json(number, m) for number, m in enumerate(trace.messages, 1)],
    }


def message_to_json(number: int, m: TraceMessage) -> dict[str, Any]:
    """One message; numbers count from 1, as in findings."""
    return {
        "number": number,
        "ts": rfc3339(m.ts),
        "seq": m.seq,
        "src": str(m.src),
        "dst": str(m.dst),
        "transport": m.transport,
        "interface": m.interface,
        "node": m.node,
        "seen": m.seen,
        "retransmission": m.retransmission,
        "flags": names(m.flags),
        "ip_id": m.ip_id,
        "first_line": m.sip.start_line,
        "text": text_of(m.sip.raw),
        "raw": b64encode(m.sip.raw).decode("ascii"),
    }


def trace_from_json(record: dict[str, Any]) -> CallTrace:
    """The reverse of `trace_to_json`."""
    return CallTrace(
        record["call_id"],
        tuple(message_from_json(m) for m in record["messages"]),
        from_rfc3339(record["capture_start"]),
        from_rfc3339(record["capture_end"]),
        frozenset(record["heard"]),
        tuple(
            Loss(
                x["interface"],
                from_rfc3339(x["start"]),
                from_rfc3339(x["end"]),
                x["count"],
                x["kind"],
                x.get("node", ""),
            )
            for x in record["losses"]
        ),
    )


def message_from_json(m: dict[str, Any]) -> TraceMessage:
    """Parsed again from its bytes; flags that this version does not know are ignored."""
    return TraceMessage(
        from_rfc3339(m["ts"]),
        m["seq"],
        endpoint(m["src"]),
        endpoint(m["dst"]),
        m["transport"],
        m["interface"],
        m["node"],
        parse_message(b64decode(m["raw"])),
        sum(BITS.get(name, 0) for name in m["flags"]),
        m["ip_id"],
        m["seen"],
        m["retransmission"],
    )


def endpoint(text: str) -> Endpoint:
    """The reverse of str(Endpoint)."""
    host, _, port = text.rpartition(":")
    return Endpoint(host.removeprefix("[").removesuffix("]"), int(port))


def resends_to_json(r: Resends) -> dict[str, Any]:
    """Requests of one host in one slot."""
    first, last = (rfc3339(t) if t is not None else None for t in (r.first, r.last))
    return {
        "host": r.host, "slot": rfc3339(r.slot), "requests": r.requests, "resent": r.resent, "first": first,
        "last": last, "examples": list(r.examples),
    }  # fmt: skip


def resends_from_json(record: dict[str, Any]) -> Resends:
    """The same read back."""
    first, last = (from_rfc3339(t) if t is not None else None for t in (record["first"], record["last"]))
    slot = from_rfc3339(record["slot"])
    return Resends(record["host"], slot, record["requests"], record["resent"], first, last, tuple(record["examples"]))
