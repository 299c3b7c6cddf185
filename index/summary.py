"""The hand-over type for lists of calls: one row a Call-ID."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any

from capture.tlspeers import TlsPeer
from sip.nat import kamailio_number, names_of, opensips_number


def rfc3339(ns: int) -> str:
    """Nanoseconds since the epoch as RFC 3339 UTC with microseconds (nanoseconds where they are not zero)."""
    seconds, rest = divmod(ns, 1_000_000_000)
    stamp = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    digits = f"{rest:09d}"
    return f"{stamp}.{digits[:6] if digits.endswith('000') else digits}Z"


def from_rfc3339(text: str) -> int:
    """The reverse of `rfc3339`."""
    stamp, _, digits = text.rstrip("Z").partition(".")
    seconds = int(datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp())
    return seconds * 1_000_000_000 + int((digits or "0").ljust(9, "0")[:9])


@dataclass(frozen=True, slots=True)
class CallSummary:
    """One Call-ID in a list. `None` means "did not happen", never zero."""

    call_id: str
    start: int
    """First message, ns since the epoch."""
    end: int
    """Last message."""
    state: str
    """calling, ringing, in-call, completed, cancelled, busy, no-answer, declined, failed, unanswered, redirected,
    challenged; for other methods: ok, failed, pending, unanswered, challenged."""
    method: str
    """Method of the first request (or of the first response's CSeq)."""
    from_user: str
    to_user: str
    src: str
    """ip:port of the sender of the first request."""
    dst: str
    transport: str
    final_code: int | None
    final_reason: str | None
    messages: int
    pdd_ms: float | None
    """INVITE to the first 180/183 (or 2xx): post-dial delay."""
    ring_ms: float | None
    """First 180/183 to answer, final failure or CANCEL."""
    talk_ms: float | None
    """Answer to BYE."""
    codecs: tuple[str, ...]
    """Audio codecs: of the answer when there is one, else of the offer."""
    findings: tuple[str, ...]
    """Public names of the findings, worst first."""
    headline: str
    """The one sentence to read first; empty when nothing is wrong or nothing was computed yet."""
    severity: str
    """Worst severity among the findings: critical, error, warning, info, or empty."""
    node: str
    retransmissions: int = 0
    user_agent: str = ""
    flags: int = 0
    interface: str = ""
    """Where the first message was captured; '' in rows of versions that did not keep it, as with all that follow."""
    ended_by: str | None = None
    """caller or callee: who sent BYE, or the caller with CANCEL."""
    pai: str = ""
    """User of P-Asserted-Identity (or Remote-Party-ID) of the first request that has one."""
    diversion: str = ""
    """User of the topmost Diversion of the first request that has one."""
    nat: tuple[str, ...] = ()
    """What NAT tests of proxies are true of any of its requests, by the names of `sip.nat.NAMES`."""
    nat_kamailio: int | None = None
    """Kamailio's nat_uac_test of all its requests together; None where it was not kept."""
    nat_opensips: int | None = None
    """OpenSIPS' nat_uac_test of all its requests together."""

    def to_json(self) -> dict[str, Any]:
        """JSON object of the public contract: times are RFC 3339 strings."""
        record = asdict(self)
        record["start"], record["end"] = rfc3339(self.start), rfc3339(self.end)
        record["codecs"], record["findings"], record["nat"] = list(self.codecs), list(self.findings), list(self.nat)
        return record

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> CallSummary:
        """The reverse of `to_json`; unknown keys of a newer service are ignored."""
        known = {f.name for f in fields(cls)}
        values = {k: v for k, v in record.items() if k in known}
        values["start"], values["end"] = from_rfc3339(values["start"]), from_rfc3339(values["end"])
        values["codecs"], values["findings"] = tuple(values["codecs"]), tuple(values["findings"])
        values["nat"] = tuple(values.get("nat", ()))
        return cls(**values)


@dataclass(frozen=True, slots=True)
class CallPage:
    """One page of a list, newest first."""

    calls: tuple[CallSummary, ...]
    next: str | None
    """Pass as `before` to get the following page; None on the last page."""
    matched: int | None = None
    """How many calls match in all, where that is known cheaply."""
    searched: int | None = None
    """Texts were looked for in calls that began since then (ns); the following page goes on from there."""
    progress: float | None = None
    """Share (0..1) of the time asked for in which texts were looked for."""


@dataclass(frozen=True, slots=True)
class Stats:
    """What was seen and what was not. Keys are stable: users script against `siptrail stats --json`."""

    packets: int
    messages: int
    call_ids: int
    methods: dict[str, int]
    """Requests by method."""
    finals: dict[str, int]
    """Final responses by method, e.g. {"INVITE 486": 3}."""
    transports: dict[str, int]
    not_sip: int
    """Packets that carried no SIP."""
    kernel_drops: int
    queue_drops: int = 0
    unreadable: int = 0
    """Frames that could not be decoded."""
    fragments_lost: int = 0
    stream_gaps: int = 0
    keepalives: int = 0
    """Packets that only keep a binding open (CRLF, STUN)."""
    encrypted: int = 0
    """Packets of TLS connections on SIP ports: nobody can read them off the wire."""
    decrypted: int = 0
    """Messages out of such packets that were read with a key log."""
    tunnels_too_deep: int = 0
    evicted: int = 0
    """Streams and datagrams given up because too much was held."""
    flags: dict[str, int] | None = None
    """Messages by capture flag (truncated, length-lies, …)."""
    interfaces: dict[str, dict[str, int]] | None = None
    removed: dict[str, int] | None = None
    """What retention removed, by kind and reason: {"hours age": 3, "messages age": 1200, …}."""
    tls: list[dict[str, Any]] | None = None
    """Who speaks TLS to whom on SIP ports (see `tls_record`), the latest first."""
    refused: dict[str, int] | None = None
    """TCP connections on SIP ports that were answered with RST, by server (ip:port)."""
    rules: dict[str, str] | None = None
    """Diagnosis rules that failed or ran out of time since the start, and how."""
    first: str | None = None
    last: str | None = None


def tls_record(peer: TlsPeer) -> dict[str, Any]:
    """JSON object of one row of the TLS table: times are RFC 3339 strings."""
    record = asdict(peer)
    record["first"], record["last"] = rfc3339(peer.first), rfc3339(peer.last)
    record.update({key: list(record[key]) for key in ("server_names", "alpn", "versions", "alerts")})
    return record


def summary_of(row: dict[str, Any]) -> CallSummary:
    """A summary from a row of the SQL in index.rollup; what diagnosis adds is empty."""

    def place(ip: str, port: int) -> str:
        return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"

    return CallSummary(
        call_id=row["call_id"],
        start=row["start"],
        end=row["end"],
        state=row["state"],
        method=row["method"],
        from_user=row["from_user"],
        to_user=row["to_user"],
        src=place(row["src_ip"], row["src_port"]),
        dst=place(row["dst_ip"], row["dst_port"]),
        transport=row["transport"],
        final_code=row["final_code"],
        final_reason=row["final_reason"],
        messages=row["messages"],
        pdd_ms=row["pdd_ms"],
        ring_ms=row["ring_ms"],
        talk_ms=row["talk_ms"],
        codecs=tuple(c for c in row["codecs"].split(",") if c),
        findings=(),
        headline="",
        severity="",
        node=row["node"],
        user_agent=row["user_agent"],
        retransmissions=row["retransmissions"],
        flags=row["flags"],
        interface=row["interface"],
        ended_by=row["ended_by"],
        pai=row["pai"],
        diversion=row["diversion"],
        nat=names_of(row["nat"] or 0),
        nat_kamailio=None if row["nat"] is None else kamailio_number(row["nat"]),
        nat_opensips=None if row["nat"] is None else opensips_number(row["nat"]),
    )
