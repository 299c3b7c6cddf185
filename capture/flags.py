"""What capture has to say about a message beyond its bytes: one bit each, kept in the `flags` column."""

TRUNCATED = 1
"""The snap length (or a missing end) cut the message: fewer bytes than the wire carried."""
FRAGMENTED = 2
"""It came in several IP fragments."""
STREAM_GAP = 4
"""Bytes of its stream (TCP, WebSocket, SCTP) are missing just before it, or inside it."""
LENGTH_LIES = 8
"""Content-Length disagrees with the bytes that are there."""
NO_CALL_ID = 16
"""No Call-ID header could be read; the row is kept under an empty Call-ID."""
TWO_CALL_IDS = 32
"""More than one Call-ID header; the first counts."""
TUNNELLED = 64
"""Found inside a tunnel (GRE, VXLAN, IP-in-IP, GTP, …)."""
FRAGMENT_LOST = 128
"""Only the first fragment(s) ever came; the rest of the message is missing."""
HEADERS_CUT = 256
"""The header block does not end (no blank line)."""
COPY = 512
"""The same packet was seen just before (a mirror port, another interface)."""
RESENT = 1024
"""The same message was sent before: a retransmission."""
QUOTED = 2048
"""No message that arrived: an ICMP error quotes it, since its packet could not be delivered."""
CLOSED = 4096
"""No message: the sender closes (FIN) a TCP connection that carried SIP. Its row has no Call-ID and no bytes."""
RESET = 8192
"""The same, but the sender breaks it off (RST)."""
NO_MESSAGE = QUOTED | CLOSED | RESET
"""What happened to messages; no message that arrived."""
REPEATED = COPY | RESENT
"""What is said of a message beside others, not of its own bytes."""

NAMES = {
    TRUNCATED: "truncated",
    FRAGMENTED: "fragmented",
    STREAM_GAP: "stream-gap",
    LENGTH_LIES: "length-lies",
    NO_CALL_ID: "no-call-id",
    TWO_CALL_IDS: "two-call-ids",
    TUNNELLED: "tunnelled",
    FRAGMENT_LOST: "fragment-lost",
    HEADERS_CUT: "headers-cut",
    COPY: "seen-twice",
    RESENT: "resent",
    QUOTED: "quoted",
    CLOSED: "connection-closed",
    RESET: "connection-reset",
}


def names(flags: int) -> list[str]:
    """The names of the bits that are set, lowest bit first."""
    return [name for bit, name in NAMES.items() if flags & bit]
