"""Terms of media negotiation, of messages and of measuring, in our own words."""

from __future__ import annotations

from diagnose.texts.entry import Text

MORE = {
    "payload type": Text(
        ("The number of a codec in RTP. 0 to 95 are fixed or reserved, 96 to 127 are given a meaning by a=rtpmap."),
        ("The two sides may use differing numbers for the same codec; each sends the number that the other wrote."),
        "RFC 3551 section 6, RFC 3264 section 5.1",
        (
            "rtpmap",
            "dynamic payload type",
        ),
    ),
    "fmtp": Text(
        "Parameters of one codec: annexb, mode-set, profile-level-id, useinbandfec.",
        "Compare them by codec name, not by payload type.",
        "RFC 8866 section 6.15",
        ("format parameters",),
    ),
    "SRTP": Text(
        (
            "Encrypted audio. Keys come in SDP (a=crypto, profile RTP/SAVP) or by a handshake on the media path "
            "(a=fingerprint, UDP/TLS/RTP/SAVP)."
        ),
        "A 488 between the two worlds: one side offers only SAVP, the other only AVP.",
        "RFC 3711, RFC 4568, RFC 5763",
        (
            "SDES",
            "DTLS-SRTP",
            "a=crypto",
            "a=fingerprint",
        ),
    ),
    "T.38": Text(
        "Fax as data in place of sound, agreed by a re-INVITE with m=image.",
        "Refused with 488? Then the fax stays in G.711, with no silence suppression.",
        "ITU-T T.38 Annex D, RFC 3362, RFC 6466",
        (
            "fax",
            "udptl",
        ),
    ),
    "transcoding": Text(
        "A box in between turns one codec into another; it costs delay, quality and licences.",
        "Put the codec that both ends have first in the list.",
        "RFC 4117",
        ("codec mismatch",),
    ),
    "session timer": Text(
        "The call must be refreshed (re-INVITE or UPDATE) in time, or it is ended as dead.",
        "A call cut after exactly the same time (often 15 or 30 min): the refresh got lost or was refused.",
        "RFC 4028",
        (
            "Session-Expires",
            "refresher",
            "Min-SE",
        ),
    ),
    "100rel": Text(
        "Provisional responses that must be confirmed by PRACK.",
        "A repeated 183 with RSeq: the PRACK does not come back.",
        "RFC 3262",
        (
            "PRACK",
            "reliable provisional response",
            "RSeq",
        ),
    ),
    "forking": Text(
        "One INVITE goes to several devices, at once or in turn. Several 18x with differing To tags come back.",
        "The caller must handle more than one early dialog; the 487s of the others are normal.",
        "RFC 3261 section 16.7",
        (
            "parallel forking",
            "serial forking",
        ),
    ),
    "hunting": Text(
        "After a 503 or silence the same call is tried elsewhere.",
        "A failure followed by a 200 elsewhere did not fail for the user.",
        "RFC 3263 section 4.3, RFC 3261 section 16.7",
        (
            "failover",
            "route advance",
            "serial hunting",
        ),
    ),
    "dialog": Text(
        "A lasting relation of two user agents, named by Call-ID and both tags.",
        "A 481 says that one of the three did not fit.",
        "RFC 3261 section 12",
        (
            "tag",
            "To tag",
            "From tag",
        ),
    ),
    "transaction": Text(
        "A request and its responses on one hop, named by the branch in the top Via.",
        "A retransmission has the same branch; a new try has a new one.",
        "RFC 3261 section 17",
        (
            "branch",
            "z9hG4bK",
            "CSeq",
        ),
    ),
    "Via": Text(
        "Each hop writes its own address on top; responses go back along the list.",
        "The topmost is where the message came from, if nobody lies and no NAT is between.",
        "RFC 3261 sections 18.1 and 20.42",
        ("sent-by",),
    ),
    "Contact": Text(
        "Where a device wants the requests that follow inside the dialog.",
        "Private behind NAT: ACK and BYE get lost unless a proxy repairs it.",
        "RFC 3261 sections 8.1.1.8 and 12.1",
        ("remote target",),
    ),
    "Request-URI": Text(
        "Where the request is to go: the address in the first line. To is only what was dialled at first.",
        "Routing trouble: read this, not To.",
        "RFC 3261 section 8.1.1.1",
        ("R-URI",),
    ),
    "Call-ID": Text(
        "Names a call, on one side of a B2BUA.",
        "`siptrail show CALL-ID`.",
        "RFC 3261 section 8.1.1.4",
        ("x-cid",),
    ),
    "P-Asserted-Identity": Text(
        "The caller's number as a trusted network vouches for it; From may hold anything.",
        "A wrong caller ID or a 403: compare PAI, From and what the carrier allows.",
        "RFC 3325",
        (
            "PAI",
            "caller ID",
            "P-Preferred-Identity",
        ),
    ),
    "Diversion": Text(
        "Who forwarded a call, and why; Diversion is the older header, History-Info the standard.",
        "Carriers ask for it before they accept a foreign From.",
        "RFC 5806, RFC 7044",
        (
            "History-Info",
            "forwarding",
        ),
    ),
    "STIR/SHAKEN": Text(
        "The originating carrier signs the caller's number; A, B or C says how well it knows the caller.",
        "Codes 428, 436, 437 and 438 belong to it, and 403 Stale Date.",
        "RFC 8224, RFC 8225, RFC 8588",
        (
            "Identity",
            "attestation",
            "PASSporT",
        ),
    ),
    "digest authentication": Text(
        ("The server sends a nonce (401, 407), the client repeats the request with a hash of it and the password."),
        "Again and again: wrong password, or a realm without credentials. stale=true is harmless.",
        "RFC 3261 section 22, RFC 8760",
        (
            "nonce",
            "realm",
            "stale",
            "qop",
        ),
    ),
    "OPTIONS ping": Text(
        "OPTIONS sent in intervals to see whether a peer lives.",
        "Any response counts as life, silence as death.",
        "RFC 3261 section 11, RFC 6223",
        (
            "keep-alive",
            "qualify",
            "trunk monitoring",
        ),
    ),
    "retransmission": Text(
        "UDP loses packets, so requests are repeated after 0.5, 1, 2, 4 s and given up after 32 s.",
        "Repetitions without answers: the peer is unreachable or its answers go elsewhere. More than a fifth of "
        "all requests to a host within 5 minutes: path loss, or an overloaded element: `siptrail resends`.",
        "RFC 3261 section 17.1.1.2",
        (
            "timer A",
            "timer B",
            "T1",
            "resend",
            "retransmission storm",
        ),
    ),
    "fragmentation": Text(
        "A message of more than about 1,300 bytes is cut into IP fragments, which firewalls drop.",
        "INVITE gets lost and OPTIONS works: shorten it or use TCP.",
        "RFC 3261 section 18.1.1",
        (
            "MTU",
            "UDP fragments",
            "large INVITE",
        ),
    ),
    "trunk": Text(
        "A standing connection between a PBX and a carrier, by address or by registration.",
        "Compare a good call with a bad one: `siptrail compare`.",
        "RFC 6140, SIPconnect 2.0",
        (
            "SIP trunk",
            "peering",
        ),
    ),
    "CPS": Text(
        "How many calls may begin in a second; above, 503 or 480 come back.",
        "See `explain capacity-rejection`.",
        "RFC 7339",
        (
            "calls per second",
            "rate limit",
        ),
    ),
    "registration": Text(
        "A device is reachable while its registration lasts; behind NAT it must send in shorter intervals.",
        "Incoming calls fail some minutes after registering: the NAT's entry is gone.",
        "RFC 3261 section 10, RFC 5626",
        (
            "expires",
            "REGISTER interval",
        ),
    ),
    "HEP": Text(
        "A protocol by which proxies hand copies of SIP messages to a capture server, also of encrypted ones.",
        "`siptrail run --hep`.",
        "HEP3/EEP, revision 12",
        (
            "EEP",
            "Homer",
        ),
    ),
    "mean opinion score": Text(
        "Quality of speech from 1 to 5, computed from loss, delay and codec.",
        "It cannot be read out of SIP; look at RTCP reports.",
        "ITU-T P.800.1, ITU-T G.107",
        (
            "MOS",
            "R-factor",
        ),
    ),
    "jitter": Text(
        "Variation of the packets' travel time, reported by RTCP.",
        "Not part of signalling; needs a capture of RTP.",
        "RFC 3550 section 6.4.1",
        (
            "RTCP",
            "packet loss",
        ),
    ),
    "carrier-grade NAT": Text(
        "The provider's own NAT, with addresses from 100.64.0.0/10 inside.",
        "Not all proxies count that range as private: see `explain nat_uac_test`.",
        "RFC 6598",
        (
            "CGNAT",
            "100.64.0.0/10",
        ),
    ),
    "overlap dialling": Text(
        "Digits are sent while they are dialled; each INVITE with too few gets a 484.",
        "Normal until the last; otherwise see the dial plan.",
        "RFC 3578",
        (
            "overlap dialing",
            "484",
        ),
    ),
    "warning header": Text(
        "Says in a 488, 606 or 400 what did not fit: 304 media type, 305 format, 370 bandwidth, 399 anything.",
        "Read it first.",
        "RFC 3261 section 20.43",
        (
            "Warning",
            "304",
            "370",
            "399",
        ),
    ),
    "reason header": Text(
        "Says why a BYE or CANCEL was sent, or the cause behind a response, with a Q.850 or SIP code.",
        "`siptrail explain q850:16`.",
        "RFC 3326, RFC 6432",
        (
            "Reason",
            "Q.850",
        ),
    ),
}
