"""What the API's JSON looks like, for its reference: the answers are built by to_json and in api.records, not here."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class Problem(BaseModel):
    """Every error."""

    detail: str
    position: int | None = None
    """Of a filter that cannot be read: which character is wrong, counted from 1."""


class Call(BaseModel):
    call_id: str
    start: str
    end: str
    state: str
    method: str
    from_user: str
    to_user: str
    src: str
    dst: str
    transport: str
    final_code: int | None
    final_reason: str | None
    messages: int
    pdd_ms: float | None
    ring_ms: float | None
    talk_ms: float | None
    codecs: list[str]
    findings: list[str]
    headline: str
    severity: str
    node: str
    retransmissions: int
    user_agent: str
    flags: int
    interface: str
    ended_by: str | None
    """caller or callee."""
    pai: str
    diversion: str
    nat: list[str]
    nat_kamailio: int | None
    """Kamailio's nat_uac_test of its requests; null where it was not kept."""
    nat_opensips: int | None


class Calls(BaseModel):
    calls: list[Call]
    next: str | None
    """Give it as `before` for the following page; null on the last page."""
    matched: int | None
    searched: str | None
    """`text:` was looked for in calls that began since then; `next` goes on. Null where all calls were looked at."""
    progress: float | None
    """Share (0 to 1) of the time asked for that was looked at so far."""


class Leg(Call):
    sure: bool
    """Whether it belongs to the call beyond doubt."""


class LegEvidence(BaseModel):
    points: int
    text: str


class LegLink(BaseModel):
    parent: str
    """Call-ID of the leg that the other was made for."""
    child: str
    points: int
    doubtful: bool
    evidence: list[LegEvidence]


class Legs(BaseModel):
    call_id: str
    calls: list[Leg]
    links: list[LegLink]
    capped: bool
    """So many calls were alike that not all were looked at."""


class WireMessage(BaseModel):
    number: int
    ts: str
    seq: int
    src: str
    dst: str
    transport: str
    interface: str
    node: str
    seen: int
    retransmission: bool
    flags: list[str]
    ip_id: int
    first_line: str
    text: str
    """Bytes that are not UTF-8 are U+EF00 plus the byte."""
    raw: str
    """The exact bytes, in base64."""


class Lost(BaseModel):
    interface: str
    start: str
    end: str
    count: int
    kind: str


class Messages(BaseModel):
    call_id: str
    capture_start: str
    capture_end: str
    heard: list[str]
    losses: list[Lost]
    messages: list[WireMessage]


class Fact(BaseModel):
    message: int | None
    text: str
    line: str


class Diagnosis(BaseModel):
    name: str
    severity: str
    confidence: str
    headline: str
    evidence: list[Fact]
    advice: str
    reference: str
    precedence: int


class Findings(BaseModel):
    call_id: str
    findings: list[Diagnosis]


class ComparedSide(BaseModel):
    call_id: str
    messages: int
    outcome: str
    hosts: list[str]


class Moment(BaseModel):
    number: int
    text: str
    source: int
    target: int
    ms: float
    copies: int


class Pair(BaseModel):
    first: Moment | None
    second: Moment | None


class Difference(BaseModel):
    kind: str
    where: str
    what: str
    first: str
    second: str
    numbers: list[int | None]
    weight: int
    times: int


class Comparison(BaseModel):
    first: ComparedSide
    second: ComparedSide
    steps: list[Pair]
    differences: list[Difference]
    """The most telling first."""
    cut: bool
    equal: bool


class Format(BaseModel):
    pt: str
    name: str
    fmtp: str
    agreed: bool


class StreamSide(BaseModel):
    formats: list[Format]
    direction: str
    ptime: str
    dtmf: list[str]
    profile: str
    srtp: list[str]
    address: str
    port: int
    note: str


class Stream(BaseModel):
    position: int
    kind: str
    state: str
    """agreed, refused or open."""
    agreed: list[str]
    flow: str
    why: str
    offer: StreamSide
    answer: StreamSide | None


class MediaExchange(BaseModel):
    number: int
    offer: int
    offered_in: str
    offerer: str
    answer: int | None
    answered_in: str
    answerer: str
    hops: int
    streams: list[Stream]


class CallMedia(BaseModel):
    call_id: str
    exchanges: list[MediaExchange]


class Meaning(BaseModel):
    kind: str
    name: str
    means: str
    look: str
    reference: str
    severity: str
    facts: list[str]


class Explanations(BaseModel):
    topic: str
    explanations: list[Meaning]


class Example(BaseModel):
    call_id: str
    ladder: str
    pcap: str


class Alert(BaseModel):
    state: str
    id: str
    rule: str
    peer: str
    code: int | None
    finding: str
    headline: str
    count: int
    of: int | None
    first: str
    last: str
    examples: list[Example]
    closed: str | None


class Alerts(BaseModel):
    alerts: list[Alert]


class TlsAlert(BaseModel):
    side: str
    level: str
    name: str
    count: int


class TlsPeer(BaseModel):
    """Who speaks TLS to whom on SIP ports, as far as it can be read."""

    client: str
    server: str
    connections: int
    segments: int
    bytes: int
    first: str
    last: str
    server_names: list[str]
    alpn: list[str]
    versions: list[str]
    alerts: list[TlsAlert]
    unanswered: int


class Counts(BaseModel):
    packets: int
    messages: int
    call_ids: int
    methods: dict[str, int]
    finals: dict[str, int]
    transports: dict[str, int]
    not_sip: int
    kernel_drops: int
    queue_drops: int
    unreadable: int
    fragments_lost: int
    stream_gaps: int
    keepalives: int
    encrypted: int
    decrypted: int
    tunnels_too_deep: int
    evicted: int
    flags: dict[str, int] | None
    interfaces: dict[str, dict[str, int]] | None
    removed: dict[str, int] | None
    tls: list[TlsPeer] | None
    refused: dict[str, int] | None
    rules: dict[str, str] | None
    first: str | None
    last: str | None


class Interfaces(BaseModel):
    interfaces: list[dict[str, Any]]


class ImportRequest(BaseModel):
    path: str
    """A capture file on the machine where the service runs."""
    keylog: str | None = None
    """A file with TLS secrets (SSLKEYLOGFILE) on that machine."""
    again: bool = False
    """Even if its content is in the store."""


class Health(BaseModel):
    service: str
    status: str
    version: str
